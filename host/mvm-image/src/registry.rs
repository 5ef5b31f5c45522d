//! Images in registries, by the OCI distribution specification (1.1).
//!
//! What is pulled goes to a store of its own (`pulled/` in the content store) under the digest that
//! was asked for, after it was compared with it; documents and layers are compared again whenever
//! an image is made of them. What a tag means is recorded beside it. The rest of this crate sees a
//! directory of blobs like that of any OCI layout.

mod challenge;
mod client;
mod connection;
mod credentials;
mod download;
mod error;
mod options;
mod reference;
mod worker;

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use mvm_contract::Digest;
use serde::{Deserialize, Serialize};

pub use connection::ConnectError;
pub use credentials::CredentialError;
pub use error::PullError;
pub use options::{MVM_INSECURE_REGISTRIES, Patience, PullPolicy, RegistryOptions};
pub use reference::{ParseReferenceError, RegistryReference};

use crate::limits::Limits;
use crate::oci::{self, Document, Resolved, SourceError};
use crate::progress::Progress;
use crate::store::{RecordName, Store, StoreError};
use client::Client;
use download::Received;

/// Layers that are fetched at the same time.
const AT_ONCE: usize = 3;

/// Where blobs that were pulled are, in the content store.
const PULLED: &str = "pulled";

/// Where the records of [`TagRecord`] are.
pub(crate) const TAGS: &str = "tags";

/// What a tag meant when the registry was last asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TagRecord {
    pub(crate) reference: String,
    pub(crate) digest: Digest,
    /// Milliseconds since the Unix epoch.
    asked_at_ms: u64,
}

/// An image of a registry whose manifest and config are here.
pub(crate) struct Pull<'a> {
    session: Session<'a>,
    /// The manifest for this platform.
    pub(crate) manifest: Digest,
    manifest_bytes: Vec<u8>,
    layers: Vec<(Digest, u64)>,
}

/// The store of what was pulled.
pub(crate) fn pulled(store: &Store) -> Result<Store, StoreError> {
    Store::open(store.root().join(PULLED))
}

/// Finds the manifest that a reference means, here or in its registry.
pub(crate) fn begin<'a>(
    store: &Store,
    reference: &'a RegistryReference,
    options: &'a RegistryOptions,
    limits: &'a Limits,
    progress: &'a dyn Progress,
) -> Result<Pull<'a>, PullError> {
    let mut session = Session {
        cache: pulled(store)?,
        reference,
        options,
        limits,
        progress,
        client: None,
        learned: None,
    };
    // Pinned or not: what is refused is refused whatever is here.
    if options.refuse_insecure && options.insecure.contains(&reference.registry()) {
        return Err(PullError::InsecureRefused {
            registry: reference.registry(),
        });
    }
    let (mut digest, mut bytes) = session.top()?;
    let mut media_type = session.image(oci::type_of(&bytes, &digest.to_string()))?;
    let mut depth = 0;
    let manifest = loop {
        session.image(oci::check_nesting(&digest, depth))?;
        match session.image(oci::read_document_of(&bytes, &digest, &media_type))? {
            Document::Manifest(manifest) => break manifest,
            Document::Index(ours) => {
                digest = session.image(ours.digest(&digest.to_string()))?;
                bytes = session.manifest(digest, Some(ours.size))?;
                media_type = ours.media_type;
                depth += 1;
            }
        }
    };
    let (config, size) = session.image(oci::config_of(&manifest, &digest))?;
    let config = session.config(config, size)?;
    let layers = session.image(oci::layers_of(&manifest, &digest, &config, limits))?;
    let size = layers
        .iter()
        .fold(0_u64, |sum, (_, size)| sum.saturating_add(*size));
    if size > limits.unpacked_bytes {
        return Err(PullError::LayerBytes {
            reference: reference.to_string(),
            size,
            limit: limits.unpacked_bytes,
        });
    }
    Ok(Pull {
        session,
        manifest: digest,
        manifest_bytes: bytes,
        layers,
    })
}

