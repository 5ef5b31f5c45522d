//! Which snapshots there are.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use mvm_contract::{SandboxName, SnapshotId};

use super::{
    HostKey, ListedSnapshot, SnapshotError, SnapshotRecord,
    manifest::{Manifest, SavedMemory},
};
use crate::{
    folder::{self, LockedFolder},
    home::Home,
    random,
};

/// A fresh identifier.
pub(crate) fn new_id() -> Result<SnapshotId, SnapshotError> {
    let bits = random::bits().map_err(SnapshotError::Random)?;
    Ok(SnapshotId::from_random(bits))
}

/// A folder for a snapshot to be written into; gone when it is dropped before it was published.
pub(crate) fn stage(home: &Home, id: &SnapshotId) -> Result<LockedFolder, SnapshotError> {
    Ok(LockedFolder::create(&home.staging(), id.as_str())?)
}

/// Makes a snapshot visible under its identifier, if its name is free.
pub(crate) fn publish(
    home: &Home,
    staged: LockedFolder,
    id: &SnapshotId,
    name: Option<&SandboxName>,
) -> Result<(), SnapshotError> {
    let path = home.snapshots().join(".lock");
    let mut options = fs::OpenOptions::new();
    let lock = options.write(true).create(true).truncate(false).mode(0o600);
    let lock = lock.open(&path).and_then(|file| file.lock().map(|()| file));
    let _lock = lock.map_err(SnapshotError::file("lock", &path))?;
    if let Some(name) = name {
        check_name_free(home, name)?;
    }
    publish_at(staged, &home.snapshot(id))
}

/// Moves a written snapshot to its place in one step.
pub(crate) fn publish_at(mut staged: LockedFolder, place: &Path) -> Result<(), SnapshotError> {
    staged.rename(place)?;
    drop(staged.keep());
    if let Some(parent) = place.parent() {
        let synced = fs::File::open(parent).and_then(|directory| directory.sync_all());
        synced.map_err(SnapshotError::file("sync", parent))?;
    }
    Ok(())
}

fn check_name_free(home: &Home, name: &SandboxName) -> Result<(), SnapshotError> {
    match find_name(home, name)? {
        Some(id) => Err(SnapshotError::NameTaken {
            name: name.clone(),
            id,
        }),
        None => Ok(()),
    }
}

/// Whether a folder holds a snapshot; says nothing of its truth.
pub(crate) fn is_complete(folder: &Path) -> bool {
    folder.join("manifest.mac").exists()
}

/// The folder of the snapshot of a name or identifier.
pub(crate) fn find(home: &Home, snapshot: &str) -> Result<(SnapshotId, PathBuf), SnapshotError> {
    let not_found = || SnapshotError::NotFound {
        snapshot: snapshot.to_owned(),
    };
    let id = match snapshot.parse::<SnapshotId>() {
        Ok(id) => id,
        Err(_) => {
            let name =
                snapshot
                    .parse::<SandboxName>()
                    .map_err(|source| SnapshotError::Identity {
                        snapshot: snapshot.to_owned(),
                        source,
                    })?;
            find_name(home, &name)?.ok_or_else(not_found)?
        }
    };
    let folder = home.snapshot(&id);
    if !folder.is_dir() {
        return Err(not_found());
    }
    Ok((id, folder))
}

fn find_name(home: &Home, name: &SandboxName) -> Result<Option<SnapshotId>, SnapshotError> {
    let key = HostKey::load(home)?;
    // One that cannot be read has no name.
    let named = folders(home)?.into_iter().find(|(_, folder)| {
        Manifest::read(folder, &key).is_ok_and(|manifest| manifest.name.as_ref() == Some(name))
    });
    Ok(named.map(|(id, _)| id))
}

fn folders(home: &Home) -> Result<Vec<(SnapshotId, PathBuf)>, SnapshotError> {
    let directory = home.snapshots();
    let entries = fs::read_dir(&directory).map_err(SnapshotError::file("list", &directory))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            Some((id, entry.path()))
        })
        .collect())
}

/// Every snapshot, the oldest first.
pub(crate) fn list(home: &Home) -> Result<Vec<ListedSnapshot>, SnapshotError> {
    let key = HostKey::load(home)?;
    let mut found: Vec<ListedSnapshot> = folders(home)?
        .into_iter()
        .map(|(id, folder)| ListedSnapshot {
            id,
            record: Manifest::read(&folder, &key).map(|manifest| record(&manifest)),
        })
        .collect();
    found.sort_by_key(|listed| {
        let created = listed
            .record
            .as_ref()
            .map_or(0, |record| record.created_at_ms);
        (created, listed.id.clone())
    });
    Ok(found)
}

/// What is said of the snapshot in a folder.
pub(crate) fn read(home: &Home, folder: &Path) -> Result<SnapshotRecord, SnapshotError> {
    manifest_of(home, folder).map(|manifest| record(&manifest))
}

/// The manifest of the snapshot in a folder.
pub(crate) fn manifest_of(home: &Home, folder: &Path) -> Result<Manifest, SnapshotError> {
    Manifest::read(folder, &HostKey::load(home)?)
}

/// The identifier of the snapshot in a folder.
pub(crate) fn id_of(home: &Home, folder: &Path) -> Result<SnapshotId, SnapshotError> {
    manifest_of(home, folder).map(|manifest| manifest.id)
}

/// Removes a snapshot. Sandboxes that go on from it have all they need.
pub(crate) fn remove(home: &Home, snapshot: &str) -> Result<SnapshotId, SnapshotError> {
    let (id, folder) = find(home, snapshot)?;
    folder::discard(home, &folder)?;
    Ok(id)
}

fn record(manifest: &Manifest) -> SnapshotRecord {
    let (method, reason) = match &manifest.memory {
        SavedMemory::Delta { .. } => ("delta", None),
        SavedMemory::Stream { reason } => ("stream", Some(reason.clone())),
    };
    let memory_file = match manifest.memory {
        SavedMemory::Delta { .. } => super::manifest::PAGES,
        SavedMemory::Stream { .. } => super::manifest::STATE,
    };
    let files = manifest.files.iter();
    SnapshotRecord {
        id: manifest.id.clone(),
        name: manifest.name.clone(),
        sandbox: manifest.sandbox.clone(),
        image: manifest.spec.image.clone(),
        image_digest: manifest.image_digest.clone(),
        created_at_ms: manifest.created_at_ms,
        method: method.to_owned(),
        reason,
        template: manifest.template().map(str::to_owned),
        bytes: manifest.bytes(),
        memory_bytes: files
            .filter(|file| file.name == memory_file)
            .map(|file| file.bytes)
            .sum(),
        pause_ms: manifest.pause_microseconds as f64 / 1000.0,
    }
}
