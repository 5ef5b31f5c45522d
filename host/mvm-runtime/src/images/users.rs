//! Who needs which image. What cannot be read needs all of them.

use std::{fmt, fs};

use mvm_image::Digest;
use serde::Serialize;

use super::ImageError;
use crate::{Runtime, registry, snapshot, template};

/// Something that needs an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "id", rename_all = "lowercase")]
pub enum ImageUser {
    /// A sandbox, whatever its state: a cold one comes back on it.
    Sandbox(String),
    /// A template, and the spares that were forked from it.
    Template(String),
    /// A snapshot.
    Snapshot(String),
}

impl fmt::Display for ImageUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sandbox(id) => write!(formatter, "sandbox `{id}`"),
            Self::Template(key) => write!(formatter, "template `{key}`"),
            Self::Snapshot(id) => write!(formatter, "snapshot `{id}`"),
        }
    }
}

/// Who needs an image, and which; nothing where that cannot be read.
pub(super) type Users = Vec<(Option<String>, ImageUser)>;

/// Everything that needs an image.
pub(super) fn all(runtime: &Runtime) -> Result<Users, ImageError> {
    let home = runtime.home();
    let mut users = Users::new();
    for sandbox in registry::list(home)? {
        users.push(match sandbox {
            Ok(record) => (
                Some(record.image_digest),
                ImageUser::Sandbox(record.id.to_string()),
            ),
            Err(unreadable) => (None, ImageUser::Sandbox(unreadable.id.to_string())),
        });
    }
    let mut keys = Vec::new();
    for listed in template::list(home)? {
        let digest = listed
            .template
            .ok()
            .map(|it| it.manifest.shape.image_digest);
        keys.push(listed.key.clone());
        users.push((digest, ImageUser::Template(listed.key)));
    }
    // Spares of a template that is gone still run from its image.
    for pool in fs::read_dir(home.spares()).into_iter().flatten().flatten() {
        let key = pool.file_name().to_string_lossy().into_owned();
        let is_empty = fs::read_dir(pool.path()).is_ok_and(|mut spares| spares.next().is_none());
        if !is_empty && !keys.contains(&key) {
            users.push((None, ImageUser::Template(key)));
        }
    }
    for listed in snapshot::list(home)? {
        let digest = listed.record.ok().map(|record| record.image_digest);
        users.push((digest, ImageUser::Snapshot(listed.id.to_string())));
    }
    Ok(users)
}

/// Who needs one image.
pub(super) fn of(users: &Users, image: &Digest) -> Vec<ImageUser> {
    let image = image.to_string();
    let needs = |digest: &Option<String>| digest.as_ref().is_none_or(|digest| *digest == image);
    let of_it = users.iter().filter(|(digest, _)| needs(digest));
    of_it.map(|(_, user)| user.clone()).collect()
}

/// Whether nothing is being made of an image that cannot be seen yet.
pub(super) fn nothing_is_made(runtime: &Runtime) -> Result<(), ImageError> {
    match registry::is_making(runtime.home()) {
        true => Err(ImageError::Busy),
        false => Ok(()),
    }
}
