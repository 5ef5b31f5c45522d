//! From a source to the blobs of one image for linux/amd64.
//!
//! Every JSON document is read whole within [`Limits::document_bytes`], checked
//! against the digest that names it, and only then parsed. What its media type
//! does not name as supported is refused.

mod archive;
mod blobs;
mod docker;
mod document;
mod error;
mod resolve;
mod write;

use crate::image::ImageConfig;
use crate::layer::{Blob, Compression};
use crate::limits::Limits;
use crate::source::{ImageSource, is_default_name};
use mvm_contract::Digest;

pub(crate) use document::{DOCUMENT_TYPES, type_of};
pub use error::SourceError;
pub(crate) use resolve::{Document, check_nesting, config_of, layers_of, read_document_of};
pub(crate) use write::{LAYER, write_layout};

use std::path::{Path, PathBuf};

/// One image, its documents verified and its layers not yet read.
pub(crate) struct Resolved {
    /// The digest of the manifest; of the config where the format has no
    /// manifest, as the config pins the layers too.
    pub manifest: Digest,
    pub config: ImageConfig,
    /// Lowest first.
    pub layers: Vec<Layer>,
}

/// One layer, its blob found and its size right.
pub(crate) struct Layer {
    /// What to call it: the digest or the name in the archive.
    pub name: String,
    pub blob: Blob,
    pub compression: Compression,
    /// What the stored bytes must hash to, when the format says.
    pub stored: Option<Digest>,
    /// What the decompressed bytes must hash to.
    pub unpacked: Digest,
}

/// Finds the image that `source` names.
///
/// `debian_layouts` holds one layout per default image.
pub(crate) fn resolve(
    source: &ImageSource,
    debian_layouts: &Path,
    limits: &Limits,
) -> Result<Resolved, SourceError> {
    match source {
        ImageSource::Nix(reference) => Err(SourceError::NoLayers {
            image: reference.to_string(),
        }),
        ImageSource::Debian { name } => {
            let directory = debian_layouts.join(name);
            if !is_default_name(name) || !directory.is_dir() {
                return Err(SourceError::UnknownDefault {
                    name: name.clone(),
                    directory,
                });
            }
            resolve_layout(&directory, None, limits)
        }
        ImageSource::OciLayout {
            directory,
            reference,
        } => {
            if !directory.is_dir() {
                return Err(SourceError::NoSuchDirectory {
                    directory: directory.clone(),
                });
            }
            resolve_layout(directory, reference.as_deref(), limits)
        }
        // It is pulled instead: `registry::begin`.
        ImageSource::Registry(reference) => Err(SourceError::InRegistry {
            reference: reference.to_string(),
        }),
        ImageSource::OciArchive { file, reference } => {
            let archive = archive::Archive::open(file, limits)?;
            if archive.contains("oci-layout") {
                let blobs = blobs::Blobs::Archive(archive);
                resolve::resolve(&blobs, reference.as_deref(), limits)
            } else if archive.contains("manifest.json") {
                docker::resolve(&archive, reference.as_deref(), limits)
            } else {
                Err(SourceError::NotAnImage {
                    path: file.clone(),
                    missing: "oci-layout",
                })
            }
        }
    }
}

/// Finds the image of a manifest in a directory that has `blobs/sha256` and all of its blobs.
pub(crate) fn resolve_in(
    directory: &Path,
    manifest: Digest,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Resolved, SourceError> {
    let media_type = type_of(bytes, &manifest.to_string())?;
    let blobs = blobs::Blobs::Directory(directory.into());
    resolve::resolve_manifest_at(&blobs, manifest, bytes, &media_type, limits)
}

fn resolve_layout(
    directory: &Path,
    reference: Option<&str>,
    limits: &Limits,
) -> Result<Resolved, SourceError> {
    if !directory.join("oci-layout").exists() {
        let path = PathBuf::from(directory);
        return Err(SourceError::NotAnImage {
            path,
            missing: "oci-layout",
        });
    }
    resolve::resolve(
        &blobs::Blobs::Directory(directory.into()),
        reference,
        limits,
    )
}