impl Pull<'_> {
    /// Fetches the layers that are missing, and gives the image.
    pub(crate) fn complete(&mut self) -> Result<Resolved, PullError> {
        let session = &mut self.session;
        // Who pulls the same image waits, and then finds it here.
        let lock = format!("pull-{}", self.manifest.hex());
        let _pulling = session.cache.lock(&lock)?;
        let mut missing: Vec<(Digest, u64)> = Vec::new();
        for (digest, size) in self.layers.iter().copied() {
            let known = missing.iter().any(|(other, _)| *other == digest);
            if !known && !session.is_here(digest)? {
                missing.push((digest, size));
            }
        }
        if !missing.is_empty() {
            session.fetch_layers(missing)?;
        }
        let (cache, limits) = (&session.cache, session.limits);
        let resolved = oci::resolve_in(cache.root(), self.manifest, &self.manifest_bytes, limits);
        session.image(resolved)
    }

    /// Remembers what the tag means, now that it proved to be an image.
    pub(crate) fn remember(self) -> Result<(), PullError> {
        if let Some((record, meaning)) = &self.session.learned {
            self.session.cache.save_record(record, meaning)?;
        }
        Ok(())
    }
}

/// One reference, and what of it is asked of whom.
struct Session<'a> {
    cache: Store,
    reference: &'a RegistryReference,
    options: &'a RegistryOptions,
    limits: &'a Limits,
    progress: &'a dyn Progress,
    client: Option<Client>,
    /// What the tag means, as the registry said now.
    learned: Option<(RecordName, TagRecord)>,
}

