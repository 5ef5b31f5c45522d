//! Why an image could not be materialized.

use std::io;

use crate::erofs::ErofsError;
use crate::merge::MergeError;
use crate::nix::NixError;
use crate::oci::SourceError;
use crate::registry::PullError;
use crate::store::StoreError;
use crate::tar::TarError;
use mvm_contract::Digest;

/// A build that did not happen. Nothing of it stays in the store.
#[derive(Debug, thiserror::Error)]
pub enum MaterializeError {
    /// The source does not give an image.
    #[error("failed to resolve image `{image}`")]
    Source {
        /// The image as the user named it.
        image: String,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// The flake does not give an image.
    #[error("failed to make image `{image}`")]
    Nix {
        /// The image as the user named it.
        image: String,
        /// Why.
        #[source]
        source: Box<NixError>,
    },
    /// The registry does not give the image.
    #[error("failed to pull image `{image}`")]
    Pull {
        /// The image as the user named it.
        image: String,
        /// Why.
        #[source]
        source: Box<PullError>,
    },
    /// A layer is broken or refused.
    #[error("failed to unpack layer `{layer}` of image `{image}`")]
    Layer {
        /// The image as the user named it.
        image: String,
        /// The layer's digest, or its name in the archive.
        layer: String,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// The root filesystem could not be written.
    #[error("failed to write the root filesystem of image `{image}`")]
    Write {
        /// The image as the user named it.
        image: String,
        /// Why.
        #[source]
        source: ErofsError,
    },
    /// The store failed.
    #[error("failed to store image `{image}`")]
    Store {
        /// The image as the user named it.
        image: String,
        /// Why.
        #[source]
        source: StoreError,
    },
}

impl MaterializeError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source { source, .. } => source.hint(),
            Self::Nix { source, .. } => source.hint(),
            Self::Pull { source, .. } => source.hint(),
            Self::Layer { source, .. } => source.hint(),
            Self::Write { source, .. } => source.hint(),
            Self::Store { source, .. } => source.hint(),
        }
    }
}

/// Why one layer is refused.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The stored bytes could not be read or decompressed.
    #[error("failed to read or decompress the layer")]
    Read {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The stored bytes do not match the digest in the manifest.
    #[error("the layer has digest `{actual}`, the manifest says `{expected}`")]
    StoredDigest {
        /// The digest in the manifest.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// The decompressed bytes do not match the digest in the config.
    #[error("the unpacked layer has digest `{actual}`, the config says `{expected}`")]
    UnpackedDigest {
        /// The digest in the config.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// The stored bytes changed while the image was being built.
    #[error("the layer changed from `{expected}` to `{actual}` while it was being read")]
    Changed {
        /// The digest at first.
        expected: Digest,
        /// The digest later.
        actual: Digest,
    },
    /// The layer is not an archive this crate reads.
    #[error("failed to read the layer's archive")]
    Tar {
        /// Why.
        #[source]
        source: TarError,
    },
    /// An entry of the layer is refused.
    #[error("failed to apply an entry of the layer")]
    Entry {
        /// Why.
        #[source]
        source: MergeError,
    },
    /// The image unpacks to more than allowed.
    #[error("the image unpacks to more than {limit} bytes")]
    Unpacked {
        /// `Limits::unpacked_bytes`.
        limit: u64,
    },
    /// The layer grows more than allowed: a decompression bomb.
    #[error("the layer of {stored} bytes unpacks to more than {allowed}, a decompression bomb")]
    Ratio {
        /// Bytes as stored.
        stored: u64,
        /// What `Limits::ratio` and `Limits::ratio_free_bytes` allow for these.
        allowed: u64,
    },
}

impl LayerError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } | Self::StoredDigest { .. } | Self::UnpackedDigest { .. } => {
                Some("the image is damaged or was tampered with: fetch or save it again".into())
            }
            Self::Changed { .. } => Some("try again when nothing writes to the image".into()),
            Self::Tar { source } => source.hint(),
            Self::Entry { source } => source.hint(),
            Self::Unpacked { .. } => Some("build a smaller image".into()),
            Self::Ratio { .. } => Some("do not trust this image".into()),
        }
    }
}
