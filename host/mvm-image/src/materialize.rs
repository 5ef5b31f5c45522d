//! From a source to an image in the store.
//!
//! Layers are read twice. The first pass checks every digest and merges the
//! metadata into a tree; from the tree alone follows where every byte goes. The
//! second streams file content to its place and checks the stored bytes again,
//! as they may have changed in between. Memory grows with the number of names,
//! never with the size of files.

mod error;

use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use error::{LayerError, MaterializeError};

use crate::catalog;
use crate::erofs::{ErofsError, Extent, Layout};
use crate::image::{Image, ImageConfig};
use crate::layer::{Exceeded, LayerReader};
use crate::limits::Limits;
use crate::merge::{Merge, Tree};
use crate::nix::{self, NixOptions, NixReference};
use crate::oci::{self, Layer, Resolved};
use crate::progress::Progress;
use crate::registry::{self, RegistryOptions};
use crate::source::ImageSource;
use crate::store::{Entry, RecordName, Staging, Store, StoreError};
use crate::tar::TarReader;
use mvm_contract::Digest;

/// Raised whenever the same layers would give other bytes than before.
const WRITER_VERSION: u32 = 1;

/// What [`materialize`] needs besides a source.
#[derive(Clone, Copy)]
pub struct MaterializeOptions<'a> {
    /// Ceilings on what the image may contain.
    pub limits: Limits,
    /// A directory that holds one OCI layout per `debian:NAME`.
    pub debian_layouts: &'a Path,
    /// How `nix` is run.
    pub nix: NixOptions<'a>,
    /// How registries are reached.
    pub registry: &'a RegistryOptions,
    /// Who is told how far the build is.
    pub progress: &'a dyn Progress,
}

/// What is remembered about a manifest that was built before.
#[derive(Serialize, Deserialize)]
pub(crate) struct Built {
    pub(crate) image: Digest,
    pub(crate) config: ImageConfig,
}

/// Where the records of [`Built`] are: one for each manifest and version of the writer.
pub(crate) const BUILT: &str = "images";

/// Makes the image that `source` names, or finds it in the store.
///
/// The same manifest is built once however many processes ask for it at the
/// same time: the others wait. A hit reads the image's documents, not its
/// layers, and an image whose seal is broken is built anew. What it gives may
/// be removed by others at once, unless the caller [holds](Store::hold) the store.
///
/// # Errors
/// [`MaterializeError`] says which image and layer failed and why; nothing of a
/// failed build stays in the store.
pub fn materialize(
    store: &Store,
    source: &ImageSource,
    options: &MaterializeOptions<'_>,
) -> Result<Image, MaterializeError> {
    let name = source.to_string();
    let _hold = store.hold().map_err(|error| in_store(&name, error))?;
    let image = find_or_make(store, source, &name, options)?;
    catalog::remember(store, &image).map_err(|error| in_store(&name, error))?;
    Ok(image)
}

fn find_or_make(
    store: &Store,
    source: &ImageSource,
    name: &str,
    options: &MaterializeOptions<'_>,
) -> Result<Image, MaterializeError> {
    let failed = |error| MaterializeError::Source {
        image: name.into(),
        source: error,
    };
    if let ImageSource::Nix(reference) = source {
        return make_closure(store, name, reference, options);
    }
    if let ImageSource::Registry(reference) = source {
        let pull_failed = |error| MaterializeError::Pull {
            image: name.into(),
            source: Box::new(error),
        };
        let (limits, progress) = (&options.limits, options.progress);
        let pull = registry::begin(store, reference, options.registry, limits, progress);
        let mut pull = pull.map_err(pull_failed)?;
        // An image that was made needs no layers, and so no registry, any more.
        let image = match find_built(store, name, pull.manifest)? {
            Some(image) => image,
            None => {
                let resolved = pull.complete().map_err(pull_failed)?;
                make_layers(store, name, resolved, options)?
            }
        };
        pull.remember().map_err(pull_failed)?;
        return Ok(image);
    }
    let resolved = oci::resolve(source, options.debian_layouts, &options.limits);
    make_layers(store, name, resolved.map_err(failed)?, options)
}

