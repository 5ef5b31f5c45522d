//! Templates: booted guests, saved when they were ready, that sandboxes are forked from.
//!
//! A template is found by its shape: everything that its saved state depends on. It holds nothing
//! of any user: no environment, no secret, no identity (a fork gets all of them before it runs).
//! Its folder is written whole before it appears and never changes; its files carry seals, and
//! one whose seal does not hold is not used, but removed and made anew.

mod manifest;
mod registry;
mod shape;
mod upkeep;

use std::{io, path::PathBuf};

use mvm_contract::{Coded, ErrorCode};
use serde::Serialize;

pub(crate) use manifest::{DISK, MEMORY, STATE, Template, TemplateManifest};
pub(crate) use registry::{
    ListedTemplate, TemplateLock, find, list, load, load_checked, lock, publish, remove,
};
pub(crate) use shape::TemplateShape;
pub use upkeep::TemplateOrder;

/// A template, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TemplateRecord {
    /// Its key, by which it is found.
    pub key: String,
    /// The image it was made for, as it was named then.
    pub image: String,
    /// Digest of that image.
    pub image_digest: String,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// Virtual processors.
    pub vcpus: u32,
    /// Size of the disk in MiB.
    pub disk_mib: u32,
    /// When it was made, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// Bytes it takes on the host.
    pub bytes: u64,
    /// Why it is not used any more; nothing when it is.
    pub stale: Option<String>,
    /// Sandboxes and snapshots that need it.
    pub needed_by: Vec<String>,
}

/// Why templates could not be read, made or removed.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// No such template.
    #[error("there is no template `{key}`")]
    NotFound {
        /// What was looked for.
        key: String,
    },
    /// Sandboxes or snapshots need it.
    #[error("template `{key}` is needed by {}", needed_by.join(", "))]
    Needed {
        /// The template.
        key: String,
        /// By whom.
        needed_by: Vec<String>,
    },
    /// It is not what it was.
    #[error("template `{key}` has changed since it was made: {what}")]
    Damaged {
        /// The template.
        key: String,
        /// What differs.
        what: String,
    },
    /// A file operation failed.
    #[error("failed to {doing} `{}`", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl TemplateError {
    pub(crate) fn io<'a>(
        doing: &'static str,
        path: &'a std::path::Path,
    ) -> impl FnOnce(io::Error) -> TemplateError + use<'a> {
        move |source| TemplateError::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

impl Coded for TemplateError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::Needed { .. } => ErrorCode::InvalidArgument,
            Self::Damaged { .. } => ErrorCode::SnapshotMismatch,
            Self::Io { .. } => ErrorCode::SandboxUnavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => {
                Some("see what there is with `mvmctl template list`".to_owned())
            }
            Self::Needed { .. } => Some("remove those first, or use `--force`".to_owned()),
            Self::Damaged { .. } => Some("the next `mvmctl create` makes it anew".to_owned()),
            Self::Io { .. } => None,
        }
    }
}
