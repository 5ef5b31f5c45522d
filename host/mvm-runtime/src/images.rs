//! What a user does with images.
//!
//! Who creates a sandbox holds the store from before its image is looked up until the sandbox can be
//! seen ([`mvm_image::Store::hold`]); who removes an image does so while nobody holds it and nothing
//! is being made. So an image is either seen to be used, or nobody is about to use it.

mod error;
mod users;

use std::{path::Path, time::Duration};

use mvm_image::{
    Digest, Store,
    catalog::{self, CatalogImage, ExportFormat, Freed},
    registry::PullPolicy,
};
use serde::Serialize;

use crate::Runtime;

pub use error::ImageError;
pub use users::ImageUser;

/// How long a removal waits for those who are about to use images.
const PATIENCE: Duration = Duration::from_secs(5);
/// Digits of a digest that may stand for it.
const MIN_DIGITS: usize = 8;

/// An image, and who uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageRecord {
    /// What the store says of it.
    #[serde(flatten)]
    pub image: CatalogImage,
    /// Who needs it.
    pub used_by: Vec<ImageUser>,
}

/// An image that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemovedImage {
    /// Of its root filesystem.
    pub digest: Digest,
    /// The sources that gave it.
    pub sources: Vec<String>,
    /// What went with it.
    pub freed: Freed,
}

impl Runtime {
    /// Every image, with who uses it.
    pub fn images(&self) -> Result<Vec<ImageRecord>, ImageError> {
        let store = self.open_store()?;
        let users = users::all(self)?;
        let images = catalog::list(&store)?.into_iter();
        Ok(images
            .map(|image| ImageRecord {
                used_by: users::of(&users, &image.digest),
                image,
            })
            .collect())
    }

    /// The image of a source, or of the digest of a root filesystem or a manifest; the first eight
    /// digits of a digest do.
    pub fn image(&self, name: &str) -> Result<ImageRecord, ImageError> {
        find(self.images()?, name)
    }

    /// Reads all of an image's root filesystem again and compares it with its digest.
    pub fn verify_image(&self, digest: &Digest) -> Result<(), ImageError> {
        self.open_store()?.verify(digest)?;
        Ok(())
    }

    /// Removes an image that nothing needs.
    pub fn remove_image(&self, name: &str) -> Result<RemovedImage, ImageError> {
        let store = self.open_store()?;
        let clearing = store.clear(PATIENCE)?.ok_or(ImageError::Busy)?;
        users::nothing_is_made(self)?;
        let ImageRecord { image, used_by } = self.image(name)?;
        if !used_by.is_empty() {
            return Err(ImageError::Used {
                image: name.to_owned(),
                used_by,
            });
        }
        let freed = catalog::remove(&store, &image.digest, &clearing)?;
        Ok(removed(image, freed))
    }

    /// Removes every image that nothing needs, and what pulls left that failed.
    pub fn prune_images(&self) -> Result<(Vec<RemovedImage>, Freed), ImageError> {
        let store = self.open_store()?;
        let clearing = store.clear(PATIENCE)?.ok_or(ImageError::Busy)?;
        users::nothing_is_made(self)?;
        let unused = self.images()?.into_iter();
        let mut gone = Vec::new();
        for ImageRecord { image, .. } in unused.filter(|record| record.used_by.is_empty()) {
            let freed = catalog::remove(&store, &image.digest, &clearing)?;
            gone.push(removed(image, freed));
        }
        let left = catalog::sweep_pulled(&store, &clearing)?;
        Ok((gone, left))
    }

    /// Writes an image to a file that is not there yet.
    pub fn export_image(
        &self,
        name: &str,
        format: ExportFormat,
        file: &Path,
    ) -> Result<Digest, ImageError> {
        let store = self.open_store()?;
        let _hold = store.hold()?;
        let ImageRecord { image, .. } = self.image(name)?;
        catalog::export(&store, &image, format, file)?;
        Ok(image.digest)
    }

    /// Ask registries under another policy.
    #[must_use]
    pub fn with_pull(mut self, pull: PullPolicy) -> Self {
        self.registry.pull = pull;
        self
    }

    fn open_store(&self) -> Result<Store, ImageError> {
        Ok(Store::open(self.home.store())?)
    }
}

fn removed(image: CatalogImage, freed: Freed) -> RemovedImage {
    RemovedImage {
        digest: image.digest,
        sources: image.sources,
        freed,
    }
}

fn find(images: Vec<ImageRecord>, name: &str) -> Result<ImageRecord, ImageError> {
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    let may_be_digest =
        digits.len() >= MIN_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let matches = |record: &ImageRecord| {
        let image = &record.image;
        let mut digests = image.manifests.iter().chain([&image.digest]);
        image.sources.iter().any(|source| source == name)
            || (may_be_digest && digests.any(|digest| digest.hex().starts_with(digits)))
    };
    let mut found: Vec<ImageRecord> = images.into_iter().filter(matches).collect();
    match (found.pop(), found.len()) {
        (Some(record), 0) => Ok(record),
        (None, _) => Err(ImageError::NotFound {
            image: name.to_owned(),
        }),
        (Some(_), others) => Err(ImageError::Ambiguous {
            image: name.to_owned(),
            count: others + 1,
        }),
    }
}
