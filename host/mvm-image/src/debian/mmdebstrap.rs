//! One run of `mmdebstrap`: its mode, its log, its end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use super::workspace::{Workspace, WorkspaceError};
use super::{SOURCE_DATE_EPOCH, SUITE};
use crate::progress::Progress;

/// The keys that Debian's archive is signed with, where its package puts them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Longest line of output that is kept, in bytes.
const MAX_LINE: u64 = 4096;

/// Why `mmdebstrap` made nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MmdebstrapError {
    /// A program is not installed.
    #[error("`{program}` is not installed")]
    NotInstalled {
        /// The program.
        program: &'static str,
        /// The Debian package it is in.
        package: &'static str,
    },
    /// The keys to verify Debian's archive with are not there.
    #[error("Debian's archive keys `{KEYRING}` are not installed")]
    NoKeyring,
    /// The user has no subordinate users to make a root filesystem with.
    #[error("user `{user}` has no range in `{file}`")]
    NoSubordinateIds {
        /// The user.
        user: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
    },
    /// There is no place to work in.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The log cannot be written.
    #[error("cannot write the log `{path}`")]
    Log {
        /// The log.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The program cannot be started.
    #[error("cannot start `mmdebstrap`")]
    Start(#[source] io::Error),
    /// Waiting for it failed.
    #[error("cannot wait for `mmdebstrap`")]
    Wait(#[source] io::Error),
    /// The program failed.
    #[error("`mmdebstrap` failed ({status}): {complaint}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The last error it named.
        complaint: String,
        /// Where all of its output is.
        log: PathBuf,
    },
    /// What it made cannot be kept.
    #[error("cannot keep what `mmdebstrap` made")]
    Consume(#[source] io::Error),
}

impl MmdebstrapError {
    /// The way out, where the user has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotInstalled { package, .. } => Some(format!("apt-get install {package}")),
            Self::NoKeyring => Some("apt-get install debian-archive-keyring".into()),
            Self::NoSubordinateIds { user, .. } => Some(format!(
                "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            )),
            Self::Failed { log, .. } => {
                Some(format!("all of its output is in `{}`", log.display()))
            }
            _ => None,
        }
    }
}

/// Runs `mmdebstrap` with `arguments` for a tar archive, which `consume` reads to its end while
/// it is made. Its output goes to the file `log`, and its steps to `progress`. Temporary files are
/// below `base` or the system's temporary directory and are gone afterwards.
pub(super) fn run<T: Send>(
    arguments: &[String],
    base: &Path,
    log: &Path,
    progress: &dyn Progress,
    consume: impl FnOnce(&mut dyn Read) -> io::Result<T> + Send,
) -> Result<T, MmdebstrapError> {
    if !is_on_path("mmdebstrap") {
        return Err(MmdebstrapError::NotInstalled {
            program: "mmdebstrap",
            package: "mmdebstrap",
        });
    }
    if !Path::new(KEYRING).exists() {
        return Err(MmdebstrapError::NoKeyring);
    }
    let as_root = rustix::process::geteuid().is_root();
    let workspace = if as_root {
        Workspace::create(base)?
    } else {
        require_subordinate_users()?;
        Workspace::create_reachable(base)?
    };
    let log_failed = |source| MmdebstrapError::Log {
        path: log.into(),
        source,
    };
    let mut log_file = File::create(log).map_err(log_failed)?;

    // When this process is killed, `mmdebstrap` is asked to end as well.
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "--", "mmdebstrap"])
        .arg(if as_root && !may_unshare_mounts() {
            "--mode=root"
        } else {
            "--mode=unshare"
        })
        .args(["--architectures=amd64", "--format=tar"])
        .arg(format!("--keyring={KEYRING}"))
        .args(arguments)
        .args([SUITE, "-"])
        .env("TMPDIR", workspace.path())
        .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH.to_string())
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Running)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => MmdebstrapError::NotInstalled {
                program: "setpriv",
                package: "util-linux",
            },
            _ => MmdebstrapError::Start(error),
        })?;
    let archive = child.0.stdout.take().expect("standard output is a pipe");
    let output = child.0.stderr.take().expect("standard error is a pipe");

    let (events, happened) = mpsc::channel();
    let stages = events.clone();
    let mut complaint = String::from("it named no reason");
    let (consumed, logged) = thread::scope(|scope| {
        let consumer = scope.spawn(move || -> io::Result<T> {
            let mut archive = Counted {
                inner: archive,
                events,
            };
            let made = consume(&mut archive)?;
            // The end of the archive is not the end of the pipe, and a program whose pipe is
            // closed too early fails.
            io::copy(&mut archive, &mut io::sink())?;
            Ok(made)
        });
        let logger = scope.spawn(move || copy_lines(output, &mut log_file, &stages));
        for event in happened {
            match event {
                Event::Line(line) => {
                    if let Some(step) = line.strip_prefix("I: ").and_then(step_for_the_user) {
                        progress.stage(step, None);
                    } else if let Some(reason) = line.strip_prefix("E: ")
                        && reason != "mmdebstrap failed to run"
                    {
                        complaint = reason.into();
                    }
                }
                Event::Read(amount) => progress.advance(amount),
            }
        }
        (outcome(consumer.join()), outcome(logger.join()))
    });
    logged.map_err(log_failed)?;
    let made = match consumed {
        Ok(made) => made,
        // The archive ends early when its maker fails: then that is what happened.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            return Err(MmdebstrapError::Consume(error));
        }
        Err(error) => {
            child.require_success(&complaint, log)?;
            return Err(MmdebstrapError::Consume(error));
        }
    };
    child.require_success(&complaint, log)?;
    progress.finish();
    Ok(made)
}

