//! The JSON documents of the OCI image specification and of Docker's
//! distribution format (version 2, schema 2), as far as they matter here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::SourceError;
use crate::layer::Compression;
use mvm_contract::Digest;

pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What a registry is asked for: indexes and manifests, for its `Accept` header.
pub(crate) const DOCUMENT_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// What type a verified index or manifest is of that no descriptor describes. One that could be
/// both is nothing.
pub(crate) fn type_of(bytes: &[u8], name: &str) -> Result<String, SourceError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outline {
        media_type: Option<String>,
        manifests: Option<IgnoredAny>,
        layers: Option<IgnoredAny>,
        config: Option<IgnoredAny>,
    }
    let outline: Outline = parse(bytes, name)?;
    let is_manifest = outline.layers.is_some() || outline.config.is_some();
    let shape = match (outline.manifests.is_some(), is_manifest) {
        (true, false) => [OCI_INDEX, DOCKER_INDEX],
        (false, true) => [OCI_MANIFEST, DOCKER_MANIFEST],
        _ => {
            return Err(SourceError::MediaType {
                name: name.into(),
                media_type: outline.media_type.unwrap_or_else(|| "(none)".into()),
            });
        }
    };
    match outline.media_type {
        None => Ok(shape[0].into()),
        Some(own) if shape.contains(&own.as_str()) => Ok(own),
        Some(own) => Err(SourceError::MediaType {
            name: name.into(),
            media_type: own,
        }),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LayoutMarker {
    pub image_layout_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub schema_version: u32,
    pub media_type: Option<String>,
    pub manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub schema_version: u32,
    pub media_type: Option<String>,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub media_type: String,
    digest: String,
    pub size: u64,
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct Platform {
    pub architecture: String,
    pub os: String,
    pub variant: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    pub config: Option<ContainerConfig>,
    pub rootfs: RootFilesystem,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerConfig {
    pub env: Option<Vec<String>>,
    pub working_dir: Option<String>,
    pub user: Option<String>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
}

#[derive(Deserialize)]
pub(super) struct RootFilesystem {
    pub diff_ids: Option<Vec<String>>,
}

impl Manifest {
    /// The blobs it names, as far as their digests are any.
    pub(crate) fn blobs(&self, digest: &Digest) -> Vec<Digest> {
        let name = digest.to_string();
        let all = std::iter::once(&self.config).chain(&self.layers);
        all.filter_map(|blob| blob.digest(&name).ok()).collect()
    }
}

impl Descriptor {
    pub(crate) fn digest(&self, document: &str) -> Result<Digest, SourceError> {
        parse_digest(&self.digest, document)
    }

    /// The names this image goes by in a layout's index.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        [
            "org.opencontainers.image.ref.name",
            "io.containerd.image.name",
        ]
        .into_iter()
        .filter_map(|key| self.annotations.as_ref()?.get(key))
        .map(String::as_str)
    }
}

impl Platform {
    /// Baseline x86-64; `v2` and above may need a newer processor.
    pub(super) fn is_ours(&self) -> bool {
        self.os == "linux"
            && self.architecture == "amd64"
            && matches!(self.variant.as_deref(), None | Some("" | "v1"))
    }

    pub(super) fn name(&self) -> String {
        match &self.variant {
            Some(variant) if !variant.is_empty() => {
                format!("{}/{}/{variant}", self.os, self.architecture)
            }
            _ => format!("{}/{}", self.os, self.architecture),
        }
    }
}

/// Parses a document whose bytes were verified.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], name: &str) -> Result<T, SourceError> {
    serde_json::from_slice(bytes).map_err(|source| SourceError::Document {
        name: name.into(),
        source,
    })
}

pub(super) fn parse_digest(text: &str, document: &str) -> Result<Digest, SourceError> {
    text.parse().map_err(|source| SourceError::Digest {
        name: document.into(),
        source,
    })
}

/// How a layer of this media type is compressed, or `None` when the type is
/// not supported (foreign, encrypted, other compressions).
pub(super) fn layer_compression(media_type: &str) -> Option<Compression> {
    Some(match media_type {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => Compression::None,
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Compression::Gzip,
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Compression::Zstd,
        _ => return None,
    })
}
