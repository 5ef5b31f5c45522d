//! What images a store has, and taking them out again.

mod export;

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use export::{ExportError, ExportFormat, export};

use crate::image::{Image, ImageConfig};
use crate::materialize::{BUILT, Built};
use crate::oci;
use crate::registry::{self, TAGS, TagRecord};
use crate::source::ImageSource;
use crate::store::{Clearing, RecordName, Store, StoreError};
use mvm_contract::Digest;

/// Where the records of [`SourceRecord`] are: one for each source.
const SOURCES: &str = "sources";

/// What a source gave when it was last used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceRecord {
    source: String,
    manifest: Digest,
    image: Digest,
    since_ms: u64,
}

/// An image in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CatalogImage {
    /// Of its root filesystem.
    pub digest: Digest,
    /// The manifests it was made from.
    pub manifests: Vec<Digest>,
    /// The sources that gave it when they were last used.
    pub sources: Vec<String>,
    /// Bytes of its root filesystem.
    pub size: u64,
    /// Bytes of what was pulled for it and is still here.
    pub pulled_bytes: u64,
    /// When one of its sources first gave it, milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Why its bytes are not trusted unread, if they are not.
    pub broken: Option<String>,
    /// How to run it.
    pub config: ImageConfig,
}

/// What a removal freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Freed {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Remembers which source gave an image.
pub(crate) fn remember(store: &Store, image: &Image) -> Result<(), StoreError> {
    let name = source_record(&image.source)?;
    let known = store.load_record::<SourceRecord>(&name)?;
    if known.is_some_and(|known| (known.image, known.manifest) == (image.digest, image.manifest)) {
        return Ok(());
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let record = SourceRecord {
        source: image.source.clone(),
        manifest: image.manifest,
        image: image.digest,
        since_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
    };
    store.save_record(&name, &record)
}

fn source_record(source: &str) -> Result<RecordName, StoreError> {
    RecordName::new(SOURCES, &Digest::of(source.as_bytes()).hex())
}

/// Every image of a store, in the order of their digests.
pub fn list(store: &Store) -> Result<Vec<CatalogImage>, StoreError> {
    let sources = store.records::<SourceRecord>(SOURCES)?;
    let pulled = registry::pulled(store)?;
    let mut images: Vec<CatalogImage> = Vec::new();
    for (manifest, built) in built(store)? {
        if let Some(image) = images.iter_mut().find(|image| image.digest == built.image) {
            image.manifests.push(manifest);
            continue;
        }
        let Some(entry) = store.entry(&built.image)? else {
            continue;
        };
        let own = sources
            .iter()
            .filter(|(_, record)| record.image == built.image);
        images.push(CatalogImage {
            digest: built.image,
            manifests: vec![manifest],
            sources: own
                .clone()
                .map(|(_, record)| record.source.clone())
                .collect(),
            size: entry.size,
            pulled_bytes: 0,
            since_ms: own.map(|(_, record)| record.since_ms).min(),
            broken: entry.check_seal().err().map(|error| error.to_string()),
            config: built.config,
        });
    }
    for image in &mut images {
        let mut blobs = BTreeSet::new();
        for manifest in &image.manifests {
            blobs.extend(blobs_of(&pulled, *manifest)?);
        }
        for digest in blobs {
            image.pulled_bytes += pulled.entry(&digest)?.map_or(0, |entry| entry.size);
        }
        image.sources.sort();
    }
    images.sort_by_key(|image| image.digest);
    Ok(images)
}

/// What was built, by the manifests it was built of.
fn built(store: &Store) -> Result<Vec<(Digest, Built)>, StoreError> {
    let records = store.records::<Built>(BUILT)?;
    let manifest = |(key, built): (String, Built)| {
        let hex = key.split('-').next()?;
        Some((format!("sha256:{hex}").parse().ok()?, built))
    };
    Ok(records.into_iter().filter_map(manifest).collect())
}

/// Removes an image: whoever clears has seen that nobody needs it. What was pulled for it and for
/// no other image goes with it.
pub fn remove(store: &Store, image: &Digest, clearing: &Clearing) -> Result<Freed, StoreError> {
    // The records first: what is left when this breaks off is content that nothing leads to.
    for (key, record) in store.records::<SourceRecord>(SOURCES)? {
        if record.image == *image {
            store.remove_record(&RecordName::new(SOURCES, &key)?, clearing)?;
        }
    }
    for (key, record) in store.records::<Built>(BUILT)? {
        if record.image == *image {
            store.remove_record(&RecordName::new(BUILT, &key)?, clearing)?;
        }
    }
    let mut freed = Freed::default();
    if let Some(entry) = store.entry(image)? {
        freed.files += 1;
        freed.bytes += entry.size;
    }
    store.remove(image, clearing)?;
    let pulled = sweep_pulled(store, clearing)?;
    Ok(Freed {
        files: freed.files + pulled.files,
        bytes: freed.bytes + pulled.bytes,
    })
}

/// Removes what was pulled and belongs to no image that is here: what a pull left that failed,
/// too.
pub fn sweep_pulled(store: &Store, clearing: &Clearing) -> Result<Freed, StoreError> {
    let pulled = registry::pulled(store)?;
    let mut kept = BTreeSet::new();
    for (manifest, _) in built(store)? {
        kept.extend(blobs_of(&pulled, manifest)?);
    }
    // The indexes that lead to a manifest that is kept, from a tag or a digest.
    let leads = |digest: Digest| -> Result<Option<Vec<Digest>>, StoreError> {
        let path = path_to(&pulled, digest)?;
        let ends_here = path.last().is_some_and(|last| kept.contains(last));
        Ok(ends_here.then_some(path))
    };
    let mut indexes = BTreeSet::new();
    for (key, tag) in pulled.records::<TagRecord>(TAGS)? {
        match leads(tag.digest)? {
            Some(path) => indexes.extend(path),
            None => pulled.remove_record(&RecordName::new(TAGS, &key)?, clearing)?,
        }
    }
    for (_, record) in store.records::<SourceRecord>(SOURCES)? {
        if let Ok(ImageSource::Registry(reference)) = record.source.parse()
            && let Some(digest) = reference.digest()
        {
            indexes.extend(leads(digest)?.unwrap_or_default());
        }
    }
    let mut freed = Freed::default();
    for digest in pulled.contents()? {
        if !kept.contains(&digest) && !indexes.contains(&digest) {
            freed.files += 1;
            freed.bytes += pulled.entry(&digest)?.map_or(0, |entry| entry.size);
            pulled.remove(&digest, clearing)?;
        }
    }
    Ok(freed)
}

/// A manifest and the blobs it names, if it was pulled and is what its digest says.
fn blobs_of(pulled: &Store, manifest: Digest) -> Result<Vec<Digest>, StoreError> {
    let Some(bytes) = document(pulled, manifest)? else {
        return Ok(Vec::new());
    };
    let mut blobs = vec![manifest];
    if let Some(oci::Document::Manifest(document)) = read(&bytes, manifest) {
        blobs.extend(document.blobs(&manifest));
    }
    Ok(blobs)
}

/// The documents from an index, or a manifest, to the manifest for this platform.
fn path_to(pulled: &Store, top: Digest) -> Result<Vec<Digest>, StoreError> {
    let mut path = vec![top];
    let mut digest = top;
    // Of a circle, which no digests make, at most so much is seen.
    for _ in 0..8 {
        let bytes = document(pulled, digest)?;
        let document = bytes.and_then(|bytes| read(&bytes, digest));
        let Some(oci::Document::Index(ours)) = document else {
            break;
        };
        let Ok(next) = ours.digest(&digest.to_string()) else {
            break;
        };
        digest = next;
        path.push(digest);
    }
    Ok(path)
}

fn read(bytes: &[u8], digest: Digest) -> Option<oci::Document> {
    let media_type = oci::type_of(bytes, &digest.to_string()).ok()?;
    oci::read_document_of(bytes, &digest, &media_type).ok()
}

fn document(pulled: &Store, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(entry) = pulled.entry(&digest)? else {
        return Ok(None);
    };
    let bytes = std::fs::read(&entry.path).ok();
    Ok(bytes.filter(|bytes| Digest::of(bytes) == digest))
}