fn outcome<T>(joined: thread::Result<T>) -> T {
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// As an ordinary user `mmdebstrap` works in a user namespace with many users.
fn require_subordinate_users() -> Result<(), MmdebstrapError> {
    if !is_on_path("newuidmap") {
        return Err(MmdebstrapError::NotInstalled {
            program: "newuidmap",
            package: "uidmap",
        });
    }
    let id = rustix::process::getuid().as_raw().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = accounts
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&id))
        .and_then(|line| line.split(':').next())
        .unwrap_or(&id);
    for file in ["/etc/subuid", "/etc/subgid"] {
        let ranges = std::fs::read_to_string(file).unwrap_or_default();
        let has_range = ranges.lines().any(|line| {
            line.split(':')
                .next()
                .is_some_and(|owner| owner == user || owner == id)
        });
        if !has_range {
            return Err(MmdebstrapError::NoSubordinateIds {
                user: user.into(),
                file,
            });
        }
    }
    Ok(())
}

/// Whether root may have mounts of its own. `mmdebstrap` then keeps its mounts out of the host's
/// sight (and no user namespace is involved, as root); where not, it cannot mount at all.
fn may_unshare_mounts() -> bool {
    Command::new("unshare")
        .args(["--mount", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    })
}

/// The steps that take time, by how `mmdebstrap` announces them.
fn step_for_the_user(line: &str) -> Option<&'static str> {
    const STEPS: [(&str, &str); 7] = [
        ("running apt-get update", "reading Debian's package lists"),
        ("downloading packages", "downloading packages"),
        ("extracting archives", "unpacking packages"),
        (
            "installing essential packages",
            "installing the minimal system",
        ),
        ("installing remaining packages", "installing packages"),
        ("running --customize-hook", "finishing the tree"),
        ("creating tarball", "writing the archive"),
    ];
    STEPS
        .iter()
        .find(|(announced, _)| line.starts_with(announced))
        .map(|(_, step)| *step)
}

enum Event {
    Line(String),
    Read(u64),
}

/// Copies `output` to `log` line by line; a line too long to be one is cut into several.
fn copy_lines(output: impl Read, log: &mut File, events: &mpsc::Sender<Event>) -> io::Result<()> {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    let mut logged = Ok(());
    while (&mut output).take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
        // A full disk must not stop the reading: the program would wait for us for ever.
        logged = logged.and_then(|()| log.write_all(&line));
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        // Nobody listens any more only when the whole run is being given up.
        let _ = events.send(Event::Line(text));
        line.clear();
    }
    logged
}

struct Counted<R> {
    inner: R,
    events: mpsc::Sender<Event>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let _ = self.events.send(Event::Read(count as u64));
        Ok(count)
    }
}

/// A child that does not outlive its owner: it is asked to end, which makes `mmdebstrap` remove
/// its temporary files, and waited for.
struct Running(Child);

impl Running {
    fn require_success(&mut self, complaint: &str, log: &Path) -> Result<(), MmdebstrapError> {
        let status = self.0.wait().map_err(MmdebstrapError::Wait)?;
        if status.success() {
            return Ok(());
        }
        Err(MmdebstrapError::Failed {
            status,
            complaint: complaint.into(),
            log: log.into(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let process = rustix::process::Pid::from_child(&self.0);
            let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
            let _ = self.0.wait();
        }
    }
}
