//! Trees of files in the order and form of a Nix archive (NAR, "nix-archive-1": the Nix thesis,
//! section 5.2): the digest of that form, and what it is made of for whoever takes it.
//!
//! The bytes that are hashed are those that are handed on: what has the right digest is what goes
//! into the image.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::limits::Limits;
use crate::merge::MergeError;
use mvm_contract::Digest;

/// Why a tree cannot be archived.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A file or directory cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A pipe, a socket or a device, which Nix knows nothing of.
    #[error("`{}` is neither a file nor a directory nor a symlink", path.display())]
    Kind {
        /// What it is the path of.
        path: PathBuf,
    },
    /// A file changed its size between two looks at it.
    #[error("`{}` changed while it was being read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// There are too many files.
    #[error("`{}` is more than the {limit} files that are allowed", path.display())]
    Entries {
        /// The first file too many.
        path: PathBuf,
        /// `Limits::entries`.
        limit: u64,
    },
    /// Directories lie too deep in one another.
    #[error("`{}` lies more than {limit} directories deep", path.display())]
    Depth {
        /// The directory.
        path: PathBuf,
        /// `Limits::path_depth`.
        limit: usize,
    },
    /// There are too many bytes.
    #[error("with `{}` it is more than {limit} bytes", path.display())]
    Bytes {
        /// The first file too many.
        path: PathBuf,
        /// `Limits::unpacked_bytes`, or `Limits::file_bytes` of one file.
        limit: u64,
    },
    /// The image cannot have a file of this name or kind.
    #[error("failed to take a file into the image")]
    Entry(#[source] MergeError),
    /// The content cannot be kept until the image is written.
    #[error("failed to keep the content of a file")]
    Keep(#[source] io::Error),
}

/// Takes what an archive is made of, parents before their children. Paths are relative to the
/// archived tree; its root's is empty.
pub(super) trait Sink {
    fn directory(&mut self, path: &[u8]) -> Result<(), ArchiveError>;
    fn symlink(&mut self, path: &[u8], target: Vec<u8>) -> Result<(), ArchiveError>;
    /// The content follows, in as many calls of [`Sink::content`] as it takes.
    fn file(&mut self, path: &[u8], executable: bool, size: u64) -> Result<(), ArchiveError>;
    fn content(&mut self, bytes: &[u8]) -> Result<(), ArchiveError>;
}

/// Takes nothing: for the digest alone.
pub(super) struct Nothing;

impl Sink for Nothing {
    fn directory(&mut self, _: &[u8]) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn symlink(&mut self, _: &[u8], _: Vec<u8>) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn file(&mut self, _: &[u8], _: bool, _: u64) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn content(&mut self, _: &[u8]) -> Result<(), ArchiveError> {
        Ok(())
    }
}

/// Archives the tree at `root` into `sink`, and returns the NAR's digest: what Nix calls its
/// `narHash`.
pub(super) fn archive(
    root: &Path,
    limits: &Limits,
    sink: &mut dyn Sink,
) -> Result<Digest, ArchiveError> {
    let mut archiver = Archiver {
        hash: Sha256::new(),
        buffer: vec![0; 128 * 1024],
        entries: 0,
        bytes: 0,
        limits,
        sink,
    };
    archiver.text(b"nix-archive-1");
    archiver.node(root, &mut Vec::new(), 0)?;
    Ok(Digest::from_bytes(archiver.hash.finalize().into()))
}

struct Archiver<'a> {
    hash: Sha256,
    buffer: Vec<u8>,
    entries: u64,
    bytes: u64,
    limits: &'a Limits,
    sink: &'a mut dyn Sink,
}

impl Archiver<'_> {
    fn node(&mut self, at: &Path, path: &mut Vec<u8>, depth: usize) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::Read {
            path: at.into(),
            source,
        };
        let limit = self.limits.entries;
        self.entries += 1;
        if self.entries > limit {
            let path = at.into();
            return Err(ArchiveError::Entries { path, limit });
        }
        let kind = fs::symlink_metadata(at).map_err(failed)?.file_type();
        self.text(b"(");
        self.text(b"type");
        if kind.is_symlink() {
            let target = fs::read_link(at).map_err(failed)?;
            let target = target.as_os_str().as_bytes();
            self.text(b"symlink");
            self.text(b"target");
            self.text(target);
            self.sink.symlink(path, target.into())?;
        } else if kind.is_dir() {
            self.text(b"directory");
            self.sink.directory(path)?;
            self.children(at, path, depth)?;
        } else if kind.is_file() {
            self.file(at, path)?;
        } else {
            return Err(ArchiveError::Kind { path: at.into() });
        }
        self.text(b")");
        Ok(())
    }

    fn children(
        &mut self,
        at: &Path,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), ArchiveError> {
        let limit = self.limits.path_depth;
        if depth >= limit {
            let path = at.into();
            return Err(ArchiveError::Depth { path, limit });
        }
        let failed = |source| ArchiveError::Read {
            path: at.into(),
            source,
        };
        let names = fs::read_dir(at).map_err(failed)?;
        let names = names.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names = names.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        names.sort();
        for name in names {
            self.text(b"entry");
            self.text(b"(");
            self.text(b"name");
            self.text(name.as_bytes());
            self.text(b"node");
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend(name.as_bytes());
            self.node(&at.join(&name), path, depth + 1)?;
            path.truncate(length);
            self.text(b")");
        }
        Ok(())
    }

    fn file(&mut self, at: &Path, path: &[u8]) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::Read {
            path: at.into(),
            source,
        };
        let changed = || ArchiveError::Changed { path: at.into() };
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
        let mut file: File = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(at)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(changed());
        }
        let size = metadata.len();
        self.bytes = self.bytes.saturating_add(size);
        for (bytes, limit) in [
            (size, self.limits.file_bytes),
            (self.bytes, self.limits.unpacked_bytes),
        ] {
            if bytes > limit {
                let path = at.into();
                return Err(ArchiveError::Bytes { path, limit });
            }
        }
        let executable = metadata.permissions().mode() & 0o100 != 0;
        self.text(b"regular");
        if executable {
            self.text(b"executable");
            self.text(b"");
        }
        self.text(b"contents");
        self.hash.update(size.to_le_bytes());
        self.sink.file(path, executable, size)?;
        let mut left = size;
        loop {
            let count = match file.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            if count == 0 {
                break;
            }
            left = left.checked_sub(count as u64).ok_or_else(changed)?;
            let bytes = &self.buffer[..count];
            self.hash.update(bytes);
            self.sink.content(bytes)?;
        }
        if left > 0 {
            return Err(changed());
        }
        self.pad(size);
        Ok(())
    }

    /// A string: its length, its bytes, and zeros up to a multiple of eight.
    fn text(&mut self, bytes: &[u8]) {
        let size = bytes.len() as u64;
        self.hash.update(size.to_le_bytes());
        self.hash.update(bytes);
        self.pad(size);
    }

    fn pad(&mut self, size: u64) {
        let padding = (8 - size % 8) % 8;
        self.hash.update(&[0; 8][..padding as usize]);
    }
}
