//! Removing and renaming.

use std::ffi::{CStr, CString};

use mvm_wire::{Done, RemovePath, RenamePath};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, AtFlags, CWD, FileType, OFlags, StatxFlags},
    io::Errno,
};

use super::{absolute, names, open_directory, split};
use crate::{
    Agent,
    failure::{Failed, Outcome},
};

/// Entries removed before others get their turn.
const ENTRIES_PER_TURN: u64 = 64;

pub(crate) fn rename(request: &RenamePath) -> Outcome<()> {
    let (from, to) = (absolute(&request.from)?, absolute(&request.to)?);
    fs::rename(&from, &to).map_err(|errno| Failed::call("renaming", &request.from, errno))
}

/// A directory whose content is being removed.
struct Level {
    directory: OwnedFd,
    /// Its own name in the level above.
    name: CString,
    /// What is left in it, last first.
    left: Vec<CString>,
}

/// Removes a path. Symlinks are removed and never followed; a mount point is refused.
pub(crate) async fn remove(agent: &Agent, request: &RemovePath) -> Outcome<Done> {
    let failed = |errno| Failed::call("removing", &request.path, errno);
    let path = absolute(&request.path)?;
    let (parent, name) = split(&path)?;
    let parent = open_directory(CWD, &parent, OFlags::empty()).map_err(failed)?;
    let mut entries = 0;
    let stat = fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    if !FileType::from_raw_mode(stat.st_mode).is_dir() {
        fs::unlinkat(&parent, &name, AtFlags::empty()).map_err(failed)?;
        return Ok(Done {
            bytes: 0,
            entries: 1,
        });
    }
    if !request.recursive {
        fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR).map_err(failed)?;
        return Ok(Done {
            bytes: 0,
            entries: 1,
        });
    }
    let mount = mount_of(&parent, c"").map_err(failed)?;
    let mut levels = vec![enter(&parent, name, mount).map_err(failed)?];
    while let Some(level) = levels.last_mut() {
        if entries % ENTRIES_PER_TURN == 0 {
            tokio::task::yield_now().await;
            agent.gate.passed().await;
        }
        let Some(name) = level.left.pop() else {
            let name = std::mem::take(&mut level.name);
            levels.pop();
            let above = levels
                .last()
                .map_or(parent.as_fd(), |level| level.directory.as_fd());
            let subject = |errno| Failed::call("removing a directory", name.to_bytes(), errno);
            fs::unlinkat(above, &name, AtFlags::REMOVEDIR).map_err(subject)?;
            entries += 1;
            continue;
        };
        let subject = |errno, name: &CStr| Failed::call("removing", name.to_bytes(), errno);
        match fs::unlinkat(&level.directory, &name, AtFlags::empty()) {
            Ok(()) => entries += 1,
            Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => {
                let below = enter(&level.directory, name.clone(), mount)
                    .map_err(|errno| subject(errno, &name))?;
                levels.push(below);
            }
            Err(errno) => return Err(subject(errno, &name)),
        }
    }
    Ok(Done { bytes: 0, entries })
}

fn enter(above: &OwnedFd, name: CString, mount: u64) -> Result<Level, Errno> {
    if mount_of(above, &name)? != mount {
        return Err(Errno::BUSY);
    }
    let directory = open_directory(above.as_fd(), &name, OFlags::NOFOLLOW)?;
    let mut left = names(&directory)?;
    left.reverse();
    Ok(Level {
        directory,
        name,
        left,
    })
}

/// The number of the mount a path lies on; a mount point counts to what is mounted there.
fn mount_of(directory: impl AsFd, name: &CStr) -> Result<u64, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let stat = fs::statx(directory, name, flags, StatxFlags::MNT_ID)?;
    Ok(stat.stx_mnt_id)
}
