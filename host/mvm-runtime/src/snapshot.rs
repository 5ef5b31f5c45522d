//! Snapshots: saved sandboxes, which others go on from.
//!
//! A snapshot is authenticated by the key of the host that made it, and refused whole when
//! anything of it is not as it was ([`manifest`]). One of a sandbox that was forked from a template
//! holds what differs from that template, and needs it.

mod archive;
mod host_key;
pub(crate) mod manifest;
mod open;
mod pages;
mod registry;

use std::{
    io,
    path::{Path, PathBuf},
};

use mvm_contract::{Coded, ErrorCode, IdentityError, SandboxId, SandboxName, SnapshotId};
use serde::Serialize;

pub(crate) use archive::{export, import};
pub(crate) use host_key::HostKey;
pub use host_key::HostKeyError;
pub(crate) use open::{MachineParts, Opened, check_fits, open, open_machine, restore_disk, zeros};
pub(crate) use pages::{Pages, compress_pages, read_pages};
pub(crate) use registry::{
    find, id_of, is_complete, list, manifest_of, new_id, publish, publish_at, read, remove, stage,
};

use crate::{
    disk::DiskDeltaError, folder::FolderError, home::HomeError, sparse_file::SparseFileError,
    template::TemplateError,
};

/// The folder, in that of a cold sandbox, with what was saved of it.
pub(crate) const COLD: &str = "cold";

/// A snapshot, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SnapshotRecord {
    /// Its identifier.
    pub id: SnapshotId,
    /// Its name.
    pub name: Option<SandboxName>,
    /// The sandbox it was taken of.
    pub sandbox: SandboxId,
    /// That sandbox's image.
    pub image: String,
    /// Digest of that image.
    pub image_digest: String,
    /// When it was taken, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// `delta` (pages over a template) or `stream` (all memory).
    pub method: String,
    /// Why it is a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The template it needs.
    pub template: Option<String>,
    /// Bytes it takes on the host, without the template.
    pub bytes: u64,
    /// Bytes of memory in it.
    pub memory_bytes: u64,
    /// How long the guest stood still, milliseconds.
    pub pause_ms: f64,
}

/// A snapshot that is there, or one that is not what it was.
#[derive(Debug)]
pub struct ListedSnapshot {
    /// Its identifier.
    pub id: SnapshotId,
    /// What is said of it, or what differs.
    pub record: Result<SnapshotRecord, SnapshotError>,
}

/// Why a snapshot could not be made, found, opened or removed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// No such snapshot.
    #[error("there is no snapshot `{snapshot}`")]
    NotFound {
        /// What was looked for.
        snapshot: String,
    },
    /// Neither a name nor an identifier.
    #[error("`{snapshot}` is neither a name nor an identifier of a snapshot")]
    Identity {
        /// What was looked for.
        snapshot: String,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// The name is in use.
    #[error("the name `{name}` is taken by snapshot `{id}`")]
    NameTaken {
        /// The name.
        name: SandboxName,
        /// Who has it.
        id: SnapshotId,
    },
    /// It is not what it was, or does not fit this host.
    #[error(
        "snapshot `{}` is refused: its {what} is not what it should be (expected {expected}, found {found})",
        snapshot.display()
    )]
    Mismatch {
        /// Its folder.
        snapshot: PathBuf,
        /// What differs.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The template it needs is not usable.
    #[error("the template of snapshot `{}` cannot be used", snapshot.display())]
    Template {
        /// Its folder.
        snapshot: PathBuf,
        /// Why.
        #[source]
        source: TemplateError,
    },
    /// The host's key cannot be used.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// A folder cannot be made, moved or removed.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The disk cannot be copied.
    #[error("failed to restore the disk")]
    CopyDisk(#[from] SparseFileError),
    /// The disk's difference cannot be applied.
    #[error("failed to restore the disk")]
    Disk(#[source] DiskFailure),
    /// There is no randomness for an identifier.
    #[error("failed to read the host's random source")]
    Random(#[source] io::Error),
    /// A file operation failed.
    #[error("failed to {doing} `{}`", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An archive is not one of a snapshot.
    #[error("`{}` is not an archive of a snapshot: {what}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// A disk's difference that could not be applied.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DiskFailure(#[from] pub(crate) DiskDeltaError);

impl SnapshotError {
    pub(crate) fn file<'a>(
        doing: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> SnapshotError + use<'a> {
        move |source| SnapshotError::File {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// For a part of a snapshot that must be there.
    pub(crate) fn part<'a>(
        folder: &'a Path,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> SnapshotError + use<'a> {
        move |source| {
            if source.kind() == io::ErrorKind::NotFound {
                let name = path.file_name().unwrap_or_default();
                return SnapshotError::Mismatch {
                    snapshot: folder.to_owned(),
                    what: "set of files",
                    expected: format!("`{}`", name.display()),
                    found: "none".to_owned(),
                };
            }
            SnapshotError::file("open", path)(source)
        }
    }
}

impl Coded for SnapshotError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::Identity { .. } | Self::NameTaken { .. } | Self::Archive { .. } => {
                ErrorCode::InvalidArgument
            }
            Self::Mismatch { .. } | Self::Template { .. } => ErrorCode::SnapshotMismatch,
            Self::Home(error) => error.code(),
            _ => ErrorCode::SandboxUnavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } | Self::Identity { .. } => {
                Some("see what there is with `mvmctl snapshot list`".to_owned())
            }
            Self::NameTaken { name, .. } => Some(format!(
                "choose another name, or `mvmctl snapshot remove {name}`"
            )),
            Self::Mismatch { what: "host", .. } => {
                Some("a snapshot is used on the host that made it".to_owned())
            }
            Self::Mismatch { .. } | Self::Template { .. } => Some(
                "it cannot be used here any more: `mvmctl snapshot remove` it and take another"
                    .to_owned(),
            ),
            Self::Home(error) => error.hint(),
            _ => None,
        }
    }
}
