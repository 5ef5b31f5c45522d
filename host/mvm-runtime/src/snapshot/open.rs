//! Opening a snapshot: each part is checked before anything of it is used.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use mvm_image::Digest;
use mvm_vmm::Host;

use super::{
    DiskFailure, HostKey, Pages, SnapshotError,
    manifest::{DISK, DiskBase, Manifest, PAGES, STATE, SavedMemory},
    read_pages,
};
use crate::{
    disk,
    home::Home,
    machine_facts::MachineFacts,
    sparse_file,
    template::{self, Template, TemplateError},
};

/// A snapshot that fits this host, with its disk, which was checked and is at its start.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) manifest: Manifest,
    pub(crate) template: Option<Template>,
    pub(crate) disk: File,
}

/// What a machine goes on from: checked, and at its start.
pub(crate) struct MachineParts {
    pub(crate) state: File,
    /// Nothing where the memory is in the state's stream.
    pub(crate) pages: Option<Pages>,
}

/// Opens the snapshot in a folder for use on this host.
pub(crate) fn open(home: &Home, folder: &Path, host: &Host) -> Result<Opened, SnapshotError> {
    let key = HostKey::load(home)?;
    let manifest = Manifest::read(folder, &key)?;
    check_fits(&manifest, folder, host)?;
    let template = match manifest.template() {
        Some(key) => Some(open_template(home, key, &manifest, folder)?),
        None => None,
    };
    let disk = manifest.open(folder, DISK)?;
    Ok(Opened {
        manifest,
        template,
        disk,
    })
}

/// Opens what the machine of a snapshot goes on from. It reads all of it, which takes longest.
pub(crate) fn open_machine(
    manifest: &Manifest,
    folder: &Path,
) -> Result<MachineParts, SnapshotError> {
    let state = manifest.open(folder, STATE)?;
    let pages = match manifest.memory {
        SavedMemory::Delta { .. } => {
            let pages = read_pages(manifest.open(folder, PAGES)?);
            Some(pages.map_err(SnapshotError::file("read", &folder.join(PAGES)))?)
        }
        SavedMemory::Stream { .. } => None,
    };
    Ok(MachineParts { state, pages })
}

/// Whether a snapshot is of a machine and an image as this host has them.
pub(crate) fn check_fits(
    manifest: &Manifest,
    folder: &Path,
    host: &Host,
) -> Result<(), SnapshotError> {
    let here = MachineFacts::of(host, &manifest.spec.resources);
    if let Some(difference) = manifest.machine.difference(&here) {
        return Err(SnapshotError::Mismatch {
            snapshot: folder.to_owned(),
            what: difference.what,
            expected: difference.expected,
            found: difference.found,
        });
    }
    check_image(manifest, folder)
}

/// The root filesystem is the one the guest had: by the store's seal.
fn check_image(manifest: &Manifest, folder: &Path) -> Result<(), SnapshotError> {
    let refused = |found: String| SnapshotError::Mismatch {
        snapshot: folder.to_owned(),
        what: "image",
        expected: manifest.image_digest.clone(),
        found,
    };
    let store = manifest
        .image_path
        .ancestors()
        .nth(3)
        .ok_or_else(|| refused("no store".to_owned()))?;
    let store = mvm_image::Store::open(store).map_err(|error| refused(error.to_string()))?;
    let digest = manifest.image_digest.parse::<Digest>();
    let digest = digest.map_err(|error| refused(error.to_string()))?;
    match store.entry(&digest) {
        Ok(Some(entry)) => entry
            .check_seal()
            .map_err(|error| refused(error.to_string())),
        Ok(None) => Err(refused("none in the store".to_owned())),
        Err(error) => Err(refused(error.to_string())),
    }
}

fn open_template(
    home: &Home,
    key: &str,
    manifest: &Manifest,
    folder: &Path,
) -> Result<Template, SnapshotError> {
    let failed = |source| SnapshotError::Template {
        snapshot: folder.to_owned(),
        source,
    };
    let template = template::load_checked(home, key).map_err(failed)?;
    let differs = |what, expected: &Digest, found: &Digest| {
        Err(SnapshotError::Mismatch {
            snapshot: folder.to_owned(),
            what,
            expected: expected.to_string(),
            found: found.to_string(),
        })
    };
    let found = &template.manifest;
    if let SavedMemory::Delta {
        template_memory, ..
    } = &manifest.memory
        && *template_memory != found.memory.digest
    {
        return differs("template's memory", template_memory, &found.memory.digest);
    }
    if let DiskBase::Template { template_disk, .. } = &manifest.disk_base
        && *template_disk != found.disk.digest
    {
        return differs("template's disk", template_disk, &found.disk.digest);
    }
    Ok(template)
}

/// Makes the disk of a snapshot at `target`, which is not there or is a leftover.
pub(crate) fn restore_disk(
    manifest: &Manifest,
    template: Option<&Template>,
    delta: &mut File,
    target: &Path,
    folder: &Path,
) -> Result<(), SnapshotError> {
    match fs::remove_file(target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(SnapshotError::file("remove", target)(error)),
    }
    match (&manifest.disk_base, template) {
        (DiskBase::Template { .. }, Some(template)) => {
            sparse_file::copy(&template.disk(), target)?;
        }
        (DiskBase::Zeros { bytes }, _) => {
            let mut options = fs::OpenOptions::new();
            let file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(target);
            file.and_then(|file| file.set_len(*bytes))
                .map_err(SnapshotError::file("create", target))?;
        }
        (DiskBase::Template { template, .. }, None) => {
            return Err(SnapshotError::Template {
                snapshot: folder.to_owned(),
                source: TemplateError::NotFound {
                    key: template.clone(),
                },
            });
        }
    }
    let mut options = fs::OpenOptions::new();
    let disk = options.read(true).write(true).open(target);
    let disk = disk.map_err(SnapshotError::file("open", target))?;
    disk::apply_delta(delta, &disk).map_err(|error| SnapshotError::Disk(DiskFailure(error)))
}

/// A file of zeros, without a name, on the file system of `folder`.
pub(crate) fn zeros(folder: &Path, bytes: u64) -> Result<File, SnapshotError> {
    let path = folder.join("zeros");
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(&path).and_then(|file| {
        fs::remove_file(&path)?;
        file.set_len(bytes)?;
        Ok(file)
    });
    file.map_err(SnapshotError::file("create", &path))
}
