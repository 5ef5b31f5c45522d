//! Files as a tar archive whose bytes follow from the files alone: sorted by path, owned by root,
//! at one time, and executable or not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::ComposeError;
use crate::debian::SOURCE_DATE_EPOCH;
use crate::hashing::Hashing;
use mvm_contract::Digest;

/// Files to put above an image, by their path without the leading `/`.
pub type LayerTree = BTreeMap<String, LayerFile>;

/// One file of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerFile {
    /// What it holds.
    pub content: LayerContent,
    /// Its permission bits; those of a symbolic link do not count.
    pub mode: u32,
}

/// What a file of a layer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerContent {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What a file of the host holds, as its digest was taken before.
    Host {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The digest of its content.
        digest: Digest,
    },
    /// A symbolic link.
    Symlink(String),
    /// A directory with nothing in it.
    Directory,
}

/// A layer that is written.
pub(super) struct Written {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// Writes the archive into a directory of blobs, under its digest.
pub(super) fn write(files: &LayerTree, blobs: &Path) -> Result<Written, ComposeError> {
    let failed = |source| ComposeError::Write {
        directory: blobs.into(),
        source,
    };
    let place = blobs.join("above");
    let file = File::create_new(&place).map_err(failed)?;
    let file = BufWriter::with_capacity(1 << 20, file);
    let mut archive = Builder::new(Hashing::new(file));
    for (path, file) in files {
        append(&mut archive, path, file).map_err(|error| match error {
            AppendError::Write(source) => failed(source),
            AppendError::File(error) => error,
        })?;
    }
    let (file, digest, size) = archive.into_inner().map_err(failed)?.finish();
    let file = file
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&place, blobs.join(digest.hex())).map_err(failed)?;
    Ok(Written { digest, size })
}

enum AppendError {
    Write(io::Error),
    File(ComposeError),
}

fn append(
    archive: &mut Builder<impl Write>,
    path: &str,
    file: &LayerFile,
) -> Result<(), AppendError> {
    let mut header = Header::new_gnu();
    header.set_mode(file.mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(SOURCE_DATE_EPOCH);
    match &file.content {
        LayerContent::Bytes(bytes) => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(bytes.len() as u64);
            archive
                .append_data(&mut header, path, bytes.as_slice())
                .map_err(AppendError::Write)
        }
        LayerContent::Directory => {
            header.set_entry_type(EntryType::Directory);
            header.set_size(0);
            archive
                .append_data(&mut header, path, io::empty())
                .map_err(AppendError::Write)
        }
        LayerContent::Symlink(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            archive
                .append_link(&mut header, path, target)
                .map_err(AppendError::Write)
        }
        LayerContent::Host {
            path: source,
            size,
            digest,
        } => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(*size);
            let opened = File::open(source).map_err(|error| {
                AppendError::File(ComposeError::Read {
                    path: source.clone(),
                    source: error,
                })
            })?;
            let mut content = Checked {
                file: opened.take(*size),
                hash: Sha256::new(),
                read: 0,
            };
            archive
                .append_data(&mut header, path, &mut content)
                .map_err(AppendError::Write)?;
            // One that became shorter has another digest, too.
            let actual = Digest::from_bytes(content.hash.finalize().into());
            if content.read == *size && actual == *digest {
                Ok(())
            } else {
                let path = source.clone();
                Err(AppendError::File(ComposeError::Changed { path }))
            }
        }
    }
}

struct Checked {
    file: io::Take<File>,
    hash: Sha256,
    read: u64,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.read += count as u64;
        Ok(count)
    }
}
