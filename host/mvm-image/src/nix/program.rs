//! Runs of `nix`: found, bounded in time and output, and gone with everything they started.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::NixOptions;
use crate::progress::Progress;

/// Longest line of talk that is kept, in bytes.
const MAX_LINE: u64 = 4096;
/// Lines of talk that an error repeats: the last ones before `nix` says what is wrong, and as many
/// of that, which a long trace may follow.
const TAIL: usize = 20;
/// Most bytes of an answer: the closure of a whole desktop is a tenth of that.
const MAX_ANSWER: u64 = 64 << 20;
/// How long `nix` may take to end its builders when it is told to.
const GRACE: Duration = Duration::from_secs(5);

/// Why a run of `nix` gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunNixError {
    /// A program is not installed.
    #[error("`{program}` is not installed")]
    NotInstalled {
        /// The program.
        program: &'static str,
        /// The Debian package it is in.
        package: &'static str,
    },
    /// It cannot be started.
    #[error("cannot start `nix`")]
    Start(#[source] io::Error),
    /// The log cannot be written.
    #[error("cannot write the log `{}`", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Its answer cannot be read.
    #[error("cannot read what `nix` answers")]
    Read(#[source] io::Error),
    /// Its answer is without end.
    #[error("`nix` answers with more than {limit} bytes")]
    AnswerSize {
        /// How much it may be.
        limit: u64,
    },
    /// Waiting for it failed.
    #[error("cannot wait for `nix`")]
    Wait(#[source] io::Error),
    /// It took too long; it and its builders were ended.
    #[error("`nix` took longer than {} s and was ended; its last words:\n{tail}", limit.as_secs())]
    TimedOut {
        /// How long it may take.
        limit: Duration,
        /// The last lines it said, up to its first complaint and some of that.
        tail: String,
        /// Where all of its output is.
        log: PathBuf,
    },
    /// It failed.
    #[error("`nix` failed ({status}):\n{tail}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The last lines it said, up to its first complaint and some of that.
        tail: String,
        /// Where all of its output is.
        log: PathBuf,
    },
}

impl RunNixError {
    /// The way out, where the user has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotInstalled { package, .. } => Some(format!("apt-get install {package}")),
            Self::TimedOut { log, .. } | Self::Failed { log, .. } => {
                Some(format!("all of its output is in `{}`", log.display()))
            }
            _ => None,
        }
    }
}

/// Runs of `nix` for one image, which share a log.
pub(super) struct Nix<'a> {
    options: &'a NixOptions<'a>,
    progress: &'a dyn Progress,
    log: PathBuf,
}

impl<'a> Nix<'a> {
    pub(super) fn new(
        options: &'a NixOptions<'a>,
        progress: &'a dyn Progress,
        log: PathBuf,
    ) -> Result<Self, RunNixError> {
        File::create(&log).map_err(|source| RunNixError::Log {
            path: log.clone(),
            source,
        })?;
        Ok(Self {
            options,
            progress,
            log,
        })
    }

    /// What `nix` answers on standard output; what it says on standard error goes to the log.
    pub(super) fn run(&self, subcommand: &[&str], rest: &[&str]) -> Result<Vec<u8>, RunNixError> {
        let log_failed = |source| RunNixError::Log {
            path: self.log.clone(),
            source,
        };
        let mut log = File::options()
            .append(true)
            .open(&self.log)
            .map_err(log_failed)?;
        writeln!(log, "$ nix {} {}", subcommand.join(" "), rest.join(" ")).map_err(log_failed)?;
        let mut child = self.start(subcommand, rest)?;
        let answer = child.0.stdout.take().expect("standard output is a pipe");
        let talk = child.0.stderr.take().expect("standard error is a pipe");

        let deadline = Instant::now() + self.options.time_limit;
        let (events, happened) = mpsc::channel();
        let mut tail = Tail::default();
        let (answer, logged, in_time) = thread::scope(|scope| {
            let lines = events.clone();
            let reader = scope.spawn(move || {
                let mut bytes = Vec::new();
                let read = answer.take(MAX_ANSWER + 1).read_to_end(&mut bytes);
                // Dropped at the end: when both readers have dropped theirs, all was said.
                drop(events);
                read.map(|_| bytes)
            });
            let logger = scope.spawn(move || copy_lines(talk, &mut log, &lines));
            let mut in_time = true;
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                match happened.recv_timeout(left) {
                    Ok(line) => {
                        self.tell(&line);
                        tail.push(line);
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {
                        in_time = false;
                        child.end();
                        break;
                    }
                }
            }
            (outcome(reader.join()), outcome(logger.join()), in_time)
        });
        let tail = tail.text();
        let log = self.log.clone();
        if !in_time {
            return Err(RunNixError::TimedOut {
                limit: self.options.time_limit,
                tail,
                log,
            });
        }
        let answer = answer.map_err(RunNixError::Read)?;
        if answer.len() as u64 > MAX_ANSWER {
            return Err(RunNixError::AnswerSize { limit: MAX_ANSWER });
        }
        logged.map_err(log_failed)?;
        let status = child.0.wait().map_err(RunNixError::Wait)?;
        if !status.success() {
            return Err(RunNixError::Failed { status, tail, log });
        }
        Ok(answer)
    }

