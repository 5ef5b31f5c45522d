//! From a layout's index to one manifest, its config and its layers.

use super::blobs::{Blobs, read_document};
use super::document::{
    Config, DOCKER_CONFIG, DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, Index, LayoutMarker,
    Manifest, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, layer_compression, parse, parse_digest,
};
use super::{Layer, Resolved, SourceError};
use crate::image::ImageConfig;
use crate::layer::Compression;
use crate::limits::Limits;
use mvm_contract::Digest;

/// Indexes inside indexes.
const NESTING: usize = 4;

/// Finds `reference` (a name, or `@` and a digest) in a layout.
pub(super) fn resolve(
    blobs: &Blobs,
    reference: Option<&str>,
    limits: &Limits,
) -> Result<Resolved, SourceError> {
    let marker: LayoutMarker = parse(
        &read_document(&blobs.file("oci-layout")?, "oci-layout", limits)?,
        "oci-layout",
    )?;
    if marker.image_layout_version != "1.0.0" {
        let version = marker.image_layout_version;
        return Err(SourceError::Version {
            name: "oci-layout".into(),
            version,
        });
    }
    let index: Index = parse(
        &read_document(&blobs.file("index.json")?, "index.json", limits)?,
        "index.json",
    )?;
    check_document(
        "index.json",
        index.schema_version,
        index.media_type.as_deref(),
        OCI_INDEX,
    )?;
    let chosen = choose(index.manifests, reference, &blobs.name())?;
    resolve_descriptor(blobs, chosen, limits, 0)
}

/// The one descriptor of a layout's index that is meant.
fn choose(
    manifests: Vec<Descriptor>,
    reference: Option<&str>,
    image: &str,
) -> Result<Descriptor, SourceError> {
    let available: Vec<String> = manifests
        .iter()
        .flat_map(Descriptor::names)
        .map(|name| format!("`:{name}`"))
        .take(20)
        .collect();
    let mut matching = manifests;
    match reference {
        Some(reference) => {
            let mut pinned = None;
            if let Some(text) = reference.strip_prefix('@') {
                pinned = Some(parse_digest(text, reference)?);
            }
            let mut kept = Vec::new();
            for descriptor in matching {
                let same = match &pinned {
                    Some(digest) => descriptor.digest("index.json")? == *digest,
                    None => descriptor.names().any(|name| name == reference),
                };
                if same {
                    kept.push(descriptor);
                }
            }
            matching = kept;
            if matching.is_empty() {
                let (image, reference) = (image.into(), reference.into());
                return Err(SourceError::NoSuchReference {
                    image,
                    reference,
                    available,
                });
            }
            if pinned.is_some() {
                // The same image under several names.
                matching.truncate(1);
            }
        }
        None if matching.len() > 1 => {
            // An index of one image for several platforms.
            matching.retain(|descriptor| {
                descriptor
                    .platform
                    .as_ref()
                    .is_none_or(super::document::Platform::is_ours)
            });
        }
        None => {}
    }
    let count = matching.len();
    match matching.pop() {
        Some(descriptor) if count == 1 => Ok(descriptor),
        _ => Err(SourceError::Ambiguous {
            image: image.into(),
            count,
            available,
        }),
    }
}

/// Finds the image of a manifest whose blobs are all there.
pub(super) fn resolve_manifest_at(
    blobs: &Blobs,
    digest: Digest,
    bytes: &[u8],
    media_type: &str,
    limits: &Limits,
) -> Result<Resolved, SourceError> {
    match read_document_of(bytes, &digest, media_type)? {
        Document::Manifest(manifest) => resolve_manifest(blobs, digest, manifest, limits),
        Document::Index(ours) => resolve_descriptor(blobs, ours, limits, 1),
    }
}

fn resolve_descriptor(
    blobs: &Blobs,
    descriptor: Descriptor,
    limits: &Limits,
    depth: usize,
) -> Result<Resolved, SourceError> {
    let digest = descriptor.digest("index.json")?;
    check_nesting(&digest, depth)?;
    let media_type = descriptor.media_type.as_str();
    check_document_type(&digest, media_type)?;
    let bytes = blobs.document(&digest, descriptor.size, limits)?;
    match read_document_of(&bytes, &digest, media_type)? {
        Document::Manifest(manifest) => resolve_manifest(blobs, digest, manifest, limits),
        Document::Index(ours) => resolve_descriptor(blobs, ours, limits, depth + 1),
    }
}

/// What a verified document leads to.
pub(crate) enum Document {
    /// The one image of an index that is for this platform.
    Index(Descriptor),
    Manifest(Manifest),
}

/// Whether documents are nested more deeply than anybody needs.
pub(crate) fn check_nesting(digest: &Digest, depth: usize) -> Result<(), SourceError> {
    if depth <= NESTING {
        return Ok(());
    }
    Err(SourceError::Nesting {
        name: digest.to_string(),
        limit: NESTING,
    })
}

fn check_document_type(digest: &Digest, media_type: &str) -> Result<(), SourceError> {
    match media_type {
        OCI_MANIFEST | DOCKER_MANIFEST | OCI_INDEX | DOCKER_INDEX => Ok(()),
        other => Err(SourceError::MediaType {
            name: digest.to_string(),
            media_type: other.into(),
        }),
    }
}