impl Session<'_> {
    fn image<T>(&self, result: Result<T, SourceError>) -> Result<T, PullError> {
        result.map_err(|source| PullError::Image {
            reference: self.reference.to_string(),
            source,
        })
    }

    /// The document that the reference means.
    fn top(&mut self) -> Result<(Digest, Vec<u8>), PullError> {
        if let Some(digest) = self.reference.digest() {
            return Ok((digest, self.manifest(digest, None)?));
        }
        let record = self.tag_record()?;
        if self.options.pull != PullPolicy::Always
            && let Some(known) = self.cache.load_record::<TagRecord>(&record)?
            && known.reference == self.name()
            && let Some(bytes) = self.cached(known.digest)?
        {
            self.say_meaning(known.digest, "as it was pulled before");
            return Ok((known.digest, bytes));
        }
        let tag = self.reference.tag();
        let limit = self.limits.document_bytes;
        let received = self.ask(async |client| client.manifest(tag, None, limit).await)?;
        let digest = Digest::of(&received.bytes);
        self.check_type(&received, &digest)?;
        self.keep(digest, &received.bytes)?;
        let meaning = TagRecord {
            reference: self.name(),
            digest,
            asked_at_ms: now_ms(),
        };
        self.learned = Some((record, meaning));
        self.say_meaning(digest, "as its registry says now");
        Ok((digest, received.bytes))
    }

    /// The reference with its tag, also where that goes without saying.
    fn name(&self) -> String {
        let reference = self.reference;
        let (registry, path) = (reference.registry(), reference.repository());
        format!("{registry}/{path}:{}", reference.tag())
    }

    fn tag_record(&self) -> Result<RecordName, PullError> {
        let key = Digest::of(self.name().as_bytes());
        Ok(RecordName::new(TAGS, &key.hex())?)
    }

    fn say_meaning(&self, digest: Digest, since: &str) {
        let name = self.name();
        self.progress
            .note(&format!("image `oci:{name}` is `{digest}`, {since}"));
    }

    /// An index or manifest of a digest, from here or from the registry.
    fn manifest(&mut self, digest: Digest, size: Option<u64>) -> Result<Vec<u8>, PullError> {
        self.check_document_size(digest, size)?;
        let bytes = match self.cached(digest)? {
            Some(bytes) => bytes,
            None => {
                let (name, limit) = (digest.to_string(), self.limits.document_bytes);
                let received =
                    self.ask(async |client| client.manifest(&name, Some(digest), limit).await)?;
                self.check_type(&received, &digest)?;
                self.keep(digest, &received.bytes)?;
                received.bytes
            }
        };
        self.check_size(digest, size, &bytes)?;
        Ok(bytes)
    }

    fn config(&mut self, digest: Digest, size: u64) -> Result<Vec<u8>, PullError> {
        self.check_document_size(digest, Some(size))?;
        let bytes = match self.cached(digest)? {
            Some(bytes) => bytes,
            None => {
                let limit = self.limits.document_bytes;
                let received = self.ask(async |client| client.small_blob(digest, limit).await)?;
                self.keep(digest, &received.bytes)?;
                received.bytes
            }
        };
        self.check_size(digest, Some(size), &bytes)?;
        Ok(bytes)
    }

    /// Compares what a registry says a document is with what it is. Types of other things, such as
    /// `application/json`, say nothing.
    fn check_type(&self, received: &Received, digest: &Digest) -> Result<(), PullError> {
        let actual = self.image(oci::type_of(&received.bytes, &digest.to_string()))?;
        match &received.stated_type {
            Some(stated)
                if *stated != actual
                    && oci::DOCUMENT_TYPES.split(", ").any(|known| known == stated) =>
            {
                Err(PullError::StatedType {
                    place: received.place.clone(),
                    stated: stated.clone(),
                    actual,
                })
            }
            _ => Ok(()),
        }
    }

    fn check_document_size(&self, digest: Digest, size: Option<u64>) -> Result<(), PullError> {
        let limit = self.limits.document_bytes;
        match size {
            Some(size) if size > limit => self.image(Err(SourceError::DocumentSize {
                name: digest.to_string(),
                size,
                limit,
            })),
            _ => Ok(()),
        }
    }

    fn check_size(
        &self,
        digest: Digest,
        expected: Option<u64>,
        bytes: &[u8],
    ) -> Result<(), PullError> {
        let actual = bytes.len() as u64;
        match expected {
            Some(expected) if expected != actual => self.image(Err(SourceError::SizeMismatch {
                name: digest,
                expected,
                actual,
            })),
            _ => Ok(()),
        }
    }

    /// A document that is here, its digest compared.
    fn cached(&self, digest: Digest) -> Result<Option<Vec<u8>>, PullError> {
        if !self.is_here(digest)? {
            return Ok(None);
        }
        let Some(entry) = self.cache.entry(&digest)? else {
            return Ok(None);
        };
        if entry.size > self.limits.document_bytes {
            return Ok(None);
        }
        let bytes = std::fs::read(&entry.path).ok();
        Ok(bytes.filter(|bytes| Digest::of(bytes) == digest))
    }

    /// Whether content is here and is what its digest says; what is not is fetched again.
    fn is_here(&self, digest: Digest) -> Result<bool, PullError> {
        match self.cache.verify(&digest) {
            Ok(_) => Ok(true),
            Err(StoreError::Missing { .. } | StoreError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps a document that was compared with its digest.
    fn keep(&self, digest: Digest, bytes: &[u8]) -> Result<(), PullError> {
        let mut staging = self.cache.begin()?;
        let written = std::io::Write::write_all(&mut staging, bytes);
        written.map_err(|source| PullError::Write {
            path: staging.path().into(),
            source,
        })?;
        let kept = self.cache.publish(staging)?.digest;
        debug_assert_eq!(kept, digest);
        Ok(())
    }

    /// The client for the registry; there is none where it is not to be asked.
    fn client(&mut self) -> Result<&Client, PullError> {
        if self.options.pull == PullPolicy::Never {
            return Err(PullError::NotPulled {
                reference: self.reference.to_string(),
            });
        }
        if self.client.is_none() {
            let client = Client::new(self.reference, self.options)?;
            if client.is_insecure() {
                let registry = self.reference.registry();
                self.progress.note(&format!(
                    "registry `{registry}` is spoken to without TLS: {MVM_INSECURE_REGISTRIES} names it"
                ));
            }
            self.client = Some(client);
        }
        let client = self.client.as_ref();
        Ok(client.expect("made just before where there was none"))
    }

    fn ask<T: Send>(
        &mut self,
        work: impl AsyncFnOnce(&Client) -> Result<T, PullError> + Send,
    ) -> Result<T, PullError> {
        let (progress, name) = (self.progress, self.reference.registry());
        let client = self.client()?;
        progress.stage(&format!("asking registry `{name}`"), None);
        let result = worker::run(progress, async |_| work(client).await)?;
        progress.finish();
        Ok(result)
    }

    fn fetch_layers(&mut self, layers: Vec<(Digest, u64)>) -> Result<(), PullError> {
        let (cache, progress) = (self.cache.clone(), self.progress);
        let client = self.client()?;
        let total = layers.iter().map(|(_, size)| *size).sum();
        progress.stage("pulling layers", Some(total));
        let waiting = Mutex::new(layers.into_iter());
        worker::run(progress, async |teller| {
            let fetch = async || {
                loop {
                    let next = waiting
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .next();
                    let Some((digest, size)) = next else {
                        return Ok(());
                    };
                    let mut staging = cache.begin()?;
                    client.blob(digest, size, &mut staging, &teller).await?;
                    cache.publish(staging)?;
                }
            };
            let fetchers = (0..AT_ONCE).map(|_| fetch());
            // The first that fails ends the others, and their staged files go with them.
            futures::future::try_join_all(fetchers).await.map(|_| ())
        })?;
        progress.finish();
        Ok(())
    }
}

/// Milliseconds since the Unix epoch.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
