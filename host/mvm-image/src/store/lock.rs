//! Locked files that vanish with their holder.
//!
//! A file in `staging/` or `locks/` belongs to whoever holds its `flock`. The
//! kernel drops the lock when the holder dies, so a file that can be locked by
//! another has no owner and may be unlinked. Whoever locks a file therefore
//! checks afterwards that it still has a name, and starts over when it has not.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::StoreError;

/// An exclusive lock between processes and threads, held until dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    pub(super) fn acquire(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Lock {
            path: path.into(),
            source,
        };
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map_err(failed)?;
            if own(&file).map_err(failed)? {
                return Ok(Self {
                    path: path.into(),
                    _file: file,
                });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked, so that nobody can own the name and lose it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Locks `file`, waiting; false when its name was removed meanwhile.
pub(super) fn own(file: &File) -> io::Result<bool> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(file.metadata()?.nlink() > 0)
}

/// Removes the files of `directory` that nobody holds.
///
/// A file that cannot be removed (read-only store) is left: it is invisible to
/// readers, and a writer will report the state of the store by itself.
pub(super) fn sweep(directory: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Sweep {
        path: directory.into(),
        source,
    };
    for leftover in fs::read_dir(directory).map_err(failed)? {
        let path = leftover.map_err(failed)?.path();
        let Ok(file) = File::open(&path) else {
            continue;
        };
        // A file without a name lost it to its owner, and `path` may by now be
        // the file of another.
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            && file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
        {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}
