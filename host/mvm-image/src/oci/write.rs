//! Writing an OCI image layout of one image (image-spec 1.1, `image-layout.md`).

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Value, json};

use super::document::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use mvm_contract::Digest;

/// A layer that is not compressed.
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Writes config, manifest, index and marker of a layout whose layers are in `blobs/sha256` already,
/// synced, and tells the manifest's digest. With a `name`, the index refers to the image by it.
pub(crate) fn write_layout(
    layout: &Path,
    config: &Value,
    layers: &[Value],
    name: Option<&str>,
) -> io::Result<Digest> {
    let blobs = layout.join("blobs/sha256");
    let (config, config_size) = write_blob(&blobs, config)?;
    let (manifest, manifest_size) = write_blob(
        &blobs,
        &json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": { "mediaType": OCI_CONFIG, "digest": config, "size": config_size },
            "layers": layers,
        }),
    )?;
    let mut descriptor = json!({
        "mediaType": OCI_MANIFEST,
        "digest": manifest,
        "size": manifest_size,
        "platform": { "architecture": "amd64", "os": "linux" },
    });
    if let Some(name) = name {
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    }
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor] });
    write_synced(&layout.join("index.json"), index.to_string().as_bytes())?;
    let marker = br#"{"imageLayoutVersion":"1.0.0"}"#;
    write_synced(&layout.join("oci-layout"), marker)?;
    for directory in [&blobs, &layout.join("blobs"), layout] {
        File::open(directory)?.sync_all()?;
    }
    Ok(manifest)
}

/// Returns the blob's digest and its size in bytes.
fn write_blob(blobs: &Path, content: &Value) -> io::Result<(Digest, usize)> {
    let bytes = content.to_string().into_bytes();
    let digest = Digest::of(&bytes);
    write_synced(&blobs.join(digest.hex()), &bytes)?;
    Ok((digest, bytes.len()))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
