//! Which templates there are.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use super::{Template, TemplateError, TemplateManifest, TemplateShape};
use crate::{
    folder::{self, FolderError, LockedFolder},
    home::Home,
};

/// Held by whoever makes or removes the template of a key; its file stays.
#[derive(Debug)]
pub(crate) struct TemplateLock {
    key: String,
    _file: File,
}

/// Takes the right to make or remove the template of a key; waits for whoever has it.
pub(crate) fn lock(home: &Home, key: &str) -> Result<TemplateLock, TemplateError> {
    let path = home.templates().join(format!(".{key}.lock"));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options
        .open(&path)
        .map_err(TemplateError::io("open", &path))?;
    file.lock().map_err(TemplateError::io("lock", &path))?;
    Ok(TemplateLock {
        key: key.to_owned(),
        _file: file,
    })
}

/// The template of a key, its seals unchecked.
pub(crate) fn load(home: &Home, key: &str) -> Result<Option<Template>, TemplateError> {
    let folder = home.templates().join(key);
    let manifest = TemplateManifest::read(&folder, key)?;
    Ok(manifest.map(|manifest| Template {
        key: key.to_owned(),
        folder,
        manifest,
    }))
}

/// The template of a key, its seals checked.
pub(crate) fn load_checked(home: &Home, key: &str) -> Result<Template, TemplateError> {
    let template = load(home, key)?.ok_or_else(|| TemplateError::NotFound {
        key: key.to_owned(),
    })?;
    template.check()?;
    Ok(template)
}

/// The template of a shape, when there is one that can be used.
pub(crate) fn find(home: &Home, shape: &TemplateShape) -> Option<Template> {
    let template = load(home, &shape.key()).ok()??;
    let usable = template.check().is_ok() && why_stale(&template, shape).is_none();
    usable.then_some(template)
}

/// Why a template cannot be used for a shape of the same key.
fn why_stale(template: &Template, shape: &TemplateShape) -> Option<String> {
    let difference = template.manifest.shape.machine.difference(&shape.machine)?;
    Some(format!("another {}", difference.what))
}

/// Makes a template visible. One of the same key that is there, and cannot be used, makes room.
pub(crate) fn publish(
    home: &Home,
    mut folder: LockedFolder,
    lock: &TemplateLock,
) -> Result<(), FolderError> {
    let place = home.templates().join(&lock.key);
    folder::discard(home, &place)?;
    folder.rename(&place)?;
    drop(folder.keep());
    Ok(())
}

/// A template that is there, or one that cannot be read.
pub(crate) struct ListedTemplate {
    pub(crate) key: String,
    pub(crate) template: Result<Template, TemplateError>,
}

/// Every template that is there, and those that cannot be read.
pub(crate) fn list(home: &Home) -> Result<Vec<ListedTemplate>, TemplateError> {
    let directory = home.templates();
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory).map_err(TemplateError::io("list", &directory))? {
        let entry = entry.map_err(TemplateError::io("list", &directory))?;
        let Ok(key) = entry.file_name().into_string() else {
            continue;
        };
        if key.starts_with('.') {
            continue;
        }
        if let Some(template) = load(home, &key).transpose() {
            found.push(ListedTemplate { key, template });
        }
    }
    found.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(found)
}

/// Removes the template of a key.
pub(crate) fn remove(home: &Home, lock: &TemplateLock) -> Result<(), TemplateError> {
    let folder: PathBuf = home.templates().join(&lock.key);
    if !folder.exists() {
        return Err(TemplateError::NotFound {
            key: lock.key.clone(),
        });
    }
    folder::discard(home, &folder).map_err(
        |FolderError {
             doing,
             path,
             source,
         }| {
            let source: io::Error = source;
            TemplateError::Io {
                doing,
                path,
                source,
            }
        },
    )
}