/// Reads a verified index or manifest.
pub(crate) fn read_document_of(
    bytes: &[u8],
    digest: &Digest,
    media_type: &str,
) -> Result<Document, SourceError> {
    let name = digest.to_string();
    check_document_type(digest, media_type)?;
    if matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST) {
        let manifest: Manifest = parse(bytes, &name)?;
        let own = manifest.media_type.as_deref();
        check_document(&name, manifest.schema_version, own, media_type)?;
        return Ok(Document::Manifest(manifest));
    }
    let index: Index = parse(bytes, &name)?;
    let own = index.media_type.as_deref();
    check_document(&name, index.schema_version, own, media_type)?;
    let available: Vec<String> = index
        .manifests
        .iter()
        .take(20)
        .map(|inner| match &inner.platform {
            Some(platform) => platform.name(),
            None => "an unnamed platform".into(),
        })
        .collect();
    // An only image without a platform is judged by its config.
    let only = index.manifests.len() == 1;
    let ours = index
        .manifests
        .into_iter()
        .find(|inner| match &inner.platform {
            Some(platform) => platform.is_ours(),
            None => only,
        });
    let ours = ours.ok_or_else(|| SourceError::NoPlatform {
        name,
        available: if available.is_empty() {
            "nothing".into()
        } else {
            available.join(", ")
        },
    })?;
    Ok(Document::Index(ours))
}

/// The blobs of a manifest, each with its size, whose config was checked: what is not supported
/// is refused before its layers are fetched.
pub(crate) fn layers_of(
    manifest: &Manifest,
    digest: &Digest,
    config: &[u8],
    limits: &Limits,
) -> Result<Vec<(Digest, u64)>, SourceError> {
    let name = digest.to_string();
    let config = parse_config(config, &config_of(manifest, digest)?.0.to_string())?;
    check_layer_count(&name, manifest.layers.len(), config.diff_ids.len(), limits)?;
    let layer = |descriptor: &Descriptor| {
        let layer = descriptor.digest(&name)?;
        check_layer_type(&layer, &descriptor.media_type)?;
        Ok((layer, descriptor.size))
    };
    manifest.layers.iter().map(layer).collect()
}

/// The config of a manifest, and its size.
pub(crate) fn config_of(
    manifest: &Manifest,
    digest: &Digest,
) -> Result<(Digest, u64), SourceError> {
    let config = manifest.config.digest(&digest.to_string())?;
    let media_type = &manifest.config.media_type;
    if media_type != OCI_CONFIG && media_type != DOCKER_CONFIG {
        return Err(SourceError::MediaType {
            name: config.to_string(),
            media_type: media_type.clone(),
        });
    }
    Ok((config, manifest.config.size))
}

fn check_layer_type(layer: &Digest, media_type: &str) -> Result<Compression, SourceError> {
    layer_compression(media_type).ok_or_else(|| SourceError::MediaType {
        name: layer.to_string(),
        media_type: media_type.into(),
    })
}

fn resolve_manifest(
    blobs: &Blobs,
    digest: Digest,
    manifest: Manifest,
    limits: &Limits,
) -> Result<Resolved, SourceError> {
    let name = digest.to_string();
    let (config_digest, config_size) = config_of(&manifest, &digest)?;
    let bytes = blobs.document(&config_digest, config_size, limits)?;
    let config = parse_config(&bytes, &config_digest.to_string())?;
    let count = manifest.layers.len();
    check_layer_count(&name, count, config.diff_ids.len(), limits)?;
    let mut layers = Vec::with_capacity(count);
    for (descriptor, unpacked) in manifest.layers.iter().zip(config.diff_ids) {
        let stored = descriptor.digest(&name)?;
        let compression = check_layer_type(&stored, &descriptor.media_type)?;
        let blob = blobs.blob(&stored, descriptor.size)?;
        let name = stored.to_string();
        layers.push(Layer {
            name,
            blob,
            compression,
            stored: Some(stored),
            unpacked,
        });
    }
    Ok(Resolved {
        manifest: digest,
        config: config.image,
        layers,
    })
}

/// What a config says about the image and its layers.
pub(super) struct ParsedConfig {
    pub image: ImageConfig,
    pub diff_ids: Vec<Digest>,
}

/// Parses a verified config and checks its platform.
pub(super) fn parse_config(bytes: &[u8], name: &str) -> Result<ParsedConfig, SourceError> {
    let config: Config = parse(bytes, name)?;
    if config.os != "linux" || config.architecture != "amd64" {
        let platform = format!("{}/{}", config.os, config.architecture);
        return Err(SourceError::Platform {
            name: name.into(),
            platform,
        });
    }
    let container = config.config.unwrap_or_default();
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let diff_ids = config.rootfs.diff_ids.unwrap_or_default();
    Ok(ParsedConfig {
        image: ImageConfig {
            env: container.env.unwrap_or_default(),
            working_dir: filled(container.working_dir),
            user: filled(container.user),
            entrypoint: container.entrypoint.unwrap_or_default(),
            command: container.cmd.unwrap_or_default(),
        },
        diff_ids: diff_ids
            .iter()
            .map(|text| parse_digest(text, name))
            .collect::<Result<_, _>>()?,
    })
}

pub(super) fn check_layer_count(
    name: &str,
    layers: usize,
    diff_ids: usize,
    limits: &Limits,
) -> Result<(), SourceError> {
    if layers > limits.layers {
        let limit = limits.layers;
        return Err(SourceError::Layers {
            name: name.into(),
            count: layers,
            limit,
        });
    }
    if layers != diff_ids {
        return Err(SourceError::LayerCount {
            name: name.into(),
            layers,
            diff_ids,
        });
    }
    Ok(())
}

fn check_document(
    name: &str,
    schema_version: u32,
    own: Option<&str>,
    expected: &str,
) -> Result<(), SourceError> {
    if schema_version != 2 {
        let version = schema_version.to_string();
        return Err(SourceError::Version {
            name: name.into(),
            version,
        });
    }
    match own {
        Some(actual) if actual != expected => Err(SourceError::MediaTypeMismatch {
            name: name.into(),
            expected: expected.into(),
            actual: actual.into(),
        }),
        _ => Ok(()),
    }
}
