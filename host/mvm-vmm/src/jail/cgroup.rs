//! A cgroup (version 2) of its own for one machine, where the host delegates
//! one to this user.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// A cgroup that holds one machine; removed when dropped, once it is empty.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
    directory: File,
}

/// A delegated cgroup could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The group was not created.
    #[error("cannot create `{path}`")]
    Create {
        /// The group's directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A limit was not accepted.
    #[error("cannot write `{path}`")]
    Limit {
        /// The limit's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

const NEEDED: [&str; 2] = ["memory", "pids"];
const PREFIX: &str = "mvm-";

impl Cgroup {
    /// The nearest group above this process that hands the memory and pids
    /// controllers down and lets this user create groups; or why there is none.
    pub(crate) fn find_parent() -> Result<PathBuf, String> {
        let membership = fs::read_to_string("/proc/self/cgroup")
            .map_err(|error| format!("cannot read `/proc/self/cgroup`: {error}"))?;
        let own = membership
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .ok_or("this process is in no cgroup of version 2")?;
        let mounts = fs::read_to_string("/proc/self/mounts")
            .map_err(|error| format!("cannot read `/proc/self/mounts`: {error}"))?;
        let mount = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields.get(2) == Some(&"cgroup2"))
            .and_then(|fields| fields.get(1).map(PathBuf::from))
            .ok_or("no cgroup hierarchy of version 2 is mounted")?;
        let mut candidate = mount.join(own);
        while candidate.starts_with(&mount) {
            let controllers = fs::read_to_string(candidate.join("cgroup.subtree_control"));
            let controllers = controllers.unwrap_or_default();
            let hands_down = NEEDED
                .iter()
                .all(|name| controllers.split_whitespace().any(|have| have == *name));
            if hands_down && may_create_in(&candidate) {
                return Ok(candidate);
            }
            if !candidate.pop() {
                break;
            }
        }
        Err(format!(
            "no cgroup above `/{own}` hands the memory and pids controllers down to this user"
        ))
    }

    /// Makes a group below `parent` with limits on memory (bytes, swap
    /// excluded) and threads. Empty groups that dead supervisors left are
    /// removed first.
    pub(crate) fn create(parent: &Path, memory: u64, threads: u32) -> Result<Cgroup, CgroupError> {
        remove_empty(parent);
        let unique = format!("{PREFIX}{}-{}", std::process::id(), next_number());
        let path = parent.join(unique);
        let create = |source| CgroupError::Create {
            path: path.clone(),
            source,
        };
        fs::create_dir(&path).map_err(create)?;
        let directory = match File::open(&path) {
            Ok(directory) => directory,
            Err(source) => {
                let _ = fs::remove_dir(&path);
                return Err(create(source));
            }
        };
        let group = Cgroup { path, directory };
        group.limit("memory.max", &memory.to_string())?;
        group.limit("memory.oom.group", "1")?;
        group.limit("pids.max", &threads.to_string())?;
        Ok(group)
    }

    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    fn limit(&self, name: &str, value: &str) -> Result<(), CgroupError> {
        let path = self.path.join(name);
        fs::write(&path, value).map_err(|source| CgroupError::Limit { path, source })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Fails while a process is left in it; then the next use removes it.
        let _ = fs::remove_dir(&self.path);
    }
}

fn next_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

fn may_create_in(group: &Path) -> bool {
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(group, access).is_ok()
        && rustix::fs::access(group.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok()
}

/// Removes groups of ours without processes; the kernel refuses the others.
/// One whose creator still lives is left alone: it may be about to fill it.
fn remove_empty(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let creator = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split_once('-'))
            .and_then(|(pid, _)| pid.parse::<u32>().ok());
        if creator.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}
