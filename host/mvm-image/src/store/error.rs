//! What can go wrong in the content store.

use std::io;
use std::path::{Path, PathBuf};

use mvm_contract::Digest;

/// A store operation that did not happen. Nothing half-written is visible.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A directory of the store could not be made.
    #[error("failed to create store directory `{}`", path.display())]
    CreateDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The leftovers of dead writers could not be listed.
    #[error("failed to look for leftovers in `{}`", path.display())]
    Sweep {
        /// The directory that was being listed.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No new file could be made in the staging directory.
    #[error("failed to create staging file `{}`", path.display())]
    CreateStaging {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A lock file could not be opened or locked.
    #[error("failed to lock `{}`", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Writing to a staging file failed.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Bringing a file or directory to stable storage failed.
    #[error("failed to sync `{}`", path.display())]
    Sync {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Making a file read-only failed.
    #[error("failed to set the mode of `{}`", path.display())]
    SetMode {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The final rename failed.
    #[error("failed to publish `{}`", path.display())]
    Publish {
        /// The final name.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the store could not be removed.
    #[error("failed to remove `{}`", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the store could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the store could not be inspected.
    #[error("failed to inspect `{}`", path.display())]
    Inspect {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something other than a regular file has the name of content.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// There is no content with this digest.
    #[error("no content `{digest}` at `{}`", path.display())]
    Missing {
        /// The digest asked for.
        digest: Digest,
        /// Where it would be.
        path: PathBuf,
    },
    /// The bytes are not those the name promises.
    #[error("content of `{}` has digest `{actual}`, expected `{expected}`", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The digest in its name.
        expected: Digest,
        /// The digest of its bytes.
        actual: Digest,
    },
    /// Content without a seal record.
    #[error("`{}` has no seal", path.display())]
    SealMissing {
        /// The content.
        path: PathBuf,
    },
    /// Content that was touched since it was sealed.
    #[error("the seal of `{}` is broken: its {field} changed", path.display())]
    SealBroken {
        /// The content.
        path: PathBuf,
        /// Which recorded property differs: `size`, `inode`, `mode` or `change time`.
        field: &'static str,
    },
    /// A record's folder or key is not a plain file name.
    #[error("record name `{folder}/{key}` is not made of plain file names")]
    RecordName {
        /// The folder.
        folder: String,
        /// The key.
        key: String,
    },
    /// A record could not be turned into JSON.
    #[error("failed to encode record `{}`", path.display())]
    EncodeRecord {
        /// Where it would have been written.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl StoreError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::CreateDirectory { path, source } => storage_hint(source.kind(), path),
            Self::CreateStaging { path, source }
            | Self::Lock { path, source }
            | Self::Write { path, source }
            | Self::Sync { path, source }
            | Self::SetMode { path, source }
            | Self::Remove { path, source }
            | Self::Publish { path, source } => {
                storage_hint(source.kind(), path.parent().unwrap_or(path))
            }
            Self::Corrupt { path, .. }
            | Self::SealMissing { path }
            | Self::SealBroken { path, .. } => Some(format!(
                "remove `{}`; the next build makes it anew",
                path.display()
            )),
            _ => None,
        }
    }
}

/// The way out of a failed write, from the kind of failure alone.
fn storage_hint(kind: io::ErrorKind, directory: &Path) -> Option<String> {
    let directory = directory.display();
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(format!(
            "free some space on the filesystem of `{directory}`"
        )),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Some(format!(
            "make `{directory}` writable, or choose another state directory"
        )),
        _ => None,
    }
}
