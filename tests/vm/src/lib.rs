//! A test bench for the real `mvmctl`: real QEMU, real kernel, real images.
//!
//! All tests share one prepared state directory (kernel, initramfs, images, templates), because
//! making it takes a minute; each [`Bench`] has sandboxes, snapshots and keys of its own, and lies
//! beside that directory, because a state directory is one file system. Every bench checks when it
//! is dropped that nothing of it is left: no process, no folder.
//!
//! A bench keeps no spares unless a test asks for them: they would take the processors of others.
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    missing_docs,
    clippy::print_stderr,
    reason = "a test bench fails by panicking"
)]

mod api_server;

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

pub use api_server::ApiServer;
pub use serde_json::{Value, json};

/// What a bench shares with the prepared state directory.
pub const SHARED: [&str; 6] = ["store", "layouts", "boot", "disks", "cache", "templates"];
/// Memory of the guests whose templates all tests share.
const SHARED_TEMPLATES: [&str; 2] = ["256M", "128M"];

/// A state directory with sandboxes of its own, and the real `mvmctl` over it.
pub struct Bench {
    home: tempfile::TempDir,
    spares: bool,
    checked: bool,
}

/// How a run of `mvmctl` ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Run {
    pub fn out(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("standard output is UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).expect("standard output is JSON")
    }

    /// Asserts the exit code, showing all that was said when it differs.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(
            self.code == code,
            "exit code {} instead of {code}\nstdout: {}\nstderr: {}",
            self.code,
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }

    /// Asserts that it was refused by mvm itself, with every one of these words on standard error
    /// and a way out.
    #[track_caller]
    pub fn refused_with(self, words: &[&str]) -> Self {
        let run = self.exits(125);
        for word in words {
            assert!(
                run.stderr.contains(word),
                "`{word}` is missing in:\n{}",
                run.stderr
            );
        }
        assert!(
            run.stderr.contains("hint: "),
            "no way out in:\n{}",
            run.stderr
        );
        run
    }
}

/// The program under test: `MVM_TEST_MVMCTL`, or the one built beside this test.
pub fn mvmctl_program() -> PathBuf {
    if let Some(program) = std::env::var_os("MVM_TEST_MVMCTL") {
        return program.into();
    }
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let program = profile.join("mvmctl");
    assert!(
        program.exists(),
        "`{}` is not built; run `make test`",
        program.display()
    );
    program
}

/// The prepared state directory: `MVM_TEST_HOME`, made by `mvmctl setup` when it is not there.
pub fn prepared_home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let home = std::env::var_os("MVM_TEST_HOME").map_or_else(
            || {
                mvmctl_program()
                    .ancestors()
                    .nth(2)
                    .unwrap()
                    .join("test-home")
            },
            PathBuf::from,
        );
        fs::create_dir_all(&home).unwrap();
        // Test programs run one after another, and this is quick when all is there.
        prepare(&home, &["setup", "--images", "node"]);
        prepare(&home, &["template", "prune"]);
        for memory in SHARED_TEMPLATES {
            prepare(&home, &["template", "build", "--memory", memory]);
        }
        home
    })
}

