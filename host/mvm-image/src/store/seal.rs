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
use crate::digest::Digest;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seal {
    size: u64,
    inode: u64,
    mode: u32,
    change_time: i64,
    change_time_nanoseconds: i64,
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
        let field = if found.size != sealed.size {
            "size"
        } else if found.inode != sealed.inode {
            "inode"
        } else if found.mode != sealed.mode {
            "mode"
        } else if found != *sealed {
            "change time"
        } else {
            return Ok(());
        };
        Err(StoreError::SealBroken {
            path: self.path.clone(),
            field,
        })
    }
}

pub(super) fn take(path: &Path) -> Result<Seal, StoreError> {
    let metadata = fs::symlink_metadata(path).map_err(|source| StoreError::Inspect {
        path: path.into(),
        source,
    })?;
    Ok(Seal {
        size: metadata.len(),
        inode: metadata.ino(),
        mode: metadata.mode(),
        change_time: metadata.ctime(),
        change_time_nanoseconds: metadata.ctime_nsec(),
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
