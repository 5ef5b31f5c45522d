//! Content on its way into the store.

use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;

use super::{StoreError, lock};

/// A file of the store that only its writer knows; removed on drop unless it
/// was published.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl Staging {
    pub(super) fn create(directory: &Path) -> Result<Self, StoreError> {
        loop {
            // Never the same name twice: a sweep that found this file must not
            // hit a later one. `RandomState` is seeded by the system.
            let unique = RandomState::new().hash_one(process::id());
            let path = directory.join(format!("{}-{unique:016x}", process::id()));
            let failed = |source| StoreError::CreateStaging {
                path: path.clone(),
                source,
            };
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            let file = match opened {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(failed(source)),
            };
            if lock::own(&file).map_err(failed)? {
                return Ok(Self {
                    path,
                    file,
                    renamed: false,
                });
            }
        }
    }

    /// Where the file is until it is published.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, for positioned writes.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The open file.
    pub fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|source| StoreError::Sync {
            path: self.path.clone(),
            source,
        })
    }

    /// Makes the file read-only and durable.
    pub(super) fn freeze(&self) -> Result<(), StoreError> {
        self.file
            .set_permissions(Permissions::from_mode(0o444))
            .map_err(|source| StoreError::SetMode {
                path: self.path.clone(),
                source,
            })?;
        self.sync()
    }

    pub(super) fn rename_to(mut self, path: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, path).map_err(|source| StoreError::Publish {
            path: path.into(),
            source,
        })?;
        self.renamed = true;
        let Some(directory) = path.parent() else {
            return Ok(());
        };
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| StoreError::Sync {
                path: directory.into(),
                source,
            })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Read for Staging {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Write for Staging {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Staging {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}
