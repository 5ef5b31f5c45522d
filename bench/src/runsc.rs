//! The peer of starts: gVisor's `runsc`, which separates a command from the host without hardware
//! virtualization too.

use std::process::Command;

use crate::bench::{Outcome, run};

/// How it is started; the first that works is what is measured.
const MANNERS: [&[&str]; 2] = [&[], &["--rootless"]];

#[derive(Debug)]
pub(crate) struct Runsc {
    manner: &'static [&'static str],
    pub(crate) version: String,
}

impl Runsc {
    /// Tries it; an error says why it cannot be measured here.
    pub(crate) fn find() -> Outcome<Self> {
        let mut version = Command::new("runsc");
        version.arg("--version");
        let version = run(version).map_err(|error| format!("`runsc` cannot be run: {error}"))?;
        // Only root can do without `--rootless`.
        let manners = if rustix::process::geteuid().is_root() {
            &MANNERS[..]
        } else {
            &MANNERS[1..]
        };
        let mut last: Outcome<Self> = Err("`runsc` was not tried".into());
        for manner in manners {
            let found = Self {
                manner,
                version: version.stdout.lines().next().unwrap_or_default().to_owned(),
            };
            match run(found.command()) {
                Ok(_) => return Ok(found),
                Err(error) => last = Err(format!("`runsc` fails here: {error}").into()),
            }
        }
        last
    }

    /// One sandbox that runs `true`.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("runsc");
        command
            .args(self.manner)
            .args(["--platform=ptrace", "--network=none", "do", "true"]);
        command
    }
}
