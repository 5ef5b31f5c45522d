//! Seals: what the filesystem said about content when it was published.
//!
//! Changing, replacing or re-linking a file moves its change time, which no
//! ordinary call can set back, so comparing four numbers stands in for reading
//! the bytes on every launch.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StoreError;
use mvm_contract::Digest;

/// What the filesystem says about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    size: u64,
    inode: u64,
    mode: u32,
    change_time: i64,
    change_time_nanoseconds: i64,
}

impl Seal {
    /// The seal of a file as it is now; a symlink's own, not its target's.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn take(path: &Path) -> io::Result<Seal> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Seal {
            size: metadata.len(),
            inode: metadata.ino(),
            mode: metadata.mode(),
            change_time: metadata.ctime(),
            change_time_nanoseconds: metadata.ctime_nsec(),
        })
    }

    /// The first field in which another seal differs.
    #[must_use]
    pub fn difference(&self, found: &Seal) -> Option<&'static str> {
        if found.size != self.size {
            Some("size")
        } else if found.inode != self.inode {
            Some("inode")
        } else if found.mode != self.mode {
            Some("mode")
        } else if found != self {
            Some("change time")
        } else {
            None
        }
    }
}

/// Published content.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The SHA-256 the content was published under.
    pub digest: Digest,
    /// The file, mode 0444, inside the store.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    seal: Option<Seal>,
}

impl Entry {
    pub(super) fn new(digest: Digest, path: PathBuf, size: u64, seal: Option<Seal>) -> Self {
        Self {
            digest,
            path,
            size,
            seal,
        }
    }

    /// Compares size, inode, mode and change time with those at publish.
    ///
    /// # Errors
    /// [`StoreError::SealMissing`] or [`StoreError::SealBroken`] when the file
    /// cannot be trusted unread; [`StoreError::Inspect`] when it is gone.
    pub fn check_seal(&self) -> Result<(), StoreError> {
        let sealed = self.seal.as_ref().ok_or_else(|| StoreError::SealMissing {
            path: self.path.clone(),
        })?;
        let found = take(&self.path)?;
        let Some(field) = sealed.difference(&found) else {
            return Ok(());
        };
        Err(StoreError::SealBroken {
            path: self.path.clone(),
            field,
        })
    }
}

pub(super) fn take(path: &Path) -> Result<Seal, StoreError> {
    Seal::take(path).map_err(|source| StoreError::Inspect {
        path: path.into(),
        source,
    })
}

/// The recorded seal; one that is absent or unreadable is `None`, which no
/// check accepts.
pub(super) fn load(path: &Path) -> Result<Option<Seal>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Read {
            path: path.into(),
            source,
        }),
    }
}
