//! Image archives, read in place: an index of member names to byte ranges.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::SourceError;
use super::blobs::open_regular;
use crate::layer::{Blob, BlobReader};
use crate::limits::Limits;
use crate::tar::{EntryKind, TarEntry, TarReader, printable};

/// Symlinks followed inside an archive before giving up.
const FOLLOWED: usize = 8;

/// An uncompressed tar file and where its members are.
pub(super) struct Archive {
    path: PathBuf,
    blob: Blob,
    members: BTreeMap<String, Member>,
}

enum Member {
    File { offset: u64, size: u64 },
    Directory,
    Symlink { target: String },
}

impl Archive {
    /// Opens and indexes `path`, reading headers only.
    pub(super) fn open(path: &Path, limits: &Limits) -> Result<Self, SourceError> {
        let blob = open_regular(path)?;
        let compression = match leading_bytes(&blob, path)? {
            [0x1f, 0x8b, ..] => Some("gzip"),
            [0x28, 0xb5, 0x2f, 0xfd] => Some("zstd"),
            _ => None,
        };
        if let Some(compression) = compression {
            return Err(SourceError::CompressedArchive {
                path: path.into(),
                compression,
            });
        }
        // The content of members is not bounded by what an image may unpack.
        let limits = Limits {
            file_bytes: u64::MAX,
            ..*limits
        };
        let mut archive = Self {
            path: path.into(),
            blob: blob.clone(),
            members: BTreeMap::new(),
        };
        let mut reader = TarReader::new(BufReader::new(blob.reader()), &limits);
        let failed = |source| SourceError::Index {
            path: path.into(),
            source,
        };
        while let Some(entry) = reader.next_seeking().map_err(failed)? {
            if archive.members.len() >= limits.archive_entries {
                let limit = limits.archive_entries;
                return Err(SourceError::Members {
                    path: path.into(),
                    limit,
                });
            }
            archive.add(entry)?;
        }
        Ok(archive)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The bytes of a member, following symlinks between members.
    pub(super) fn file(&self, name: &str) -> Result<Option<Blob>, SourceError> {
        let mut name = name.to_owned();
        for _ in 0..FOLLOWED {
            match self.members.get(&name) {
                None => return Ok(None),
                Some(Member::File { offset, size }) => {
                    let blob = Blob {
                        offset: *offset,
                        size: *size,
                        ..self.blob.clone()
                    };
                    return Ok(Some(blob));
                }
                Some(Member::Directory) => return Err(self.refuse(name, "not a regular file")),
                Some(Member::Symlink { target }) => {
                    name = match resolve_link(&name, target) {
                        Some(next) => next,
                        None => return Err(self.refuse(name, "a symlink out of the archive")),
                    };
                }
            }
        }
        Err(self.refuse(name, "a symlink in a loop"))
    }

    fn add(&mut self, entry: TarEntry) -> Result<(), SourceError> {
        let shown = || printable(&entry.path);
        let written = match String::from_utf8(entry.path.clone()) {
            Ok(written) => written,
            Err(_) => return Err(self.refuse(shown(), "not named in UTF-8")),
        };
        if written.starts_with('/') {
            return Err(self.refuse(shown(), "an absolute path"));
        }
        let parts: Vec<_> = written
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        if parts.contains(&"..") || written.contains('\0') {
            return Err(self.refuse(shown(), "a path out of the archive"));
        }
        let member = match entry.kind {
            EntryKind::Regular => Member::File {
                offset: entry.offset,
                size: entry.size,
            },
            EntryKind::Directory => Member::Directory,
            EntryKind::Symlink { ref target } => match String::from_utf8(target.clone()) {
                Ok(target) => Member::Symlink { target },
                Err(_) => return Err(self.refuse(shown(), "a symlink not named in UTF-8")),
            },
            _ => return Err(self.refuse(shown(), "neither file, directory nor symlink")),
        };
        let directory = matches!(member, Member::Directory);
        match self.members.insert(parts.join("/"), member) {
            Some(Member::Directory) if directory => Ok(()),
            Some(_) => Err(self.refuse(shown(), "there twice")),
            None => Ok(()),
        }
    }

    fn refuse(&self, member: String, problem: &'static str) -> SourceError {
        SourceError::Member {
            path: self.path.clone(),
            member,
            problem,
        }
    }
}

/// The member that a symlink of the name `from` means.
fn resolve_link(from: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn leading_bytes(blob: &Blob, path: &Path) -> Result<[u8; 4], SourceError> {
    let mut bytes = [0; 4];
    let mut filled = 0;
    let mut reader: BlobReader = blob.reader();
    while filled < bytes.len() {
        match reader.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(source) => {
                return Err(SourceError::Read {
                    path: path.into(),
                    source,
                });
            }
        }
    }
    Ok(bytes)
}
