//! What a sandbox's disk has that the disk it was copied from has not.
//!
//! ```text
//! "MVMDISK\n"  version: u32  block size: u32      all numbers little-endian
//! disk size: u64
//! run*         first block: u64  blocks: u32  kind: u32 (1 data, 2 zeros)
//!              then, for data, the blocks themselves
//! end          blocks in all: u64  0: u32  kind: u32 (0)
//! ```

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::FileExt as _,
};

use crate::sparse_file;

const MAGIC: &[u8; 8] = b"MVMDISK\n";
const VERSION: u32 = 1;
const BLOCK_BYTES: u64 = 4096;
/// Most blocks of one run, 1 MiB.
const RUN_BLOCKS: u64 = 256;

const KIND_END: u32 = 0;
const KIND_DATA: u32 = 1;
const KIND_ZEROS: u32 = 2;

/// A disk delta that cannot be made or applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskDeltaError {
    #[error("failed to read the disks")]
    ReadDisk(#[source] io::Error),
    #[error("failed to write the disk")]
    WriteDisk(#[source] io::Error),
    #[error("failed to write the disk delta")]
    Write(#[source] io::Error),
    #[error("failed to read the disk delta")]
    Read(#[source] io::Error),
    #[error("it is not a disk delta of version {VERSION} for this disk")]
    Header,
    #[error("the disk delta is malformed at block {block}")]
    Run { block: u64 },
    #[error("the disk delta does not end as it should")]
    End,
}

/// Writes the blocks of `disk` that differ from those of `base`, which has the same size. Only
/// ranges in which one of the two holds data are read.
pub(crate) fn write(base: &File, disk: &File, out: &mut impl Write) -> Result<(), DiskDeltaError> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let size = disk.metadata().map_err(DiskDeltaError::ReadDisk)?.len();
    let mut head = MAGIC.to_vec();
    head.extend(VERSION.to_le_bytes());
    head.extend((BLOCK_BYTES as u32).to_le_bytes());
    head.extend(size.to_le_bytes());
    out.write_all(&head).map_err(DiskDeltaError::Write)?;
    let mut total = 0;
    let mut buffers = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut position = 0;
    while let Some((start, end)) = next_data(base, disk, position, size)? {
        let mut at = start;
        while at < end {
            let length = (end - at).min(RUN_BLOCKS * BLOCK_BYTES) as usize;
            let (old, new) = (&mut buffers.0[..length], &mut buffers.1[..length]);
            base.read_exact_at(old, at)
                .and_then(|()| disk.read_exact_at(new, at))
                .map_err(DiskDeltaError::ReadDisk)?;
            total += write_changed(old, new, at / BLOCK_BYTES, &mut out)
                .map_err(DiskDeltaError::Write)?;
            at += length as u64;
        }
        position = end;
    }
    header(&mut out, total, 0, KIND_END)
        .and_then(|()| out.flush())
        .map_err(DiskDeltaError::Write)
}

/// The next range, in whole blocks, in which one of two files holds data.
fn next_data(
    one: &File,
    other: &File,
    position: u64,
    size: u64,
) -> Result<Option<(u64, u64)>, DiskDeltaError> {
    let data = |file| {
        let found = sparse_file::next_data(file, position, size);
        found.map_err(DiskDeltaError::ReadDisk)
    };
    let Some((start, end)) = [data(one)?, data(other)?].into_iter().flatten().min() else {
        return Ok(None);
    };
    let start = (start / BLOCK_BYTES * BLOCK_BYTES).max(position);
    let end = end.next_multiple_of(BLOCK_BYTES).min(size);
    Ok(Some((start, end)))
}

fn write_changed(old: &[u8], new: &[u8], first: u64, out: &mut impl Write) -> io::Result<u64> {
    let size = BLOCK_BYTES as usize;
    let kind = |position: usize| {
        let range = position * size..((position + 1) * size).min(new.len());
        let block = &new[range.clone()];
        if block == &old[range] {
            None
        } else if block.iter().all(|byte| *byte == 0) {
            Some(KIND_ZEROS)
        } else {
            Some(KIND_DATA)
        }
    };
    let blocks = new.len().div_ceil(size);
    let mut written = 0;
    let mut position = 0;
    while position < blocks {
        let start = position;
        let this = kind(position);
        while position < blocks && kind(position) == this {
            position += 1;
        }
        let Some(this) = this else { continue };
        let count = (position - start) as u64;
        header(out, first + start as u64, count as u32, this)?;
        if this == KIND_DATA {
            out.write_all(&new[start * size..(position * size).min(new.len())])?;
        }
        written += count;
    }
    Ok(written)
}

fn header(out: &mut impl Write, block: u64, blocks: u32, kind: u32) -> io::Result<()> {
    out.write_all(&block.to_le_bytes())?;
    out.write_all(&blocks.to_le_bytes())?;
    out.write_all(&kind.to_le_bytes())
}

/// Makes `disk`, a copy of what the delta was made against, into what it was made from.
pub(crate) fn apply(delta: &mut dyn Read, disk: &File) -> Result<(), DiskDeltaError> {
    let mut delta = BufReader::with_capacity(1 << 20, delta);
    let size = disk.metadata().map_err(DiskDeltaError::WriteDisk)?.len();
    let mut head = [0; 24];
    delta.read_exact(&mut head).map_err(DiskDeltaError::Read)?;
    let expected = [
        &MAGIC[..],
        &VERSION.to_le_bytes(),
        &(BLOCK_BYTES as u32).to_le_bytes(),
        &size.to_le_bytes(),
    ];
    if head[..] != expected.concat() {
        return Err(DiskDeltaError::Header);
    }
    let mut buffer = vec![0; (RUN_BLOCKS * BLOCK_BYTES) as usize];
    let (mut next, mut total) = (0, 0);
    loop {
        let mut head = [0; 16];
        delta.read_exact(&mut head).map_err(DiskDeltaError::Read)?;
        let first = u64::from_le_bytes(part(&head[..8]));
        let blocks = u32::from_le_bytes(part(&head[8..12]));
        let kind = u32::from_le_bytes(part(&head[12..]));
        if kind == KIND_END {
            let more = delta.read(&mut buffer[..1]).map_err(DiskDeltaError::Read)?;
            if blocks != 0 || first != total || more != 0 {
                return Err(DiskDeltaError::End);
            }
            return Ok(());
        }
        let malformed = DiskDeltaError::Run { block: first };
        let start = first.checked_mul(BLOCK_BYTES);
        let Some(start) = start.filter(|start| first >= next && *start < size) else {
            return Err(malformed);
        };
        // The last block of a disk whose size is no multiple of a block's is a part of one.
        let length = (u64::from(blocks) * BLOCK_BYTES).min(size - start);
        let in_disk = length.div_ceil(BLOCK_BYTES) == u64::from(blocks);
        if !(1..=RUN_BLOCKS).contains(&u64::from(blocks)) || !in_disk {
            return Err(malformed);
        }
        let run = &mut buffer[..length as usize];
        match kind {
            KIND_DATA => delta.read_exact(run).map_err(DiskDeltaError::Read)?,
            KIND_ZEROS => run.fill(0),
            _ => return Err(malformed),
        }
        disk.write_all_at(run, start)
            .map_err(DiskDeltaError::WriteDisk)?;
        total += u64::from(blocks);
        next = first + u64::from(blocks);
    }
}

fn part<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(bytes);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 64 << 20;

    fn disk(content: &[(u64, &[u8])]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(SIZE).unwrap();
        for (at, bytes) in content {
            file.write_all_at(bytes, *at).unwrap();
        }
        file
    }

    fn bytes(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; SIZE as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn a_disk_comes_back_from_its_base_and_the_difference() {
        let content: &[(u64, &[u8])] = &[
            (0, b"super block"),
            (1 << 20, &[7; 9000]),
            (SIZE - 5, b"last!"),
        ];
        let base = disk(content);
        let changed = disk(content);
        changed.write_all_at(b"SUPER", 0).unwrap();
        changed.write_all_at(&[0; 9000], 1 << 20).unwrap();
        changed.write_all_at(&[9; 3 << 20], 32 << 20).unwrap();
        let mut delta = Vec::new();
        write(&base, &changed, &mut delta).unwrap();
        assert!(delta.len() < (3 << 20) + 32 * 1024, "{}", delta.len());
        let restored = disk(content);
        apply(&mut &delta[..], &restored).unwrap();
        assert!(bytes(&restored) == bytes(&changed));
        let mut nothing = Vec::new();
        write(&base, &base, &mut nothing).unwrap();
        assert_eq!(nothing.len(), 40);
    }

    #[test]
    fn a_delta_that_is_cut_off_or_of_another_disk_is_refused() {
        let (base, changed) = (disk(&[]), disk(&[(4096, b"x"), (SIZE - 1, b"y")]));
        let mut delta = Vec::new();
        write(&base, &changed, &mut delta).unwrap();
        for length in (0..delta.len()).step_by(7) {
            assert!(
                apply(&mut &delta[..length], &disk(&[])).is_err(),
                "{length}"
            );
        }
        let smaller = tempfile::tempfile().unwrap();
        smaller.set_len(SIZE / 2).unwrap();
        assert!(matches!(
            apply(&mut &delta[..], &smaller),
            Err(DiskDeltaError::Header)
        ));
        delta[24 + 7] = 0xff;
        assert!(matches!(
            apply(&mut &delta[..], &disk(&[])),
            Err(DiskDeltaError::Run { .. })
        ));
    }
}
