//! A snapshot as one file, with the template it needs.
//!
//! A tar archive (POSIX.1-2001 ustar) compressed with Zstandard (RFC 8878):
//!
//! ```text
//! snapshot/{manifest.json,manifest.mac,state,pages,disk}    as in the state directory
//! template/{template.json,template.mac,state}               when it needs one
//! template/{memory,disk.img}                                as differences to zeros
//! ```
//!
//! Nothing of an archive is believed: what is imported is what the host's own key vouches for, and
//! only the names above are read.

use std::{
    fs::{self, File},
    io::{self, Read, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use mvm_contract::SnapshotId;

use super::{
    HostKey, SnapshotError, find,
    manifest::{DISK, Manifest, PAGES, STATE},
    open::zeros,
    publish, stage,
};
use crate::{
    disk,
    folder::LockedFolder,
    home::Home,
    template::{self, Template, TemplateManifest},
};

const SNAPSHOT_FILES: [&str; 5] = ["manifest.json", "manifest.mac", STATE, PAGES, DISK];
const TEMPLATE_MANIFEST: &str = "template.json";
const TEMPLATE_CODE: &str = "template.mac";
/// The longest manifest or code, bytes.
const MAX_TEXT_BYTES: u64 = 4 << 20;
/// The most that follows the last file of an archive.
const MAX_PADDING_BYTES: u64 = 64 * 1024;
const LEVEL: i32 = 3;

/// Writes a snapshot to a file (0600) that is not there yet.
pub(crate) fn export(
    home: &Home,
    snapshot: &str,
    target: &Path,
) -> Result<SnapshotId, SnapshotError> {
    let (id, folder) = find(home, snapshot)?;
    let key = HostKey::load(home)?;
    let manifest = Manifest::read(&folder, &key)?;
    let scratch = LockedFolder::create(&home.staging(), &format!("export-{id}"))?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let partial = target.with_file_name(format!(".{name}.part"));
    let failed = SnapshotError::file("write", target);
    let written = (|| {
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600);
        let file = file
            .open(&partial)
            .map_err(SnapshotError::file("create", &partial))?;
        let encoder = zstd::Encoder::new(file, LEVEL).and_then(|mut encoder| {
            encoder.include_checksum(true)?;
            Ok(encoder)
        });
        let mut archive =
            tar::Builder::new(encoder.map_err(SnapshotError::file("write", &partial))?);
        for name in SNAPSHOT_FILES {
            let path = folder.join(name);
            if path.exists() {
                append(&mut archive, &format!("snapshot/{name}"), &path)?;
            }
        }
        if let Some(template) = manifest.template() {
            append_template(home, template, &key, &scratch, &mut archive)?;
        }
        archive
            .into_inner()
            .and_then(zstd::Encoder::finish)
            .and_then(|file| file.sync_all())
            .map_err(SnapshotError::file("write", &partial))?;
        fs::hard_link(&partial, target).map_err(failed)
    })();
    let _ = fs::remove_file(&partial);
    written.map(|()| id)
}

type Archive = tar::Builder<zstd::Encoder<'static, File>>;

fn append(archive: &mut Archive, name: &str, path: &Path) -> Result<(), SnapshotError> {
    let file = File::open(path).map_err(SnapshotError::file("open", path))?;
    let size = file
        .metadata()
        .map_err(SnapshotError::file("read", path))?
        .len();
    append_bytes(archive, name, size, file).map_err(SnapshotError::file("archive", path))
}

fn append_bytes(
    archive: &mut Archive,
    name: &str,
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o600);
    header.set_size(size);
    archive.append_data(&mut header, name, content)
}

