//! Files with holes: disks and guest memories, which hold little of what they measure.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use mvm_image::Digest;
use rustix::{fs::SeekFrom, io::Errno};
use sha2::{Digest as _, Sha256};

const BUFFER_BYTES: usize = 1024 * 1024;
const BLOCK_BYTES: usize = 4096;

/// A sparse file could not be copied.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} `{}`", path.display())]
pub struct SparseFileError {
    /// What was being done.
    pub doing: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

fn io_error<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> SparseFileError + use<'a> {
    move |source| SparseFileError {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// Copies a file, its holes kept: by reference where the file system can (`FICLONE`), otherwise
/// only the ranges that hold data. The copy has mode 0600.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), SparseFileError> {
    let source = File::open(from).map_err(io_error("open", from))?;
    let mut options = fs::OpenOptions::new();
    let target = options.write(true).create_new(true).mode(0o600).open(to);
    let target = target.map_err(io_error("create", to))?;
    if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
        return Ok(());
    }
    let length = source
        .metadata()
        .map_err(io_error("read the metadata of", from))?
        .len();
    target.set_len(length).map_err(io_error("size", to))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut position = 0;
    while let Some((data, hole)) =
        next_data(&source, position, length).map_err(io_error("read", from))?
    {
        position = data;
        while position < hole {
            let wanted = usize::try_from(hole - position)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let part = &mut buffer[..wanted];
            source
                .read_exact_at(part, position)
                .map_err(io_error("read", from))?;
            target
                .write_all_at(part, position)
                .map_err(io_error("write", to))?;
            position += wanted as u64;
        }
    }
    Ok(())
}

/// The next range of a file that holds data and no hole.
pub(crate) fn next_data(file: &File, position: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    if position >= length {
        return Ok(None);
    }
    let data = match rustix::fs::seek(file, SeekFrom::Data(position)) {
        Ok(data) => data,
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let hole = rustix::fs::seek(file, SeekFrom::Hole(data))?;
    Ok(Some((data, hole)))
}

/// A digest of a file's content that does not read its holes: SHA-256 of its length and of every
/// block of 4 KiB that is not all zeros, each after its number (little-endian). Holes and zeros
/// are the same.
pub(crate) fn digest(file: &File) -> io::Result<Digest> {
    let length = file.metadata()?.len();
    let mut hash = Sha256::new();
    hash.update(length.to_le_bytes());
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut position = 0;
    while let Some((data, hole)) = next_data(file, position, length)? {
        // Never a block twice: a range may begin where the last one ended inside a block.
        position = (data - data % BLOCK_BYTES as u64).max(position);
        let end = hole.next_multiple_of(BLOCK_BYTES as u64).min(length);
        while position < end {
            let wanted = usize::try_from(end - position)
                .unwrap_or(usize::MAX)
                .min(BUFFER_BYTES);
            let part = &mut buffer[..wanted];
            file.read_exact_at(part, position)?;
            for (block, number) in part
                .chunks(BLOCK_BYTES)
                .zip(position / BLOCK_BYTES as u64..)
            {
                if block.iter().any(|byte| *byte != 0) {
                    hash.update(number.to_le_bytes());
                    hash.update(block);
                }
            }
            position += wanted as u64;
        }
    }
    Ok(Digest::from_bytes(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_copy_has_the_bytes_and_the_holes() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"first", 0).unwrap();
        file.write_all_at(b"last", (64 << 20) - 4).unwrap();
        copy(&from, &to).unwrap();
        assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn the_digest_is_of_the_content_and_not_of_how_it_is_stored() {
        let file = |content: &[(u64, &[u8])]| {
            let file = tempfile::tempfile().unwrap();
            file.set_len(8 << 20).unwrap();
            for (at, bytes) in content {
                file.write_all_at(bytes, *at).unwrap();
            }
            digest(&file).unwrap()
        };
        let plain = file(&[(5, b"one"), (1 << 20, b"two")]);
        let zeros = vec![0; 2 << 20];
        assert_eq!(file(&[(0, &zeros), (5, b"one"), (1 << 20, b"two")]), plain);
        assert_ne!(file(&[(6, b"one"), (1 << 20, b"two")]), plain);
        assert_ne!(file(&[(5, b"one"), ((1 << 20) + 4096, b"two")]), plain);
        assert_ne!(file(&[(5, b"one")]), plain);
    }
}