fn make_layers(
    store: &Store,
    name: &str,
    resolved: Resolved,
    options: &MaterializeOptions<'_>,
) -> Result<Image, MaterializeError> {
    let manifest = resolved.manifest;
    make(store, name, manifest, options, || {
        let total = resolved.layers.iter().map(|layer| layer.blob.size).sum();
        options.progress.stage("checking layers", Some(total));
        let (tree, stored) = read_layers(name, &resolved.layers, options)?;
        options.progress.finish();
        Ok(Merged {
            tree,
            layers: resolved.layers,
            stored,
            config: resolved.config,
        })
    })
}

fn make_closure(
    store: &Store,
    name: &str,
    reference: &NixReference,
    options: &MaterializeOptions<'_>,
) -> Result<Image, MaterializeError> {
    let failed = |error: nix::NixError| MaterializeError::Nix {
        image: name.into(),
        source: error.into(),
    };
    let mut resolved = nix::resolve(store, reference, options).map_err(failed)?;
    if find_built(store, name, resolved.closure.manifest())?.is_none() {
        resolved = nix::complete(store, reference, resolved, options).map_err(failed)?;
    }
    let manifest = resolved.closure.manifest();
    let image = make(store, name, manifest, options, || {
        let packed = nix::pack(store, &resolved, options).map_err(failed)?;
        Ok(Merged {
            tree: packed.tree,
            stored: vec![packed.layer.unpacked],
            layers: vec![packed.layer],
            config: packed.config,
        })
    })?;
    Ok(Image {
        provenance: Some(resolved.provenance),
        ..image
    })
}

/// What an image is written from.
struct Merged {
    tree: Tree,
    layers: Vec<Layer>,
    /// Digest of each layer as stored.
    stored: Vec<Digest>,
    config: ImageConfig,
}

/// Finds an image in the store, or builds it.
fn make(
    store: &Store,
    name: &str,
    manifest: Digest,
    options: &MaterializeOptions<'_>,
    merge: impl FnOnce() -> Result<Merged, MaterializeError>,
) -> Result<Image, MaterializeError> {
    if let Some(image) = find_built(store, name, manifest)? {
        return Ok(image);
    }
    let in_store = |error| in_store(name, error);
    let lock = format!("image-{}", key_of(manifest));
    let _building = store.lock(&lock).map_err(in_store)?;
    if let Some(image) = find_built(store, name, manifest)? {
        return Ok(image);
    }
    let merged = merge()?;
    let config = merged.config.clone();
    let staging = write(store, name, merged, options)?;
    options.progress.stage("publishing image", None);
    let entry = store.publish(staging).map_err(in_store)?;
    options.progress.finish();
    let built = Built {
        image: entry.digest,
        config,
    };
    let record = RecordName::new(BUILT, &key_of(manifest)).map_err(in_store)?;
    store.save_record(&record, &built).map_err(in_store)?;
    Ok(image_of(name, manifest, entry, built.config))
}

/// What builds of a manifest are kept under.
fn key_of(manifest: Digest) -> String {
    format!("{}-v{WRITER_VERSION}", manifest.hex())
}

fn in_store(name: &str, source: StoreError) -> MaterializeError {
    MaterializeError::Store {
        image: name.into(),
        source,
    }
}

fn image_of(name: &str, manifest: Digest, entry: Entry, config: ImageConfig) -> Image {
    Image {
        digest: entry.digest,
        path: entry.path,
        size: entry.size,
        manifest,
        source: name.into(),
        config,
        provenance: None,
    }
}

/// The image of a manifest that was built before and is intact.
fn find_built(
    store: &Store,
    name: &str,
    manifest: Digest,
) -> Result<Option<Image>, MaterializeError> {
    let in_store = |error| in_store(name, error);
    let record = RecordName::new(BUILT, &key_of(manifest)).map_err(in_store)?;
    let found = built_before(store, &record).map_err(in_store)?;
    Ok(found.map(|(entry, config)| image_of(name, manifest, entry, config)))
}