fn append_template(
    home: &Home,
    key: &str,
    host_key: &HostKey,
    scratch: &LockedFolder,
    archive: &mut Archive,
) -> Result<(), SnapshotError> {
    let failed = |source| SnapshotError::Template {
        snapshot: scratch.path().to_owned(),
        source,
    };
    let template = template::load_checked(home, key).map_err(failed)?;
    let path = template.folder.join(TEMPLATE_MANIFEST);
    let manifest = fs::read(&path).map_err(SnapshotError::file("read", &path))?;
    let code = host_key.authenticate(&manifest);
    for (name, bytes) in [
        (TEMPLATE_MANIFEST, &manifest[..]),
        (TEMPLATE_CODE, code.as_bytes()),
    ] {
        let name = format!("template/{name}");
        append_bytes(archive, &name, bytes.len() as u64, bytes)
            .map_err(SnapshotError::file("archive", &path))?;
    }
    append(archive, "template/state", &template.state())?;
    for (name, path) in [
        (template::MEMORY, template.memory()),
        (template::DISK, template.disk()),
    ] {
        let file = File::open(&path).map_err(SnapshotError::file("open", &path))?;
        let size = file
            .metadata()
            .map_err(SnapshotError::file("read", &path))?
            .len();
        let difference = scratch.path().join(name);
        let mut out = new_file(&difference)?;
        disk::write_delta(&zeros(scratch.path(), size)?, &file, &mut out)
            .map_err(|error| SnapshotError::Disk(error.into()))?;
        append(archive, &format!("template/{name}"), &difference)?;
    }
    Ok(())
}

/// Reads a snapshot, and the template it needs when that is not here.
pub(crate) fn import(home: &Home, source: &Path) -> Result<SnapshotId, SnapshotError> {
    let key = HostKey::load(home)?;
    let scratch = LockedFolder::create(
        &home.staging(),
        &format!(
            "import-{:032x}",
            crate::random::bits().map_err(SnapshotError::Random)?
        ),
    )?;
    for directory in ["snapshot", "template"] {
        let path = scratch.path().join(directory);
        fs::create_dir(&path).map_err(SnapshotError::file("create", &path))?;
    }
    unpack(source, scratch.path())?;
    let unpacked = scratch.path().join("snapshot");
    let manifest = Manifest::read(&unpacked, &key)?;
    for file in &manifest.files {
        if let Some(name) = [STATE, PAGES, DISK]
            .into_iter()
            .find(|name| *name == file.name)
        {
            manifest.open(&unpacked, name)?;
        }
    }
    if let Some(template) = manifest.template() {
        import_template(home, template, &key, &scratch.path().join("template"))?;
    }
    let staged = stage(home, &manifest.id)?;
    for name in SNAPSHOT_FILES {
        let (from, to) = (unpacked.join(name), staged.path().join(name));
        if from.exists() {
            fs::rename(&from, &to).map_err(SnapshotError::file("move", &from))?;
        }
    }
    publish(home, staged, &manifest.id, manifest.name.as_ref())?;
    Ok(manifest.id)
}

/// Unpacks the files an archive of a snapshot has, and none else.
fn unpack(source: &Path, target: &Path) -> Result<(), SnapshotError> {
    let wrong = |what: String| SnapshotError::Archive {
        path: source.to_owned(),
        what,
    };
    let broken = |error: io::Error| wrong(error.to_string());
    let file = File::open(source).map_err(SnapshotError::file("open", source))?;
    let decoder = zstd::Decoder::new(file).map_err(broken)?;
    let mut archive = tar::Archive::new(decoder);
    let template_files = [
        TEMPLATE_MANIFEST,
        TEMPLATE_CODE,
        template::STATE,
        template::MEMORY,
        template::DISK,
    ];
    let known: Vec<String> = SNAPSHOT_FILES
        .iter()
        .map(|name| format!("snapshot/{name}"))
        .chain(template_files.iter().map(|name| format!("template/{name}")))
        .collect();
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let is_file = entry.header().entry_type() == tar::EntryType::Regular;
        if !is_file || !known.contains(&name) {
            return Err(wrong(format!(
                "`{}` does not belong in one",
                name.escape_debug()
            )));
        }
        let path = target.join(&name);
        let mut out = new_file(&path)?;
        let copied = io::copy(&mut entry, &mut out).map_err(broken)?;
        if copied != entry.size() {
            return Err(wrong(format!("`{name}` is cut off")));
        }
    }
    // What follows the last file is padding, and then the checksum of all.
    let mut rest = archive.into_inner().take(MAX_PADDING_BYTES);
    let padding = io::copy(&mut rest, &mut io::sink()).map_err(broken)?;
    if padding == MAX_PADDING_BYTES {
        return Err(wrong("it goes on after its end".to_owned()));
    }
    Ok(())
}

