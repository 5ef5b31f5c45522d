//! A test bench for the real `mvmctl`: real QEMU, real kernel, real images.
//!
//! All tests share one prepared state directory (kernel, initramfs, images), because making it
//! takes a minute; each [`Bench`] has sandboxes of its own. Every bench checks when it is dropped
//! that nothing of it is left: no process, no folder.
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    missing_docs,
    clippy::print_stderr,
    reason = "a test bench fails by panicking"
)]

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

pub use serde_json::{Value, json};

/// What a bench shares with the prepared state directory.
const SHARED: [&str; 5] = ["store", "layouts", "boot", "disks", "cache"];

/// A state directory with sandboxes of its own, and the real `mvmctl` over it.
pub struct Bench {
    home: tempfile::TempDir,
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
        let setup = Command::new(mvmctl_program())
            .arg("setup")
            .env("MVM_HOME", &home)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            setup.status.success(),
            "{}",
            String::from_utf8_lossy(&setup.stderr)
        );
        home
    })
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

    /// A state directory in which nothing was prepared.
    pub fn unprepared() -> Self {
        Self {
            home: tempfile::Builder::new()
                .prefix("mvm-bench-")
                .tempdir()
                .unwrap(),
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

    /// Processes whose command line or environment names this bench.
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
            if pid != std::process::id() && (names_it(&line) || names_it(&environment)) {
                found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        found
    }

    /// Asserts that, once `mvmctl list` has run, no process and no folder is left.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        self.eventually("no process is left", || self.processes().is_empty());
        self.run(["list"]).exits(0);
        for folder in ["sandboxes", "staging"] {
            let left: Vec<_> = fs::read_dir(self.path().join(folder))
                .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
                .unwrap_or_default();
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !self.checked {
            self.checked = true;
            let _ = self.command(["destroy", "--all"]).output();
            if !std::thread::panicking() && self.path().join("sandboxes").exists() {
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