fn built_before(
    store: &Store,
    record: &RecordName,
) -> Result<Option<(Entry, ImageConfig)>, StoreError> {
    let Some(built) = store.load_record::<Built>(record)? else {
        return Ok(None);
    };
    Ok(store
        .entry(&built.image)?
        .filter(|entry| entry.check_seal().is_ok())
        .map(|entry| (entry, built.config)))
}

fn write(
    store: &Store,
    image: &str,
    merged: Merged,
    options: &MaterializeOptions<'_>,
) -> Result<Staging, MaterializeError> {
    let Merged {
        tree,
        layers,
        stored,
        ..
    } = merged;
    let total = layers.iter().map(|layer| layer.blob.size).sum();
    let writing = |error| MaterializeError::Write {
        image: image.into(),
        source: error,
    };
    let layout = Layout::plan(&tree).map_err(writing)?;
    let staging = store.begin().map_err(|error| MaterializeError::Store {
        image: image.into(),
        source: error,
    })?;
    layout
        .write_metadata(&tree, staging.file())
        .map_err(writing)?;
    let extents = layout.extents(&tree);
    drop(tree);

    options.progress.stage("writing image", Some(total));
    write_contents(image, &layers, &stored, &extents, &staging, options)?;
    layout.write_checksum(staging.file()).map_err(writing)?;
    options.progress.finish();
    Ok(staging)
}

/// The first pass: the merged tree, and the digest of each layer as stored.
fn read_layers(
    image: &str,
    layers: &[Layer],
    options: &MaterializeOptions<'_>,
) -> Result<(Tree, Vec<Digest>), MaterializeError> {
    let mut merge = Merge::new(&options.limits);
    let mut unpacked = 0;
    let mut stored = Vec::with_capacity(layers.len());
    for (number, layer) in layers.iter().enumerate() {
        merge.begin_layer(number as u32);
        let digest = read_layer(&mut merge, layer, &mut unpacked, options)
            .map_err(|error| in_layer(image, layer, error))?;
        stored.push(digest);
    }
    Ok((merge.finish(), stored))
}

fn read_layer(
    merge: &mut Merge<'_>,
    layer: &Layer,
    unpacked: &mut u64,
    options: &MaterializeOptions<'_>,
) -> Result<Digest, LayerError> {
    let limits = &options.limits;
    let left = limits.unpacked_bytes.saturating_sub(*unpacked);
    let mut reader = LayerReader::new(
        &layer.blob,
        layer.compression,
        left,
        true,
        limits,
        options.progress,
    )
    .map_err(|source| LayerError::Read { source })?;
    let applied = apply_entries(merge, &mut reader, limits);
    if let Some(exceeded) = reader.exceeded() {
        return Err(match exceeded {
            Exceeded::Unpacked => LayerError::Unpacked {
                limit: limits.unpacked_bytes,
            },
            Exceeded::Ratio(allowed) => LayerError::Ratio {
                stored: layer.blob.size,
                allowed,
            },
        });
    }
    // A layer that is not what its digest says must be called that, whatever
    // its bytes happen to decode to.
    let digests = reader
        .finish()
        .map_err(|source| LayerError::Read { source })?;
    if let Some(expected) = layer.stored
        && expected != digests.stored
    {
        return Err(LayerError::StoredDigest {
            expected,
            actual: digests.stored,
        });
    }
    applied?;
    if digests.unpacked != layer.unpacked {
        let (expected, actual) = (layer.unpacked, digests.unpacked);
        return Err(LayerError::UnpackedDigest { expected, actual });
    }
    *unpacked += digests.unpacked_bytes;
    Ok(digests.stored)
}

