//! An image and one layer more, as an OCI layout (image-spec 1.1, `image-layout.md`).
//!
//! The layout is content: the same base, the same files and the same configuration give the same
//! manifest, wherever and whenever it is made. The layers of the base are linked into it where the
//! file system can, and copied where it cannot; whoever materializes the layout checks every byte
//! against its digest, as of any other.

mod error;
mod layer;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, RenameFlags, linkat, renameat_with};
use serde_json::{Value, json};

pub use error::ComposeError;
pub use layer::{LayerContent, LayerFile, LayerTree};

use crate::layer::{Blob, Compression};
use crate::materialize::MaterializeOptions;
use crate::nix::{self, NixError};
use crate::oci::{self, LAYER, Layer, Resolved};
use crate::registry::{self, RegistryReference};
use crate::source::ImageSource;
use crate::store::Store;
use mvm_contract::Digest;

/// Starts the name of a layout that is being made.
const UNFINISHED: &str = ".unfinished-";

/// What is put together.
#[derive(Debug, Clone, Copy)]
pub struct Composition<'a> {
    /// The image below.
    pub base: &'a ImageSource,
    /// The files above it.
    pub files: &'a LayerTree,
    /// Where programs start, over what the base says.
    pub working_directory: Option<&'a str>,
    /// What runs when nothing else is asked for, over what the base says.
    pub command: Option<&'a [String]>,
}

/// A finished layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// Its directory, named after its manifest.
    pub directory: PathBuf,
    /// Digest of its one manifest.
    pub manifest: Digest,
    /// Digest of the manifest of the base.
    pub base_manifest: Digest,
    /// Digest of the layer above it, an uncompressed tar archive.
    pub layer: Digest,
}

impl Composed {
    /// The image, pinned.
    #[must_use]
    pub fn source(&self) -> ImageSource {
        ImageSource::OciLayout {
            directory: self.directory.clone(),
            reference: Some(format!("@{}", self.manifest)),
        }
    }
}

/// Digest of the manifest that a source means at this time.
///
/// # Errors
///
/// [`ComposeError::Base`].
pub fn manifest_of(
    store: &Store,
    source: &ImageSource,
    options: &MaterializeOptions<'_>,
) -> Result<Digest, ComposeError> {
    match source {
        ImageSource::Registry(reference) => Ok(begin(store, source, reference, options)?.manifest),
        ImageSource::Nix(reference) => nix::resolve(store, reference, options)
            .map(|resolved| resolved.closure.manifest())
            .map_err(|error| in_nix(source, error)),
        _ => Ok(resolve(store, source, options)?.manifest),
    }
}

/// Puts a layout into `layouts`, in a directory named after its manifest. One that is there
/// already is the same and stays.
///
/// # Errors
///
/// [`ComposeError`] says what could not be read or written; nothing unfinished stays.
pub fn compose(
    store: &Store,
    composition: &Composition<'_>,
    layouts: &Path,
    options: &MaterializeOptions<'_>,
) -> Result<Composed, ComposeError> {
    let base = resolve(store, composition.base, options)?;
    assemble(composition, &base, layouts)
}

/// Puts a root filesystem that is a tar archive, and files above it, into `layouts`. Everything
/// else is as the composition's base says.
///
/// # Errors
///
/// As [`compose`].
pub fn compose_on_archive(
    store: &Store,
    archive: &Path,
    composition: &Composition<'_>,
    layouts: &Path,
    options: &MaterializeOptions<'_>,
) -> Result<Composed, ComposeError> {
    let read = |source| ComposeError::Read {
        path: archive.into(),
        source,
    };
    let mut file = File::open(archive).map_err(read)?;
    let (digest, size) = Digest::of_reader(&mut file).map_err(read)?;
    let mut base = resolve(store, composition.base, options)?;
    base.layers = vec![Layer {
        name: archive.display().to_string(),
        blob: Blob {
            file: file.into(),
            offset: 0,
            size,
        },
        compression: Compression::None,
        stored: Some(digest),
        unpacked: digest,
    }];
    assemble(composition, &base, layouts)
}

