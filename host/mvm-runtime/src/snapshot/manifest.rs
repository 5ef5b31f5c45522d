//! What a snapshot is made of, and proving that it is what it was.
//!
//! A snapshot's folder holds `manifest.json`, its code in `manifest.mac`, and the files that the
//! manifest names with their digests. The code is checked over the manifest's very bytes before
//! anything of them is read, and each file's digest before anything uses it.

use std::{
    fs::{self, File},
    io::{self, Seek as _},
    path::{Path, PathBuf},
};

use mvm_contract::{SandboxId, SandboxName, SandboxSpec, SnapshotId};
use mvm_image::Digest;
use mvm_vmm::Port;
use serde::{Deserialize, Serialize};

use super::{SnapshotError, host_key::HostKey};
use crate::{command::CommandDefaults, durable, machine_facts::MachineFacts, plan::GuestSoftware};

/// The version of snapshots this code writes and reads.
const VERSION: u32 = 3;
const MANIFEST: &str = "manifest.json";
const CODE: &str = "manifest.mac";
/// Devices and processors; the memory too where it is a stream.
pub(crate) const STATE: &str = "state";
/// The pages the guest changed over its template (see [`super::pages`]).
pub(crate) const PAGES: &str = "pages";
/// The blocks of the disk that differ from the template's.
pub(crate) const DISK: &str = "disk";

/// Everything that is said of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) version: u32,
    pub(crate) id: SnapshotId,
    pub(crate) name: Option<SandboxName>,
    pub(crate) created_at_ms: u64,
    /// The sandbox it was taken of.
    pub(crate) sandbox: SandboxId,
    pub(crate) spec: SandboxSpec,
    pub(crate) defaults: CommandDefaults,
    /// What the guest was booted with.
    pub(crate) software: GuestSoftware,
    pub(crate) image_digest: String,
    pub(crate) image_path: PathBuf,
    pub(crate) machine: MachineFacts,
    pub(crate) memory: SavedMemory,
    /// What the disk's difference is to.
    pub(crate) disk_base: DiskBase,
    /// The port the agent was spoken to on.
    pub(crate) port: Port,
    /// The key of the agent's connection, hexadecimal; replaced by the first who shows it.
    pub(crate) connection_key: String,
    /// How long the guest stood still, microseconds.
    pub(crate) pause_microseconds: u64,
    /// Filled in when it is sealed.
    pub(crate) files: Vec<SavedFile>,
}

/// Where a snapshot's memory is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum SavedMemory {
    /// Over a template's memory.
    Delta {
        template: String,
        /// Digest of the template's memory file.
        template_memory: Digest,
        pages: u64,
        zero_pages: u64,
    },
    /// In the state file.
    Stream {
        /// Why not as a delta.
        reason: String,
    },
}

/// The disk a difference is to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "base", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum DiskBase {
    /// That of a template.
    Template {
        template: String,
        template_disk: Digest,
    },
    /// One of zeros.
    Zeros { bytes: u64 },
}

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedFile {
    pub(crate) name: String,
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

/// The code beside the manifest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    /// Name of the key it was made with.
    host_key: String,
    mac: String,
}

impl Manifest {
    /// The version that is written and read.
    pub(crate) const VERSION: u32 = VERSION;

    /// Digests and syncs the files that are in the folder, and writes the manifest with them and
    /// its code.
    pub(crate) fn seal(mut self, folder: &Path, key: &HostKey) -> Result<Self, SnapshotError> {
        self.files.clear();
        for name in [STATE, PAGES, DISK] {
            let path = folder.join(name);
            if !path.exists() {
                continue;
            }
            let digest = File::open(&path).and_then(|mut file| {
                file.sync_all()?;
                Digest::of_reader(&mut file)
            });
            let (digest, bytes) = digest.map_err(SnapshotError::file("digest", &path))?;
            self.files.push(SavedFile {
                name: name.to_owned(),
                digest,
                bytes,
            });
        }
        let path = folder.join(MANIFEST);
        let bytes = serde_json::to_vec_pretty(&self).map_err(io::Error::from);
        let bytes = bytes.map_err(SnapshotError::file("write", &path))?;
        durable::replace(&path, &bytes).map_err(SnapshotError::file("write", &path))?;
        let code = Code {
            host_key: key.name(),
            mac: key.authenticate(&bytes),
        };
        let path = folder.join(CODE);
        let code = serde_json::to_vec(&code).map_err(io::Error::from);
        code.and_then(|code| durable::replace(&path, &code))
            .map_err(SnapshotError::file("write", &path))?;
        Ok(self)
    }

