//! The pages of a snapshot: a page delta (`mvm_vmm::page_delta`) in an LZ4 frame. It is written plain
//! while the guest stands still, and compressed when it goes on.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use lz4_flex::frame::{FrameDecoder, FrameEncoder};

use super::{SnapshotError, manifest::PAGES};

/// What of a page delta is held in memory before it is wanted, at most.
const BYTES_AHEAD: u64 = 64 << 20;

/// Compresses the pages in a snapshot's folder; nothing when there are none.
pub(crate) fn compress_pages(folder: &Path) -> Result<(), SnapshotError> {
    let plain = folder.join(PAGES);
    if !plain.exists() {
        return Ok(());
    }
    let compressed = folder.join("pages.new");
    compress(&plain, &compressed)
        .and_then(|()| fs::rename(&compressed, &plain))
        .map_err(SnapshotError::file("compress", &plain))
}

fn compress(from: &Path, to: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let target = options.write(true).create_new(true).mode(0o600).open(to)?;
    let mut encoder = FrameEncoder::new(target);
    io::copy(
        &mut BufReader::with_capacity(1 << 20, File::open(from)?),
        &mut encoder,
    )?;
    encoder.finish().map(drop).map_err(io::Error::from)
}

/// A page delta that is read.
pub(crate) type Pages = Box<dyn Read + Send>;

/// Reads the page delta in a file of pages; its beginning now, as long as it is waited for anyway.
pub(crate) fn read_pages(file: File) -> io::Result<Pages> {
    let mut pages = FrameDecoder::new(BufReader::with_capacity(1 << 20, file));
    let mut ahead = Vec::new();
    pages.by_ref().take(BYTES_AHEAD).read_to_end(&mut ahead)?;
    Ok(Box::new(io::Cursor::new(ahead).chain(pages)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_back_and_take_less_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(PAGES);
        compress_pages(folder.path()).unwrap();
        assert!(!path.exists());
        let plain: Vec<u8> = (0..1_000_000_u32)
            .map(|number| (number / 1000) as u8)
            .collect();
        fs::write(&path, &plain).unwrap();
        compress_pages(folder.path()).unwrap();
        assert!(fs::metadata(&path).unwrap().len() < 100_000);
        let mut back = Vec::new();
        read_pages(File::open(&path).unwrap())
            .unwrap()
            .read_to_end(&mut back)
            .unwrap();
        assert!(back == plain);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