fn apply_entries(
    merge: &mut Merge<'_>,
    reader: &mut LayerReader<'_>,
    limits: &Limits,
) -> Result<(), LayerError> {
    let mut archive = TarReader::new(reader, limits);
    while let Some(entry) = archive
        .next()
        .map_err(|source| LayerError::Tar { source })?
    {
        merge
            .apply(entry)
            .map_err(|source| LayerError::Entry { source })?;
    }
    archive
        .drain()
        .map_err(|source| LayerError::Read { source })?;
    Ok(())
}

/// The second pass. Layers of which nothing survived are not read again.
fn write_contents(
    image: &str,
    layers: &[Layer],
    stored: &[Digest],
    extents: &[Extent],
    staging: &Staging,
    options: &MaterializeOptions<'_>,
) -> Result<(), MaterializeError> {
    for run in extents.chunk_by(|one, other| one.content.layer == other.content.layer) {
        let number = run[0].content.layer as usize;
        let layer = &layers[number];
        let written = write_layer(layer, stored[number], run, staging, options);
        written.map_err(|error| match error {
            Interrupted::Layer(error) => in_layer(image, layer, error),
            Interrupted::Write(source) => MaterializeError::Write {
                image: image.into(),
                source,
            },
        })?;
    }
    Ok(())
}

/// Which side of the second pass failed.
enum Interrupted {
    Layer(LayerError),
    Write(ErofsError),
}

impl From<LayerError> for Interrupted {
    fn from(error: LayerError) -> Self {
        Self::Layer(error)
    }
}

fn write_layer(
    layer: &Layer,
    stored: Digest,
    extents: &[Extent],
    staging: &Staging,
    options: &MaterializeOptions<'_>,
) -> Result<(), Interrupted> {
    // What it unpacks to was bounded by the first pass, if it is still the same.
    let limits = &options.limits;
    let mut reader = LayerReader::new(
        &layer.blob,
        layer.compression,
        limits.unpacked_bytes,
        false,
        limits,
        options.progress,
    )
    .map_err(|source| LayerError::Read { source })?;
    let mut buffer = vec![0; 1 << 20];
    let mut position = 0;
    for extent in extents {
        let content = extent.content;
        discard(&mut reader, content.offset - position, &mut buffer)?;
        copy(
            &mut reader,
            extent.body,
            extent.body_at,
            staging,
            &mut buffer,
        )?;
        copy(
            &mut reader,
            content.size - extent.body,
            extent.tail_at,
            staging,
            &mut buffer,
        )?;
        position = content.offset + content.size;
    }
    let actual = reader
        .finish()
        .map_err(|source| LayerError::Read { source })?
        .stored;
    if actual != stored {
        return Err(LayerError::Changed {
            expected: stored,
            actual,
        }
        .into());
    }
    Ok(())
}

fn discard(
    reader: &mut LayerReader<'_>,
    mut count: u64,
    buffer: &mut [u8],
) -> Result<(), LayerError> {
    while count > 0 {
        let wanted = count.min(buffer.len() as u64) as usize;
        reader
            .read_exact(&mut buffer[..wanted])
            .map_err(|source| LayerError::Read { source })?;
        count -= wanted as u64;
    }
    Ok(())
}

fn copy(
    reader: &mut LayerReader<'_>,
    mut count: u64,
    mut offset: u64,
    staging: &Staging,
    buffer: &mut [u8],
) -> Result<(), Interrupted> {
    while count > 0 {
        let wanted = count.min(buffer.len() as u64) as usize;
        reader
            .read_exact(&mut buffer[..wanted])
            .map_err(|source| LayerError::Read { source })?;
        staging
            .file()
            .write_all_at(&buffer[..wanted], offset)
            .map_err(|source| Interrupted::Write(ErofsError::Write { offset, source }))?;
        count -= wanted as u64;
        offset += wanted as u64;
    }
    Ok(())
}

fn in_layer(image: &str, layer: &Layer, source: LayerError) -> MaterializeError {
    MaterializeError::Layer {
        image: image.into(),
        layer: layer.name.clone(),
        source,
    }
}