fn prepare(home: &Path, arguments: &[&str]) {
    let run = Command::new(mvmctl_program())
        .args(arguments)
        .env("MVM_HOME", home)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{arguments:?}: {said}");
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    pub fn new() -> Self {
        let bench = Self::unprepared();
        for name in SHARED {
            symlink(prepared_home().join(name), bench.path().join(name)).unwrap();
        }
        bench
    }

    /// A bench that keeps spares, as the real thing does.
    pub fn with_spares() -> Self {
        let mut bench = Self::new();
        bench.spares = true;
        bench
    }

    /// A bench without any template, for tests that damage or count them.
    pub fn with_own_templates() -> Self {
        let bench = Self::new();
        fs::remove_file(bench.path().join("templates")).unwrap();
        bench
    }

    /// A state directory in which nothing was prepared.
    pub fn unprepared() -> Self {
        Self {
            home: tempfile::Builder::new()
                .prefix("mvm-bench-")
                .tempdir_in(prepared_home().parent().unwrap())
                .unwrap(),
            spares: false,
            checked: false,
        }
    }

    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// A command of `mvmctl` on this bench, not started yet.
    pub fn command<I>(&self, arguments: I) -> Command
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut command = Command::new(mvmctl_program());
        command
            .args(arguments)
            .env("MVM_HOME", self.path())
            .stdin(Stdio::null());
        if !self.spares {
            command.env("MVM_SPARES", "off");
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run<I>(&self, arguments: I) -> Run
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        finish(self.command(arguments).spawn().unwrap())
    }

    pub fn run_with_input<I>(&self, arguments: I, input: &[u8]) -> Run
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // The program may end without having read all of it.
                let _ = stdin.write_all(input);
            });
            finish(child)
        })
    }

    /// Creates a sandbox and gives its identifier.
    pub fn create(&self, options: &[&str]) -> String {
        let run = self.run(["create"].iter().chain(options)).exits(0);
        run.out().trim().to_owned()
    }

    /// Runs with a variable of the environment, which the supervisors it starts inherit.
    pub fn run_with<I>(&self, variable: (&str, &str), arguments: I) -> Run
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut command = self.command(arguments);
        finish(command.env(variable.0, variable.1).spawn().unwrap())
    }

    /// What is recorded of a sandbox.
    #[track_caller]
    pub fn inspect(&self, sandbox: &str) -> Value {
        self.run(["inspect", sandbox]).exits(0).json()
    }

    /// The state of a sandbox.
    #[track_caller]
    pub fn state(&self, sandbox: &str) -> String {
        self.inspect(sandbox)["state"].as_str().unwrap().to_owned()
    }

    /// Takes a snapshot and gives its identifier.
    #[track_caller]
    pub fn snapshot(&self, sandbox: &str) -> String {
        let run = self.run(["snapshot", "create", sandbox]).exits(0);
        run.out().trim().to_owned()
    }

    /// Makes children of a sandbox or a snapshot and gives their identifiers.
    #[track_caller]
    pub fn fork(&self, source: &str, count: u32) -> Vec<String> {
        let run = self
            .run(["fork", source, "-c", &count.to_string()])
            .exits(0);
        run.out().lines().map(str::to_owned).collect()
    }

    /// Runs a shell line in a sandbox.
    pub fn sh(&self, sandbox: &str, line: &str) -> Run {
        self.run(["exec", sandbox, "--", "sh", "-c", line])
    }

    /// Waits until `condition` holds; fails when it does not within a minute.
    #[track_caller]
    pub fn eventually(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < end, "not within a minute: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Processes whose command line, environment or open files name this bench.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let needle = self.path().as_os_str().as_encoded_bytes();
        let names_it = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            // A supervisor that this process started itself shows in the files it has open alone.
            let opens_it = || {
                let open = fs::read_dir(entry.path().join("fd")).into_iter().flatten();
                open.flatten()
                    .filter_map(|file| fs::read_link(file.path()).ok())
                    .any(|target| names_it(target.as_os_str().as_encoded_bytes()))
            };
            let is_other = pid != std::process::id();
            if is_other && (names_it(&line) || names_it(&environment) || opens_it()) {
                found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        found
    }

    /// The process of a sandbox's microVM.
    #[track_caller]
    pub fn machine_of(&self, sandbox: &str) -> u32 {
        let processes = self.processes();
        let machine = processes
            .iter()
            .find(|(_, line)| line.contains("qemu-system") && line.contains(sandbox));
        machine
            .unwrap_or_else(|| panic!("no QEMU of {sandbox}: {processes:?}"))
            .0
    }

    /// The process of a sandbox's supervisor.
    #[track_caller]
    pub fn supervisor_of(&self, sandbox: &str) -> u32 {
        let pid = self.inspect(sandbox)["supervisor_pid"].as_u64();
        u32::try_from(pid.unwrap()).unwrap()
    }

    /// What is in a folder of the state directory.
    pub fn entries(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path().join(folder)).into_iter().flatten();
        entries.flatten().map(|entry| entry.path()).collect()
    }

    /// Asserts that, once spares were drained and `mvmctl list` has run, no process and no folder
    /// is left.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        self.eventually("no process is left", || {
            // A spare may be in the making, which the next round drains; one that starts while
            // the processes are read may be seen only when they are read again.
            self.run(["pool", "drain"]).exits(0);
            self.processes().is_empty() && self.processes().is_empty()
        });
        self.run(["list"]).exits(0);
        for folder in ["sandboxes", "staging", "spares"] {
            let left = self.entries(folder);
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !self.checked {
            self.checked = true;
            let _ = self.command(["destroy", "--all"]).output();
            if std::thread::panicking() {
                let _ = self.command(["pool", "drain"]).output();
            } else if self.path().join("sandboxes").exists() {
                self.assert_nothing_left();
            }
        }
    }
}

/// Waits for a program to end and gives what it said.
pub fn finish(child: Child) -> Run {
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    use std::os::unix::process::ExitStatusExt as _;
    Run {
        code: status
            .code()
            .unwrap_or_else(|| -status.signal().unwrap_or(0)),
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Kills a process.
pub fn kill(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// A random number below `limit`, from the kernel.
pub fn random(limit: u64) -> u64 {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    u64::from_str_radix(&text[..8], 16).unwrap() % limit
}

/// Reproducible bytes that do not compress.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Highest resident memory of a process so far, KiB.
pub fn peak_memory_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Counts in its memory, and appends each number to a file.
const COUNTER: &str = "
import time
with open('/root/count', 'a') as file:
    number = 0
    while True:
        number += 1
        print(number, file=file, flush=True)
        time.sleep(0.02)
";

impl Bench {
    /// Starts a process in a sandbox that counts for as long as it lives.
    #[track_caller]
    pub fn start_counting(&self, sandbox: &str) {
        self.run(["exec", "-d", sandbox, "--", "python3", "-c", COUNTER])
            .exits(0);
        self.eventually("it counts", || {
            self.sh(sandbox, "test -s /root/count").code == 0
        });
    }

    /// How far the process has counted; fails where a number is missing or there twice.
    #[track_caller]
    pub fn count(&self, sandbox: &str) -> u64 {
        self.try_count(sandbox).expect("the sandbox answers")
    }

    /// The same of a sandbox that may be about to end; nothing when it does not answer.
    #[track_caller]
    pub fn try_count(&self, sandbox: &str) -> Option<u64> {
        let run = self.sh(sandbox, "cat /root/count");
        if run.code != 0 {
            return None;
        }
        let mut last = 0;
        for line in run.out().lines() {
            let number: u64 = line.parse().unwrap();
            assert_eq!(number, last + 1, "after {last}");
            last = number;
        }
        Some(last)
    }

    /// Asserts that the process goes on from where it was or later, and gives how far it is.
    #[track_caller]
    pub fn counts_on_from(&self, sandbox: &str, before: u64) -> u64 {
        let first = self.count(sandbox);
        assert!(first >= before, "at {first} after it was at {before}");
        let mut last = first;
        self.eventually("it counts on", || {
            last = self.count(sandbox);
            last > first
        });
        last
    }
}
