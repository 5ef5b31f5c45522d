//! Why an app could not be built.

use std::{io, path::PathBuf};

use mvm_contract::{Coded, ErrorCode, canonical::WriteError};
use mvm_image::{
    compose::ComposeError,
    logical::{LoadCatalogError, ResolveImageError},
};
use mvm_runtime::{ClientError, CreateError, EndError, keys::KeyStoreError};

use crate::{DeclarationError, Findings, HookError, SourceTreeError, Unsupported};

/// Why an app could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// It asks for something this version does not do.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The workload has no canonical bytes.
    #[error("the workload cannot be written")]
    Canonical(#[source] WriteError),
    /// What images there are cannot be told.
    #[error(transparent)]
    Catalog(#[from] LoadCatalogError),
    /// There is no such image.
    #[error(transparent)]
    Image(#[from] ResolveImageError),
    /// The source cannot be taken.
    #[error(transparent)]
    Source(#[from] SourceTreeError),
    /// A TypeScript file cannot be read.
    #[error(transparent)]
    TypeScriptUnread(DeclarationError),
    /// A TypeScript file changed while it was read.
    #[error("`{}` changed while the source was taken", path.display())]
    TypeScriptChanged {
        /// The file.
        path: PathBuf,
    },
    /// A TypeScript file is none.
    #[error("`{path}` has no JavaScript")]
    TypeScript {
        /// The file, as it would be in the image.
        path: String,
        /// What is wrong.
        #[source]
        findings: Findings,
    },
    /// The JavaScript of a file is in the source, too.
    #[error("`{typescript}` and `{javascript}` would be one module")]
    CompiledBeside {
        /// The TypeScript.
        typescript: String,
        /// What stands where its JavaScript would be.
        javascript: String,
    },
    /// Two files would be at one place.
    #[error("`/{path}` is both of the source and embedded, or reserved")]
    Collision {
        /// The place.
        path: String,
    },
    /// An embedded file holds what is not base64.
    #[error("embedded file `{path}` is not base64")]
    Embedded {
        /// The file.
        path: String,
    },
    /// Image and layer cannot be put together.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// The image cannot be made ready.
    #[error(transparent)]
    Prepare(#[from] CreateError),
    /// A hook failed.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The sandbox of the hooks did not end.
    #[error(transparent)]
    End(EndError),
    /// What the hooks made cannot be read out of the guest.
    #[error("the image has no `tar` to give what its hooks made")]
    Archive(#[source] ClientError),
    /// What the hooks made was not given whole.
    #[error("`tar` of the image did not give what its hooks made: `{tail}`")]
    ArchiveFailed {
        /// The end of what it said.
        tail: String,
    },
    /// There is no key to sign the provenance with.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// Something of the builds cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something of the builds cannot be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Coded for BuildError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unsupported(error) => error.code(),
            Self::Prepare(error) => error.code(),
            Self::Hook(error) => error.code(),
            Self::End(error) => error.code(),
            Self::Keys(error) => error.code(),
            Self::TypeScriptUnread(error) => error.code(),
            Self::Catalog(_) | Self::Image(_) => ErrorCode::InvalidArgument,
            Self::Canonical(_)
            | Self::Source(_)
            | Self::TypeScriptChanged { .. }
            | Self::TypeScript { .. }
            | Self::CompiledBeside { .. }
            | Self::Collision { .. }
            | Self::Embedded { .. }
            | Self::Compose(_)
            | Self::Archive(_)
            | Self::ArchiveFailed { .. }
            | Self::Read { .. }
            | Self::Write { .. } => ErrorCode::BuildFailed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unsupported(error) => error.hint(),
            Self::Prepare(error) => error.hint(),
            Self::Hook(error) => error.hint(),
            Self::End(error) => error.hint(),
            Self::Archive(_) | Self::ArchiveFailed { .. } => {
                Some("use a base image with GNU tar, such as `debian:python`".to_owned())
            }
            Self::Keys(error) => error.hint(),
            Self::Catalog(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Compose(error) => error.hint(),
            Self::TypeScriptUnread(error) => error.hint(),
            Self::TypeScriptChanged { .. } => Some("build it again".to_owned()),
            Self::TypeScript { .. } => {
                Some("correct it, or `exclude` it from the source".to_owned())
            }
            Self::CompiledBeside { .. } => Some("`exclude` one of them from the source".to_owned()),
            Self::Collision { .. } => Some("leave one of them out".to_owned()),
            Self::Canonical(_) | Self::Embedded { .. } | Self::Read { .. } | Self::Write { .. } => {
                None
            }
        }
    }
}
