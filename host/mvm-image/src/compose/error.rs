//! Why an image and a layer could not be put together.

use std::io;
use std::path::PathBuf;

use crate::nix::NixError;
use crate::oci::SourceError;
use crate::registry::PullError;

/// Why an image and a layer could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The image below is not there, or not as it should be.
    #[error("cannot build on image `{image}`")]
    Base {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// The image below cannot be pulled.
    #[error("cannot build on image `{image}`")]
    Pull {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: Box<PullError>,
    },
    /// The image below cannot be built by `nix`.
    #[error("cannot build on image `{image}`")]
    Nix {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: Box<NixError>,
    },
    /// A file of the layer cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file of the host.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what it was when its digest was taken.
    #[error("`{}` changed while it was read", path.display())]
    Changed {
        /// The file of the host.
        path: PathBuf,
    },
    /// The layout cannot be written.
    #[error("cannot write a layout to `{}`", directory.display())]
    Write {
        /// Where layouts are.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ComposeError {
    /// The way out, where the user has one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Base { source, .. } => source.hint(),
            Self::Pull { source, .. } => source.hint(),
            Self::Nix { source, .. } => source.hint(),
            Self::Changed { .. } => Some("build again when nothing writes to it".into()),
            Self::Read { .. } | Self::Write { .. } => None,
        }
    }
}