    /// Reads a manifest whose code is right.
    pub(crate) fn read(folder: &Path, key: &HostKey) -> Result<Self, SnapshotError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let read = |name| {
            let path = folder.join(name);
            fs::read(&path).map_err(SnapshotError::part(folder, &path))
        };
        let bytes = read(MANIFEST)?;
        let mismatch = |what, expected: String, found: String| SnapshotError::Mismatch {
            snapshot: folder.to_owned(),
            what,
            expected,
            found,
        };
        let code = serde_json::from_slice::<Code>(&read(CODE)?).map_err(|error| {
            mismatch(
                "code",
                "a code of this version".to_owned(),
                error.to_string(),
            )
        })?;
        if code.host_key != key.name() {
            return Err(mismatch("host", key.name(), code.host_key));
        }
        if !key.verifies(&bytes, &code.mac) {
            // The right code is told to nobody: whoever changed the manifest would put it there.
            let expected = "what this host's key vouches for".to_owned();
            return Err(mismatch("manifest", expected, "another".to_owned()));
        }
        let malformed = |error: serde_json::Error| {
            mismatch(
                "manifest",
                "a manifest of this version".to_owned(),
                error.to_string(),
            )
        };
        let Version { version } = serde_json::from_slice(&bytes).map_err(malformed)?;
        if version != VERSION {
            return Err(mismatch(
                "version",
                VERSION.to_string(),
                version.to_string(),
            ));
        }
        serde_json::from_slice(&bytes).map_err(malformed)
    }

    /// Opens a file of the snapshot whose digest is right, at its start.
    pub(crate) fn open(&self, folder: &Path, name: &'static str) -> Result<File, SnapshotError> {
        let path = folder.join(name);
        let Some(saved) = self.files.iter().find(|file| file.name == name) else {
            return Err(SnapshotError::Mismatch {
                snapshot: folder.to_owned(),
                what: name,
                expected: "a file of the manifest".to_owned(),
                found: "none".to_owned(),
            });
        };
        let mut file = File::open(&path).map_err(SnapshotError::part(folder, &path))?;
        let (digest, bytes) =
            Digest::of_reader(&mut file).map_err(SnapshotError::file("read", &path))?;
        if (digest, bytes) != (saved.digest, saved.bytes) {
            return Err(SnapshotError::Mismatch {
                snapshot: folder.to_owned(),
                what: name,
                expected: format!("{} ({} bytes)", saved.digest, saved.bytes),
                found: format!("{digest} ({bytes} bytes)"),
            });
        }
        file.rewind().map_err(SnapshotError::file("read", &path))?;
        Ok(file)
    }

    /// Digest of its bytes: of all that it says.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec_pretty(self).unwrap_or_default())
    }

    /// Whether its memory is pages over a template's.
    pub(crate) fn has_pages(&self) -> bool {
        matches!(self.memory, SavedMemory::Delta { .. })
    }

    /// The template it needs.
    pub(crate) fn template(&self) -> Option<&str> {
        match (&self.memory, &self.disk_base) {
            (SavedMemory::Delta { template, .. }, _) | (_, DiskBase::Template { template, .. }) => {
                Some(template)
            }
            _ => None,
        }
    }

    /// Bytes it takes on the disk, without its template.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}