fn import_template(
    home: &Home,
    key: &str,
    host_key: &HostKey,
    unpacked: &Path,
) -> Result<(), SnapshotError> {
    let mismatch = |what, expected: String, found: String| SnapshotError::Mismatch {
        snapshot: unpacked.to_owned(),
        what,
        expected,
        found,
    };
    let read = |name: &str| -> Result<Vec<u8>, SnapshotError> {
        let path = unpacked.join(name);
        let file = File::open(&path).map_err(SnapshotError::part(unpacked, &path))?;
        let mut bytes = Vec::new();
        let read = file.take(MAX_TEXT_BYTES).read_to_end(&mut bytes);
        read.map_err(SnapshotError::file("read", &path))?;
        Ok(bytes)
    };
    let manifest_bytes = read(TEMPLATE_MANIFEST)?;
    let code = String::from_utf8_lossy(&read(TEMPLATE_CODE)?).into_owned();
    if !host_key.verifies(&manifest_bytes, &code) {
        let expected = "what this host's key vouches for".to_owned();
        return Err(mismatch("template", expected, "another".to_owned()));
    }
    let manifest: TemplateManifest = serde_json::from_slice(&manifest_bytes).map_err(|error| {
        let expected = "a manifest of this version".to_owned();
        mismatch("template", expected, error.to_string())
    })?;
    if manifest.shape.key() != key {
        return Err(mismatch("template", key.to_owned(), manifest.shape.key()));
    }
    let failed = |source| SnapshotError::Template {
        snapshot: unpacked.to_owned(),
        source,
    };
    let lock = template::lock(home, key).map_err(failed)?;
    if template::load(home, key).is_ok_and(|present| {
        present.is_some_and(|present| {
            present.manifest.memory.digest == manifest.memory.digest && present.check().is_ok()
        })
    }) {
        return Ok(());
    }
    let folder = LockedFolder::create(&home.staging(), &format!("template-{key}"))?;
    let resources = manifest.shape.resources;
    for (name, mib) in [
        (template::MEMORY, resources.memory_mib),
        (template::DISK, resources.disk_mib),
    ] {
        let path = folder.path().join(name);
        let file = new_file(&path)?;
        file.set_len(u64::from(mib) << 20)
            .map_err(SnapshotError::file("size", &path))?;
        let difference = unpacked.join(name);
        let mut difference =
            File::open(&difference).map_err(SnapshotError::part(unpacked, &difference))?;
        disk::apply_delta(&mut difference, &file)
            .map_err(|error| SnapshotError::Disk(error.into()))?;
    }
    let path = folder.path().join(template::STATE);
    new_file(&path)?
        .write_all(&read(template::STATE)?)
        .map_err(SnapshotError::file("write", &path))?;
    // The seals are of these files; their content is to be what it was.
    let TemplateManifest {
        image,
        shape,
        created_at_ms,
        port,
        connection_key,
        ..
    } = manifest.clone();
    let sealed = TemplateManifest::seal(
        folder.path(),
        image,
        shape,
        created_at_ms,
        port,
        connection_key,
    );
    let imported = Template {
        key: key.to_owned(),
        folder: folder.path().to_owned(),
        manifest,
    };
    sealed.map_err(failed)?;
    imported.verify().map_err(failed)?;
    template::publish(home, folder, &lock)?;
    Ok(())
}

fn new_file(path: &Path) -> Result<File, SnapshotError> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options
        .open(path)
        .map_err(SnapshotError::file("create", path))
}
