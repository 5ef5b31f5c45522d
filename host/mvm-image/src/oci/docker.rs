//! The archives that `docker save` wrote before it wrote OCI layouts, and that
//! other tools still write: `manifest.json`, a config and one tar per layer.

use std::io::Read;

use serde::Deserialize;

use super::archive::Archive;
use super::blobs::read_document;
use super::document::{parse, parse_digest};
use super::resolve::{check_layer_count, parse_config};
use super::{Layer, Resolved, SourceError};
use crate::layer::{Blob, Compression};
use crate::limits::Limits;
use mvm_contract::Digest;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Finds `reference` (a tag, or `@` and the digest of a config) in an archive.
pub(super) fn resolve(
    archive: &Archive,
    reference: Option<&str>,
    limits: &Limits,
) -> Result<Resolved, SourceError> {
    let member = |name: &str| {
        archive.file(name)?.ok_or_else(|| SourceError::Missing {
            image: archive.path().display().to_string(),
            name: name.into(),
        })
    };
    let images: Vec<SavedImage> = parse(
        &read_document(&member("manifest.json")?, "manifest.json", limits)?,
        "manifest.json",
    )?;
    let (image, bytes, digest) = choose(images, reference, archive, |image| {
        let bytes = read_document(&member(&image.config)?, &image.config, limits)?;
        let digest = Digest::of(&bytes);
        check_config_name(&image.config, digest)?;
        Ok((bytes, digest))
    })?;
    let config = parse_config(&bytes, &image.config)?;
    check_layer_count(
        &image.config,
        image.layers.len(),
        config.diff_ids.len(),
        limits,
    )?;
    let mut layers = Vec::with_capacity(image.layers.len());
    for (name, unpacked) in image.layers.into_iter().zip(config.diff_ids) {
        let blob = member(&name)?;
        let compression = sniff(&blob, &name)?;
        layers.push(Layer {
            name,
            blob,
            compression,
            stored: None,
            unpacked,
        });
    }
    Ok(Resolved {
        manifest: digest,
        config: config.image,
        layers,
    })
}

type Chosen = (SavedImage, Vec<u8>, Digest);

fn choose(
    images: Vec<SavedImage>,
    reference: Option<&str>,
    archive: &Archive,
    config: impl Fn(&SavedImage) -> Result<(Vec<u8>, Digest), SourceError>,
) -> Result<Chosen, SourceError> {
    let tags = |image: &SavedImage| image.repo_tags.clone().unwrap_or_default();
    let available: Vec<String> = images
        .iter()
        .flat_map(tags)
        .take(20)
        .map(|tag| format!("`:{tag}`"))
        .collect();
    let pinned = match reference.and_then(|reference| reference.strip_prefix('@')) {
        Some(text) => Some(parse_digest(text, "manifest.json")?),
        None => None,
    };
    let path = archive.path().display().to_string();
    let mut matching = Vec::new();
    for image in images {
        let by_tag =
            reference.is_none_or(|reference| tags(&image).iter().any(|tag| tag == reference));
        if pinned.is_none() && !by_tag {
            continue;
        }
        let (bytes, digest) = config(&image)?;
        if pinned.is_none_or(|pinned| pinned == digest) {
            matching.push((image, bytes, digest));
        }
    }
    let count = matching.len();
    match (matching.pop(), reference) {
        (Some(chosen), _) if count == 1 => Ok(chosen),
        (None, Some(reference)) => {
            let reference = reference.into();
            Err(SourceError::NoSuchReference {
                image: path,
                reference,
                available,
            })
        }
        _ => Err(SourceError::Ambiguous {
            image: path,
            count,
            available,
        }),
    }
}

/// A config is named by its own digest, in one of three spellings.
fn check_config_name(name: &str, actual: Digest) -> Result<(), SourceError> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let hex = file.strip_suffix(".json").unwrap_or(file);
    let hex = hex.strip_prefix("sha256:").unwrap_or(hex);
    let expected = parse_digest(&format!("sha256:{hex}"), "manifest.json")?;
    if expected != actual {
        return Err(SourceError::DigestMismatch {
            name: expected,
            actual,
        });
    }
    Ok(())
}

/// These archives do not say how a layer is compressed; its bytes do.
fn sniff(blob: &Blob, name: &str) -> Result<Compression, SourceError> {
    let mut magic = Vec::new();
    blob.reader()
        .take(4)
        .read_to_end(&mut magic)
        .map_err(|source| SourceError::Read {
            path: name.into(),
            source,
        })?;
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd,
        _ => Compression::None,
    })
}
