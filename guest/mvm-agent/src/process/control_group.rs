//! The control group of a process: what it started cannot leave it.

use std::path::{Path, PathBuf};

use rustix::{
    fd::OwnedFd,
    fs::{self, Mode, OFlags},
    io::Errno,
};

use crate::{kernel_calls, whole_file};

/// The most process numbers read from a group at once, bytes.
const MAX_MEMBERS_BYTES: usize = 1024 * 1024;

/// A control group of the second version, removed when it is empty.
#[derive(Debug, Clone)]
pub(crate) struct ControlGroup {
    path: PathBuf,
}

impl ControlGroup {
    /// Makes the group `name` below `parent`.
    pub(crate) fn create(parent: &Path, name: &str) -> Result<Self, Errno> {
        let path = parent.join(name);
        match fs::mkdir(&path, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(Self { path }),
            Err(errno) => Err(errno),
        }
    }

    /// The group's directory, to start a process in it.
    pub(crate) fn open(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::open(&self.path, flags, Mode::empty())
    }

    /// Processes in the group; empty also when that cannot be read.
    pub(crate) fn members(&self) -> Vec<i32> {
        whole_file::read(&self.path.join("cgroup.procs"), MAX_MEMBERS_BYTES)
            .unwrap_or_default()
            .split(|byte| *byte == b'\n')
            .filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok())
            .collect()
    }

    /// Signals every member.
    pub(crate) fn signal(&self, signal: u32) {
        for pid in self.members() {
            let _ = kernel_calls::send_signal(pid, false, signal);
        }
    }

    /// Kills every member, also those that fork meanwhile.
    pub(crate) fn kill(&self) {
        if whole_file::write_to(&self.path.join("cgroup.kill"), b"1").is_err() {
            // A kernel before 5.14. Members that fork meanwhile are met in the next round.
            for _ in 0..100 {
                let members = self.members();
                if members.is_empty() {
                    break;
                }
                for pid in members {
                    let _ = kernel_calls::send_signal(pid, false, libc::SIGKILL as u32);
                }
            }
        }
    }

    /// Removes the group; false while something is in it.
    pub(crate) fn remove(&self) -> bool {
        !matches!(fs::rmdir(&self.path), Err(Errno::BUSY))
    }
}
