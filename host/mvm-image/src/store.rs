//! The content store: files named by the SHA-256 of their bytes.
//!
//! ```text
//! <root>/blobs/sha256/<hex>   published content, mode 0444, never changed
//! <root>/seals/<hex>.json     what `stat` said at publish: a cheap tamper check
//! <root>/records/<folder>/    small JSON values that speed things up, all rebuildable
//! <root>/staging/             files being written, each locked by its writer
//! <root>/locks/               one file per lock that is held right now
//! <root>/in-use.lock          held by whoever needs content, or removes it
//! <root>/pulled/              a store of its own: what came from registries, as it came
//! ```
//!
//! Everything becomes visible by rename, so a reader sees all of a file or none
//! of it. A writer that dies leaves a staging file without a lock, which the
//! next [`Store::open`] removes. Any number of processes may share a store.

mod error;
mod lock;
mod removal;
mod seal;
mod staging;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Seek};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::StoreError;
pub use lock::Lock;
pub use removal::{Clearing, Hold};
pub use seal::{Entry, Seal};
pub use staging::Staging;

use mvm_contract::Digest;

/// A directory of content-addressed files. Cheap to clone; holds nothing open.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// Where a record lives: a folder and a key, both plain file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordName {
    folder: String,
    key: String,
}

impl RecordName {
    /// A name made of ASCII lowercase letters, digits, `-`, `_` and inner dots.
    ///
    /// # Errors
    /// [`StoreError::RecordName`] when either part has other characters.
    pub fn new(folder: &str, key: &str) -> Result<Self, StoreError> {
        let plain = |part: &str| {
            !part.is_empty()
                && part.len() <= 200
                && !part.starts_with('.')
                && part.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)
                })
        };
        if !plain(folder) || !plain(key) {
            return Err(StoreError::RecordName {
                folder: folder.into(),
                key: key.into(),
            });
        }
        Ok(Self {
            folder: folder.into(),
            key: key.into(),
        })
    }
}

impl Store {
    /// Opens the store at `root`, creating its directories (mode 0700) and
    /// removing what writers that died left behind.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self { root: root.into() };
        for directory in ["blobs/sha256", "seals", "records", "staging", "locks"] {
            let path = store.root.join(directory);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|source| StoreError::CreateDirectory { path, source })?;
        }
        for directory in ["staging", "locks"] {
            lock::sweep(&store.root.join(directory))?;
        }
        Ok(store)
    }

    /// The directory given to [`Store::open`].
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Begins new content: an empty file inside the store, gone again when the
    /// returned value is dropped without [`Store::publish`].
    pub fn begin(&self) -> Result<Staging, StoreError> {
        Staging::create(&self.root.join("staging"))
    }

    /// Hashes, syncs and seals what was staged and gives it its final name.
    ///
    /// Content that is already there with an intact seal is kept and the staged
    /// copy dropped; content whose seal is missing or broken is replaced.
    pub fn publish(&self, staging: Staging) -> Result<Entry, StoreError> {
        let (digest, size) = hash_whole(staging.file(), staging.path())?;
        staging.freeze()?;
        let path = self.blob_path(&digest);
        // One writer at a time from the rename to its seal: otherwise the seal
        // of one could describe the file of another.
        let _publishing = self.lock("publish")?;
        if let Some(present) = self.entry(&digest)?
            && present.check_seal().is_ok()
        {
            return Ok(present);
        }
        staging.rename_to(&path)?;
        self.seal(digest, path, size)
    }

    /// The published content with this digest, or `None`.
    ///
    /// The bytes are not read; see [`Entry::check_seal`] and [`Store::verify`].
    pub fn entry(&self, digest: &Digest) -> Result<Option<Entry>, StoreError> {
        let path = self.blob_path(digest);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Inspect { path, source }),
        };
        if !metadata.is_file() {
            return Err(StoreError::NotAFile { path });
        }
        let seal = seal::load(&self.seal_path(digest))?;
        Ok(Some(Entry::new(*digest, path, metadata.len(), seal)))
    }

    /// Reads all of the content with this digest and compares. A seal that was
    /// lost (a store restored from a backup) is renewed when the bytes are right.
    pub fn verify(&self, digest: &Digest) -> Result<Entry, StoreError> {
        let _publishing = self.lock("publish")?;
        let entry = self.entry(digest)?.ok_or_else(|| StoreError::Missing {
            digest: *digest,
            path: self.blob_path(digest),
        })?;
        let file = File::open(&entry.path).map_err(|source| StoreError::Read {
            path: entry.path.clone(),
            source,
        })?;
        let (actual, size) = hash_whole(&file, &entry.path)?;
        if actual != *digest {
            return Err(StoreError::Corrupt {
                path: entry.path,
                expected: *digest,
                actual,
            });
        }
        if entry.check_seal().is_ok() {
            return Ok(entry);
        }
        self.seal(*digest, entry.path, size)
    }

    /// Takes the lock called `name` (in the alphabet of [`RecordName`]), waiting
    /// for whoever holds it; released on drop and when the process dies.
    pub fn lock(&self, name: &str) -> Result<Lock, StoreError> {
        RecordName::new("locks", name)?;
        Lock::acquire(&self.root.join("locks").join(name))
    }

    /// Reads a record. Records only save work, so one that is absent or
    /// unreadable as `T` is `None`.
    pub fn load_record<T: DeserializeOwned>(
        &self,
        name: &RecordName,
    ) -> Result<Option<T>, StoreError> {
        let path = self.record_path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Read { path, source }),
        }
    }

    /// Writes a record, replacing what was there in one step.
    pub fn save_record<T: Serialize>(
        &self,
        name: &RecordName,
        value: &T,
    ) -> Result<(), StoreError> {
        let path = self.record_path(name);
        let folder = self.root.join("records").join(&name.folder);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|source| StoreError::CreateDirectory {
                path: folder,
                source,
            })?;
        self.replace_json(path, value)
    }

    fn seal(&self, digest: Digest, path: PathBuf, size: u64) -> Result<Entry, StoreError> {
        let seal = seal::take(&path)?;
        self.replace_json(self.seal_path(&digest), &seal)?;
        Ok(Entry::new(digest, path, size, Some(seal)))
    }

    fn replace_json<T: Serialize>(&self, path: PathBuf, value: &T) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(value).map_err(|source| StoreError::EncodeRecord {
            path: path.clone(),
            source,
        })?;
        let mut staging = self.begin()?;
        io::Write::write_all(&mut staging, &bytes).map_err(|source| StoreError::Write {
            path: staging.path().into(),
            source,
        })?;
        staging.sync()?;
        staging.rename_to(&path)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    fn seal_path(&self, digest: &Digest) -> PathBuf {
        self.root
            .join("seals")
            .join(format!("{}.json", digest.hex()))
    }

    fn record_path(&self, name: &RecordName) -> PathBuf {
        self.root
            .join("records")
            .join(&name.folder)
            .join(format!("{}.json", name.key))
    }
}

fn hash_whole(mut file: &File, path: &Path) -> Result<(Digest, u64), StoreError> {
    file.rewind()
        .and_then(|()| Digest::of_reader(&mut file))
        .map_err(|source| StoreError::Read {
            path: path.into(),
            source,
        })
}
