//! What is in a template's folder.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use mvm_image::{Digest, Seal};
use mvm_vmm::Port;
use serde::{Deserialize, Serialize};

use super::{TemplateError, TemplateShape};
use crate::sparse_file;

const VERSION: u32 = 1;
const MANIFEST: &str = "template.json";
/// The guest's memory; forks map it copy-on-write.
pub(crate) const MEMORY: &str = "memory";
/// Devices and processors.
pub(crate) const STATE: &str = "state";
/// The guest's disk.
pub(crate) const DISK: &str = "disk.img";

/// What is said of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TemplateManifest {
    version: u32,
    /// The image as it was named when the template was made, for people.
    pub(crate) image: String,
    pub(crate) shape: TemplateShape,
    pub(crate) created_at_ms: u64,
    /// The port on which the agent has greeted and waits for a host's first words.
    pub(crate) port: Port,
    /// The key the agent waits for, hexadecimal: a fork's first connection shows it and gives
    /// another.
    pub(crate) connection_key: String,
    pub(crate) memory: SealedFile,
    pub(crate) state: SealedFile,
    pub(crate) disk: SealedFile,
}

/// A file as it was when the template was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SealedFile {
    /// Of its content ([`sparse_file::digest`]).
    pub(crate) digest: Digest,
    seal: Seal,
    /// The start of the host at which the seal was taken. What was written before a later one may
    /// not have reached the disk, whatever the seal says: it is read again.
    host_start: String,
}

impl SealedFile {
    /// Seals a file, which is not to be changed any more.
    pub(crate) fn seal(path: &Path) -> io::Result<Self> {
        Ok(Self {
            digest: sparse_file::digest(&File::open(path)?)?,
            seal: Seal::take(path)?,
            host_start: host_start(),
        })
    }

    /// Whether the file is what it was: by its seal, or by its content after a new start of the
    /// host. Says what differs.
    pub(crate) fn check(&self, path: &Path) -> Result<(), String> {
        let name = path.file_name().unwrap_or_default().display();
        let seal = Seal::take(path).map_err(|error| format!("`{name}`: {error}"))?;
        if let Some(field) = self.seal.difference(&seal) {
            return Err(format!("`{name}` has another {field}"));
        }
        if self.host_start == host_start() {
            return Ok(());
        }
        self.check_content(path)
    }

    /// Whether the content is what it was.
    pub(crate) fn check_content(&self, path: &Path) -> Result<(), String> {
        let name = path.file_name().unwrap_or_default().display();
        let digest = File::open(path).and_then(|file| sparse_file::digest(&file));
        match digest {
            Ok(digest) if digest == self.digest => Ok(()),
            Ok(digest) => Err(format!("`{name}` is {digest}, not {}", self.digest)),
            Err(error) => Err(format!("`{name}`: {error}")),
        }
    }
}

/// Names the present start of the host.
fn host_start() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

/// A template that is there.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) key: String,
    pub(crate) folder: PathBuf,
    pub(crate) manifest: TemplateManifest,
}

impl Template {
    pub(crate) fn memory(&self) -> PathBuf {
        self.folder.join(MEMORY)
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.join(DISK)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join(STATE)
    }

    /// Checks the seals of its files.
    pub(crate) fn check(&self) -> Result<(), TemplateError> {
        let manifest = &self.manifest;
        manifest
            .memory
            .check(&self.memory())
            .and_then(|()| manifest.state.check(&self.state()))
            .and_then(|()| manifest.disk.check(&self.disk()))
            .map_err(|what| self.damaged(what))
    }

    /// Checks the content of its files.
    pub(crate) fn verify(&self) -> Result<(), TemplateError> {
        let manifest = &self.manifest;
        manifest
            .memory
            .check_content(&self.memory())
            .and_then(|()| manifest.state.check_content(&self.state()))
            .and_then(|()| manifest.disk.check_content(&self.disk()))
            .map_err(|what| self.damaged(what))
    }

    fn damaged(&self, what: String) -> TemplateError {
        TemplateError::Damaged {
            key: self.key.clone(),
            what,
        }
    }
}

impl TemplateManifest {
    /// Seals the files of a template's folder.
    pub(crate) fn seal(
        folder: &Path,
        image: String,
        shape: TemplateShape,
        created_at_ms: u64,
        port: Port,
        connection_key: String,
    ) -> Result<Self, TemplateError> {
        let seal = |name: &str| {
            let path = folder.join(name);
            SealedFile::seal(&path).map_err(TemplateError::io("seal", &path))
        };
        let manifest = Self {
            version: VERSION,
            image,
            shape,
            created_at_ms,
            port,
            connection_key,
            memory: seal(MEMORY)?,
            state: seal(STATE)?,
            disk: seal(DISK)?,
        };
        let path = folder.join(MANIFEST);
        let bytes = serde_json::to_vec_pretty(&manifest).map_err(io::Error::from);
        bytes
            .and_then(|bytes| crate::durable::replace(&path, &bytes))
            .map_err(TemplateError::io("write", &path))?;
        Ok(manifest)
    }

    /// Reads the manifest in a folder; `None` when there is no folder.
    pub(super) fn read(folder: &Path, key: &str) -> Result<Option<Self>, TemplateError> {
        let path = folder.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => {
                return Ok(None);
            }
            Err(error) => return Err(TemplateError::io("read", &path)(error)),
        };
        let damaged = |what: String| TemplateError::Damaged {
            key: key.to_owned(),
            what,
        };
        let manifest: Self = serde_json::from_slice(&bytes)
            .map_err(|error| damaged(format!("its manifest: {error}")))?;
        if manifest.version != VERSION {
            let version = manifest.version;
            return Err(damaged(format!("its version is {version}, not {VERSION}")));
        }
        Ok(Some(manifest))
    }
}
