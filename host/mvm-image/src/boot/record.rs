//! `boot.json`: which files of the directory are the current boot artifacts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{BootArtifacts, BootArtifactsError};
use crate::Digest;
use crate::atomic_file::{WriteFileError, write_file};

const RECORD: &str = "boot.json";

/// Why the record of the boot artifacts cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The record.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is not a record.
    #[error("`{path}` is not a record of boot artifacts")]
    Parse {
        /// The record.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

impl RecordError {
    pub(super) fn vanished(directory: &Path) -> Self {
        Self::Read {
            path: directory.join(RECORD),
            source: io::ErrorKind::NotFound.into(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) kernel_version: String,
    pub(super) kernel: Stored,
    /// The part of the initramfs that is kept to make another around a new agent.
    pub(super) modules: Stored,
    pub(super) initramfs: Stored,
    pub(super) agent_digest: Digest,
}

impl Record {
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, RecordError> {
        let path = directory.join(RECORD);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RecordError::Read { path, source }),
        };
        match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Some(record)),
            Err(source) => Err(RecordError::Parse { path, source }),
        }
    }

    pub(super) fn publish(&self, directory: &Path) -> Result<(), WriteFileError> {
        let mut json =
            serde_json::to_vec_pretty(self).expect("strings and numbers have a JSON form");
        json.push(b'\n');
        write_file(directory, RECORD, 0o644, &json)
    }

    /// Removes the artifacts that this record does not name. What cannot be removed costs space
    /// only, and is tried again next time.
    pub(super) fn remove_superseded(&self, directory: &Path) {
        let current = [&self.kernel, &self.modules, &self.initramfs].map(Stored::file_name);
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let artifact = [Kind::Kernel, Kind::Modules, Kind::Initramfs]
                .iter()
                .any(|kind| {
                    name.strip_prefix(kind.name())
                        .is_some_and(|rest| rest.starts_with('-'))
                });
            if artifact && !current.iter().any(|file| file == name) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    pub(super) fn artifacts(&self, directory: &Path) -> BootArtifacts {
        BootArtifacts {
            kernel: self.kernel.path(directory),
            initramfs: self.initramfs.path(directory),
            kernel_version: self.kernel_version.clone(),
            kernel_digest: self.kernel.digest,
            initramfs_digest: self.initramfs.digest,
            agent_digest: self.agent_digest,
        }
    }
}

/// What a file of the directory is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Kernel,
    /// The part of the initramfs that depends on the kernel only.
    Modules,
    Initramfs,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Kernel => "vmlinux",
            Self::Modules => "modules",
            Self::Initramfs => "initramfs",
        }
    }
}

/// A file of the directory whose name follows from its content.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    kind: Kind,
    digest: Digest,
    size: u64,
}

impl Stored {
    /// Writes `bytes` under the name of their digest; a file that is already there is replaced by
    /// equal bytes, which also mends it.
    pub(super) fn write(
        directory: &Path,
        kind: Kind,
        bytes: &[u8],
    ) -> Result<Self, WriteFileError> {
        let stored = Self {
            kind,
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
        };
        write_file(directory, &stored.file_name(), 0o444, bytes)?;
        Ok(stored)
    }

    fn file_name(&self) -> String {
        format!("{}-{}", self.kind.name(), &self.digest.hex()[..16])
    }

    fn path(&self, directory: &Path) -> PathBuf {
        directory.join(self.file_name())
    }

    pub(super) fn check_size(&self, directory: &Path) -> Result<(), BootArtifactsError> {
        let path = self.path(directory);
        match fs::metadata(&path) {
            Ok(found) if found.is_file() && found.len() == self.size => Ok(()),
            Ok(_) => Err(BootArtifactsError::Changed { path }),
            Err(source) => Err(BootArtifactsError::Read { path, source }),
        }
    }

    pub(super) fn read_verified(&self, directory: &Path) -> Result<Vec<u8>, BootArtifactsError> {
        self.check_size(directory)?;
        let path = self.path(directory);
        match fs::read(&path) {
            Ok(bytes) if Digest::of(&bytes) == self.digest => Ok(bytes),
            Ok(_) => Err(BootArtifactsError::Changed { path }),
            Err(source) => Err(BootArtifactsError::Read { path, source }),
        }
    }
}
