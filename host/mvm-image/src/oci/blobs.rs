//! Where the blobs of a layout are: in a directory or inside an archive.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::SourceError;
use super::archive::Archive;
use crate::layer::Blob;
use crate::limits::Limits;
use mvm_contract::Digest;

/// The files of one OCI layout.
pub(super) enum Blobs {
    Directory(PathBuf),
    Archive(Archive),
}

impl Blobs {
    /// What to call the layout in messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Directory(directory) => directory.display().to_string(),
            Self::Archive(archive) => archive.path().display().to_string(),
        }
    }

    /// The file of this name, relative to the layout.
    pub(super) fn file(&self, name: &str) -> Result<Blob, SourceError> {
        let missing = || SourceError::Missing {
            image: self.name(),
            name: name.into(),
        };
        match self {
            Self::Directory(directory) => match open_regular(&directory.join(name)) {
                Err(SourceError::Open { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    Err(missing())
                }
                opened => opened,
            },
            Self::Archive(archive) => archive.file(name)?.ok_or_else(missing),
        }
    }

    /// The blob with this digest; its bytes are not checked here.
    pub(super) fn blob(&self, digest: &Digest, size: u64) -> Result<Blob, SourceError> {
        let blob = self.file(&format!("blobs/sha256/{}", digest.hex()))?;
        if blob.size != size {
            let actual = blob.size;
            return Err(SourceError::SizeMismatch {
                name: *digest,
                expected: size,
                actual,
            });
        }
        Ok(blob)
    }

    /// The document with this digest, verified.
    pub(super) fn document(
        &self,
        digest: &Digest,
        size: u64,
        limits: &Limits,
    ) -> Result<Vec<u8>, SourceError> {
        let name = digest.to_string();
        check_document_size(&name, size, limits)?;
        let bytes = read_document(&self.blob(digest, size)?, &name, limits)?;
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(SourceError::DigestMismatch {
                name: *digest,
                actual,
            });
        }
        Ok(bytes)
    }
}

/// Opens a file for reading, without waiting at a pipe that has its name.
pub(super) fn open_regular(path: &Path) -> Result<Blob, SourceError> {
    let failed = |source| SourceError::Open {
        path: path.into(),
        source,
    };
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(SourceError::NotAFile { path: path.into() });
    }
    Ok(Blob {
        file: Arc::new(file),
        offset: 0,
        size: metadata.len(),
    })
}

/// All bytes of a document of bounded size.
pub(super) fn read_document(
    blob: &Blob,
    name: &str,
    limits: &Limits,
) -> Result<Vec<u8>, SourceError> {
    check_document_size(name, blob.size, limits)?;
    let mut bytes = Vec::new();
    blob.reader()
        .read_to_end(&mut bytes)
        .map_err(|source| SourceError::Read {
            path: name.into(),
            source,
        })?;
    Ok(bytes)
}

fn check_document_size(name: &str, size: u64, limits: &Limits) -> Result<(), SourceError> {
    let limit = limits.document_bytes;
    if size > limit {
        return Err(SourceError::DocumentSize {
            name: name.into(),
            size,
            limit,
        });
    }
    Ok(())
}
