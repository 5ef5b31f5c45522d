//! A directory for one run of `mmdebstrap` that is gone afterwards, however the run ends.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};

/// Starts the name of every workspace.
const UNFINISHED: &str = ".unfinished-debian-";

/// Why there is no place to work in.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a working directory in `{base}`")]
pub struct WorkspaceError {
    /// Where it was to be.
    pub base: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

/// The directory. It is removed on drop; one whose process was killed is removed by the next
/// [`Workspace::create`] beside it, which tells it from one in use by the lock on it.
///
/// Child processes inherit the lock. So the directory outlives the last program that works in it,
/// which matters: what confines `mmdebstrap`'s `apt` to its tree is a file in that tree, and an
/// `apt` without it would go on with the host.
#[derive(Debug)]
pub(super) struct Workspace {
    path: PathBuf,
    _lock: File,
}

impl Workspace {
    /// Makes a workspace in `base`, which is made as well where it does not exist.
    pub(super) fn create(base: &Path) -> Result<Self, WorkspaceError> {
        let make = || {
            DirBuilder::new().recursive(true).mode(0o700).create(base)?;
            remove_abandoned(base);
            loop {
                let path = tempfile::Builder::new()
                    .prefix(UNFINISHED)
                    .tempdir_in(base)?
                    .keep();
                let lock = File::open(&path)?;
                lock.lock()?;
                fcntl_setfd(&lock, FdFlags::empty())?;
                // Between making and locking it, another process may have taken it for abandoned.
                if fs::metadata(&path)
                    .is_ok_and(|now| lock.metadata().is_ok_and(|held| held.ino() == now.ino()))
                {
                    return Ok(Self { path, _lock: lock });
                }
            }
        };
        make().map_err(|source| WorkspaceError {
            base: base.into(),
            source,
        })
    }

    /// Makes one where the subordinate users of a user namespace can reach it: in `base` where
    /// everybody may pass through all of its parents, else in the system's temporary directory.
    pub(super) fn create_reachable(base: &Path) -> Result<Self, WorkspaceError> {
        let workspace = Self::create(base)?;
        let workspace = if workspace.path.ancestors().skip(1).all(everybody_may_pass) {
            workspace
        } else {
            drop(workspace);
            Self::create(&std::env::temp_dir())?
        };
        fs::set_permissions(&workspace.path, fs::Permissions::from_mode(0o711)).map_err(
            |source| WorkspaceError {
                base: base.into(),
                source,
            },
        )?;
        Ok(workspace)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn everybody_may_pass(directory: &Path) -> bool {
    // An empty path is the current directory of a relative one: nothing is known about it.
    fs::metadata(directory).is_ok_and(|found| found.mode() & 0o001 != 0)
}

fn remove_abandoned(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    let own_user = rustix::process::geteuid().as_raw();
    for entry in entries.flatten() {
        let ours = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(UNFINISHED.as_bytes())
            && fs::symlink_metadata(entry.path())
                .is_ok_and(|found| found.is_dir() && found.uid() == own_user);
        if !ours {
            continue;
        }
        if let Ok(lock) = File::open(entry.path())
            && lock.try_lock().is_ok()
        {
            remove(&entry.path());
        }
    }
}

/// What cannot be removed is tried again by the next workspace.
fn remove(path: &Path) {
    if has_mounts(path) || fs::remove_dir_all(path).is_ok() || !path.exists() {
        return;
    }
    // Files of a killed `mmdebstrap` belong to subordinate users, whom only a user namespace
    // with the same mapping can remove.
    let _ = Command::new("mmdebstrap")
        .args(["--unshare-helper", "rm", "-rf", "--"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let _ = fs::remove_dir_all(path);
}

/// Whether something is mounted below `path`: that is not ours to empty.
fn has_mounts(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return true;
    };
    // Names of workspaces need no escaping there, and no two are the same.
    let within = format!("/{name}/");
    fs::read_to_string("/proc/self/mountinfo").map_or(true, |mounts| mounts.contains(&within))
}
