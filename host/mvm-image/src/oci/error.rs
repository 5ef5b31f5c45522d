//! Why a source does not give an image.

use std::io;
use std::path::PathBuf;

use crate::tar::TarError;
use mvm_contract::{Digest, ParseDigestError};

/// A source that is absent, broken, ambiguous or not supported.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no default image of this name.
    #[error("no default image `debian:{name}` at `{}`", directory.display())]
    UnknownDefault {
        /// The name.
        name: String,
        /// Where its layout would be.
        directory: PathBuf,
    },
    /// The image is not made of layers.
    #[error("image `{image}` is the closure of a Nix package, and has no layers")]
    NoLayers {
        /// The image.
        image: String,
    },
    /// The directory of an `oci-layout:` source does not exist.
    #[error("no directory `{}`", directory.display())]
    NoSuchDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The path exists but is not an image.
    #[error("`{}` is not an image: it has no `{missing}`", path.display())]
    NotAnImage {
        /// The directory or file.
        path: PathBuf,
        /// The file that every image has.
        missing: &'static str,
    },
    /// A file could not be opened.
    #[error("failed to open `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else than a regular file stands where content should be.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The archive file itself is compressed.
    #[error("`{}` is compressed with {compression}", path.display())]
    CompressedArchive {
        /// The archive.
        path: PathBuf,
        /// `gzip` or `zstd`.
        compression: &'static str,
    },
    /// The archive cannot be read as a tar.
    #[error("failed to index archive `{}`", path.display())]
    Index {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: TarError,
    },
    /// An archive member that no image archive has.
    #[error("archive `{}` has member `{member}`, which is {problem}", path.display())]
    Member {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More archive members than allowed.
    #[error("archive `{}` has more than {limit} members", path.display())]
    Members {
        /// The archive.
        path: PathBuf,
        /// `Limits::archive_entries`.
        limit: usize,
    },
    /// An image of a registry where one is needed that is here.
    #[error("`oci:{reference}` is in a registry, and only what is on this host can be used here")]
    InRegistry {
        /// The reference.
        reference: String,
    },
    /// A file that another document refers to does not exist.
    #[error("image `{image}` has no `{name}`")]
    Missing {
        /// The directory or archive.
        image: String,
        /// What is missing, relative to it.
        name: String,
    },
    /// A document larger than allowed.
    #[error("document `{name}` has {size} bytes, the limit is {limit}")]
    DocumentSize {
        /// The document.
        name: String,
        /// Its size.
        size: u64,
        /// `Limits::document_bytes`.
        limit: u64,
    },
    /// A document that is not the JSON it should be.
    #[error("failed to parse document `{name}`")]
    Document {
        /// The document.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A digest in a document that is malformed or of another algorithm.
    #[error("document `{name}` contains an invalid digest")]
    Digest {
        /// The document.
        name: String,
        /// Why.
        #[source]
        source: ParseDigestError,
    },
    /// A document whose bytes do not match the digest that names it.
    #[error("document `{name}` has digest `{actual}`")]
    DigestMismatch {
        /// The digest expected.
        name: Digest,
        /// The digest of its bytes.
        actual: Digest,
    },
    /// A blob whose size is not the one its descriptor states.
    #[error("blob `{name}` has {actual} bytes, its descriptor says {expected}")]
    SizeMismatch {
        /// The blob.
        name: Digest,
        /// The size in the descriptor.
        expected: u64,
        /// The size found.
        actual: u64,
    },
    /// A version of a format that is not supported.
    #[error("document `{name}` has unsupported version `{version}`")]
    Version {
        /// The document.
        name: String,
        /// The version it states.
        version: String,
    },
    /// A media type that is not supported.
    #[error("`{name}` has unsupported media type `{media_type}`")]
    MediaType {
        /// The document or blob.
        name: String,
        /// The media type it states.
        media_type: String,
    },
    /// A manifest that says it is something else than its descriptor says.
    #[error("document `{name}` calls itself `{actual}`, its descriptor says `{expected}`")]
    MediaTypeMismatch {
        /// The document.
        name: String,
        /// What its descriptor says.
        expected: String,
        /// What it says.
        actual: String,
    },
    /// There is no image of the name or digest asked for.
    #[error("image `{image}` has no `{reference}`")]
    NoSuchReference {
        /// The directory or archive.
        image: String,
        /// What was asked for.
        reference: String,
        /// The names there are.
        available: Vec<String>,
    },
    /// There are several images and none was asked for.
    #[error("`{image}` holds {count} images")]
    Ambiguous {
        /// The directory or archive.
        image: String,
        /// How many.
        count: usize,
        /// The names there are.
        available: Vec<String>,
    },
    /// An index without an image for this platform.
    #[error("`{name}` has no image for linux/amd64, only for {available}")]
    NoPlatform {
        /// The index.
        name: String,
        /// The platforms it has.
        available: String,
    },
    /// An image that is for another platform.
    #[error("image `{name}` is for {platform}, not for linux/amd64")]
    Platform {
        /// The config.
        name: String,
        /// The platform it is for.
        platform: String,
    },
    /// Indexes nested too deeply.
    #[error("index `{name}` is nested more than {limit} levels deep")]
    Nesting {
        /// The index.
        name: String,
        /// The deepest level read.
        limit: usize,
    },
    /// More layers than allowed.
    #[error("image `{name}` has {count} layers, the limit is {limit}")]
    Layers {
        /// The manifest.
        name: String,
        /// How many.
        count: usize,
        /// `Limits::layers`.
        limit: usize,
    },
    /// Manifest and config disagree about the number of layers.
    #[error("manifest `{name}` has {layers} layers, its config names {diff_ids}")]
    LayerCount {
        /// The manifest.
        name: String,
        /// Layers in the manifest.
        layers: usize,
        /// Layers in the config.
        diff_ids: usize,
    },
}

impl SourceError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        let choose = |available: &[String]| {
            if available.is_empty() {
                "append `@sha256:...` with the digest of one of its manifests".into()
            } else {
                format!("append one of these: {}", available.join(", "))
            }
        };
        match self {
            Self::UnknownDefault { name, .. } => Some(match crate::debian::recipe(name) {
                Some(_) => format!("make it: `mvmctl setup --images {name}`"),
                None => {
                    let known = crate::debian::RECIPES.iter();
                    let known: Vec<_> = known.map(|recipe| recipe.name).collect();
                    format!("there are {}", known.join(", "))
                }
            }),
            Self::NoLayers { .. } => {
                Some("name it as it is; an image that is built above it has layers".into())
            }
            Self::NoSuchDirectory { .. } | Self::NotAnImage { .. } => Some(
                "give a directory or archive as written by `skopeo copy` or `docker save`".into(),
            ),
            Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => Some(
                "give a directory or archive as written by `skopeo copy` or `docker save`".into(),
            ),
            Self::CompressedArchive { compression, .. } => {
                Some(format!("decompress it with `{compression} -d` first"))
            }
            Self::InRegistry { .. } => Some(
                "copy it with `skopeo copy docker://... oci:DIR`, or pull it and write it with \
                 `mvmctl image export --format oci-archive`"
                    .into(),
            ),
            Self::Missing { .. }
            | Self::DigestMismatch { .. }
            | Self::SizeMismatch { .. }
            | Self::Index { .. } => Some("fetch or save the image again".into()),
            Self::NoSuchReference { available, .. } | Self::Ambiguous { available, .. } => {
                Some(choose(available))
            }
            Self::NoPlatform { .. } | Self::Platform { .. } => {
                Some("build or copy the image with `--platform linux/amd64`".into())
            }
            Self::MediaType { .. } => Some(
                "supported are OCI and Docker (v2, schema 2) images with tar, gzip or zstd layers"
                    .into(),
            ),
            _ => None,
        }
    }
}