    fn start(&self, subcommand: &[&str], rest: &[&str]) -> Result<Running, RunNixError> {
        if !is_on_path("nix") {
            return Err(RunNixError::NotInstalled {
                program: "nix",
                package: "nix-bin",
            });
        }
        // When this process is killed, `nix` is asked to end, and ends its builders.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--", "nix"])
            .args(subcommand)
            .args(["--extra-experimental-features", "nix-command flakes"])
            .arg("--store")
            .arg(self.options.directory.join("root"));
        for (name, value) in [
            // A store of its own needs no users that build: the sandbox has a user namespace.
            ("build-users-group", ""),
            // A build that sees the host is none that can be repeated.
            ("sandbox", "true"),
            ("sandbox-fallback", "false"),
            // What a flake says of where to fetch from and what to trust is not obeyed.
            ("accept-flake-config", "false"),
            ("require-sigs", "true"),
            ("connect-timeout", "5"),
            ("stalled-download-timeout", "60"),
            ("download-attempts", "1"),
        ] {
            command.args(["--option", name, value]);
        }
        if self.options.offline {
            command.arg("--offline");
        }
        command
            .args(rest)
            .env("XDG_CACHE_HOME", self.options.directory.join("cache"))
            .env("XDG_DATA_HOME", self.options.directory.join("data"))
            .env_remove("NIX_REMOTE")
            .env_remove("NIX_STORE_DIR")
            .env_remove("NIX_PATH")
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map(Running)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => RunNixError::NotInstalled {
                    program: "setpriv",
                    package: "util-linux",
                },
                _ => RunNixError::Start(error),
            })
    }

    fn tell(&self, line: &str) {
        let begins = ["building ", "copying ", "fetching ", "downloading "];
        if begins.iter().any(|begin| line.starts_with(begin)) {
            self.progress.stage(line.trim_end_matches("..."), None);
        }
    }
}

#[derive(Default)]
struct Tail {
    before: VecDeque<String>,
    complaint: Vec<String>,
}

impl Tail {
    fn push(&mut self, line: String) {
        if !self.complaint.is_empty() || line.starts_with("error:") {
            if self.complaint.len() < TAIL {
                self.complaint.push(line);
            }
            return;
        }
        if self.before.len() == TAIL {
            self.before.pop_front();
        }
        self.before.push_back(line);
    }

    fn text(self) -> String {
        let lines = self.before.into_iter().chain(self.complaint);
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn outcome<T>(joined: thread::Result<T>) -> T {
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    })
}

/// Copies `talk` to `log` line by line; a line too long to be one is cut into several.
fn copy_lines(talk: impl Read, log: &mut File, lines: &mpsc::Sender<String>) -> io::Result<()> {
    let mut talk = BufReader::new(talk);
    let mut line = Vec::new();
    let mut logged = Ok(());
    while (&mut talk).take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
        // A full disk must not stop the reading: the program would wait for us for ever.
        logged = logged.and_then(|()| log.write_all(&line));
        let text = String::from_utf8_lossy(&line);
        // Nothing in it may move the cursor of whoever reads an error.
        let text = text.trim_end().replace(char::is_control, " ");
        let _ = lines.send(text);
        line.clear();
    }
    logged
}

/// `nix`, the leader of a process group of its own; ended with its owner.
struct Running(Child);

impl Running {
    /// Asks it to end, as only it can end its builders, and makes it where it does not.
    fn end(&mut self) {
        let group = Pid::from_child(&self.0);
        let _ = kill_process_group(group, Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.end();
        }
    }
}

/// The directory `nix` keeps the store path `path` in.
pub(super) fn physical(directory: &Path, path: &str) -> PathBuf {
    directory.join("root").join(path.trim_start_matches('/'))
}