fn assemble(
    composition: &Composition<'_>,
    base: &Resolved,
    layouts: &Path,
) -> Result<Composed, ComposeError> {
    let failed = |source| ComposeError::Write {
        directory: layouts.into(),
        source,
    };
    let unfinished = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(layouts)
        .map_err(failed)?;
    let blobs = unfinished.path().join("blobs/sha256");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&blobs)
        .map_err(failed)?;
    let written = layer::write(composition.files, &blobs)?;
    let mut layers = Vec::new();
    let mut unpacked = Vec::new();
    for layer in &base.layers {
        let place = blobs.join("layer");
        let stored = keep(&layer.blob, layer.stored, &place).map_err(failed)?;
        fs::rename(&place, blobs.join(stored.hex())).map_err(failed)?;
        layers.push(json!({
            "mediaType": media_type(layer.compression),
            "digest": stored,
            "size": layer.blob.size,
        }));
        unpacked.push(layer.unpacked);
    }
    layers.push(json!({ "mediaType": LAYER, "digest": written.digest, "size": written.size }));
    unpacked.push(written.digest);
    let manifest = oci::write_layout(
        unfinished.path(),
        &config(composition, base, &unpacked),
        &layers,
        None,
    );
    let manifest = manifest.map_err(failed)?;
    let directory = layouts.join(manifest.hex());
    match renameat_with(
        CWD,
        unfinished.path(),
        CWD,
        &directory,
        RenameFlags::NOREPLACE,
    ) {
        // What was there is of the same name, and so the same; what was made goes.
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(failed(error.into())),
    }
    File::open(layouts)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)?;
    Ok(Composed {
        directory,
        manifest,
        base_manifest: base.manifest,
        layer: written.digest,
    })
}

/// Removes layouts that died while they were made. The caller holds the lock under which all of
/// this directory are made. What cannot be removed is tried again next time.
pub fn remove_unfinished(layouts: &Path) {
    for entry in fs::read_dir(layouts).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn resolve(
    store: &Store,
    source: &ImageSource,
    options: &MaterializeOptions<'_>,
) -> Result<Resolved, ComposeError> {
    if let ImageSource::Registry(reference) = source {
        let mut pull = begin(store, source, reference, options)?;
        let resolved = pull.complete();
        let resolved = resolved.and_then(|resolved| pull.remember().map(|()| resolved));
        return resolved.map_err(|error| ComposeError::Pull {
            image: source.to_string(),
            source: Box::new(error),
        });
    }
    if let ImageSource::Nix(reference) = source {
        let resolved = nix::resolve_layer(store, reference, options);
        return resolved.map_err(|error| in_nix(source, error));
    }
    oci::resolve(source, options.debian_layouts, &options.limits).map_err(|error| {
        ComposeError::Base {
            image: source.to_string(),
            source: error,
        }
    })
}

fn in_nix(image: &ImageSource, error: NixError) -> ComposeError {
    ComposeError::Nix {
        image: image.to_string(),
        source: Box::new(error),
    }
}

fn begin<'a>(
    store: &'a Store,
    source: &ImageSource,
    reference: &'a RegistryReference,
    options: &'a MaterializeOptions<'_>,
) -> Result<registry::Pull<'a>, ComposeError> {
    let (limits, progress) = (&options.limits, options.progress);
    let begun = registry::begin(store, reference, options.registry, limits, progress);
    begun.map_err(|error| ComposeError::Pull {
        image: source.to_string(),
        source: Box::new(error),
    })
}

/// Puts a stored layer into the layout, and tells its digest.
fn keep(blob: &Blob, stored: Option<Digest>, place: &Path) -> io::Result<Digest> {
    if let Some(stored) = stored
        && blob.offset == 0
        && blob.file.metadata()?.len() == blob.size
    {
        let opened = format!("/proc/self/fd/{}", blob.file.as_raw_fd());
        if linkat(CWD, opened, CWD, place, AtFlags::SYMLINK_FOLLOW).is_ok() {
            return Ok(stored);
        }
    }
    let mut file = File::create_new(place)?;
    io::copy(&mut blob.reader(), &mut file)?;
    file.sync_all()?;
    let (digest, _) = Digest::of_reader(&mut blob.reader())?;
    Ok(digest)
}

const fn media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::None => LAYER,
        Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
    }
}

fn config(composition: &Composition<'_>, base: &Resolved, unpacked: &[Digest]) -> Value {
    let below = &base.config;
    let (entrypoint, command) = match composition.command {
        Some(command) => (&[][..], command),
        None => (below.entrypoint.as_slice(), below.command.as_slice()),
    };
    json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": below.env,
            "User": below.user.as_deref().unwrap_or_default(),
            "WorkingDir": composition.working_directory.or(below.working_dir.as_deref()),
            "Entrypoint": entrypoint,
            "Cmd": command,
        },
        "rootfs": { "type": "layers", "diff_ids": unpacked },
    })
}

#[cfg(test)]
mod tests;
