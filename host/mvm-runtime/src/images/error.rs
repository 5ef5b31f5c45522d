//! Why something could not be done with images.

use mvm_contract::{Coded, ErrorCode};
use mvm_image::{StoreError, catalog::ExportError};

use super::ImageUser;
use crate::{RegistryError, SnapshotError, TemplateError};

/// Why something could not be done with images.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There is no such image.
    #[error("there is no image `{image}` in the store")]
    NotFound {
        /// What was looked for.
        image: String,
    },
    /// Several images go by the name.
    #[error("`{image}` may be any of {count} images")]
    Ambiguous {
        /// What was looked for.
        image: String,
        /// How many.
        count: usize,
    },
    /// The image is needed.
    #[error("image `{image}` is used by {}", names(used_by))]
    Used {
        /// The image.
        image: String,
        /// Who needs it.
        used_by: Vec<ImageUser>,
    },
    /// Images are about to be used.
    #[error("a sandbox, a template or a snapshot is being made, which may need any image")]
    Busy,
    /// The store failed.
    #[error("failed to look into the image store")]
    Store(#[from] StoreError),
    /// It could not be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The sandboxes cannot be listed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The templates cannot be listed.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The snapshots cannot be listed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// Some of them by name.
fn names(users: &[ImageUser]) -> String {
    let shown = users.iter().take(5).map(ToString::to_string);
    let mut shown: Vec<String> = shown.collect();
    if users.len() > shown.len() {
        shown.push(format!("{} more", users.len() - shown.len()));
    }
    shown.join(", ")
}

impl Coded for ImageError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::Ambiguous { .. } | Self::Used { .. } | Self::Export(_) => {
                ErrorCode::InvalidArgument
            }
            Self::Busy | Self::Store(_) => ErrorCode::SandboxUnavailable,
            Self::Registry(error) => error.code(),
            Self::Template(error) => error.code(),
            Self::Snapshot(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => Some("see what there is with `mvmctl image list`".to_owned()),
            Self::Ambiguous { .. } => Some("give more digits of its digest".to_owned()),
            Self::Used { used_by, .. } => used_by.first().map(|user| match user {
                ImageUser::Sandbox(id) => format!("`mvmctl destroy {id}` first"),
                ImageUser::Template(key) => format!("`mvmctl template remove {key}` first"),
                ImageUser::Snapshot(id) => format!("`mvmctl snapshot remove {id}` first"),
            }),
            Self::Busy => Some("try again in a moment".to_owned()),
            Self::Store(error) => error.hint(),
            Self::Export(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Template(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
        }
    }
}
