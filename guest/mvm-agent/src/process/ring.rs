//! What a process has said: a bounded window over an endless stream of bytes.

use std::collections::VecDeque;

/// The most one stream of a process keeps, bytes.
pub(crate) const RING_BYTES: usize = 512 * 1024;

/// The last bytes of a stream, with their offsets from its beginning.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    bytes: VecDeque<u8>,
    /// The offset of the first byte kept.
    start: u64,
}

impl Ring {
    /// The offset of the first byte kept.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The offset behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Bytes kept.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes may come without losing any from `offset` on.
    pub(crate) fn room_behind(&self, offset: u64) -> usize {
        let held = self.end().saturating_sub(offset.max(self.start));
        RING_BYTES.saturating_sub(usize::try_from(held).unwrap_or(usize::MAX))
    }

    /// Appends; the oldest bytes drop where there is no room.
    pub(crate) fn append(&mut self, mut bytes: &[u8]) {
        if let Some(excess) = bytes.len().checked_sub(RING_BYTES) {
            self.start += (self.bytes.len() + excess) as u64;
            self.bytes.clear();
            bytes = &bytes[excess..];
        }
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(RING_BYTES);
        self.bytes.drain(..excess);
        self.start += excess as u64;
        self.bytes.extend(bytes);
    }

    /// Copies from `offset` on into `buffer`, as much as is there and fits. An offset before
    /// [`start`](Self::start) or behind [`end`](Self::end) gives nothing.
    pub(crate) fn copy_from(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let Some(skip) = offset
            .checked_sub(self.start)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| *skip < self.bytes.len())
        else {
            return 0;
        };
        let (front, back) = self.bytes.as_slices();
        let mut copied = 0;
        for part in [
            front.get(skip..).unwrap_or_default(),
            &back[skip.saturating_sub(front.len()).min(back.len())..],
        ] {
            let count = part.len().min(buffer.len() - copied);
            buffer[copied..copied + count].copy_from_slice(&part[..count]);
            copied += count;
        }
        copied
    }

    /// Gives back memory that is not in use.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_stay_exact_when_the_oldest_bytes_drop() {
        let mut ring = Ring::default();
        let pattern: Vec<u8> = (0..RING_BYTES * 3 + 17)
            .map(|at| (at % 251) as u8)
            .collect();
        for part in pattern.chunks(70_001) {
            ring.append(part);
        }
        assert_eq!(ring.end(), pattern.len() as u64);
        assert_eq!(ring.len(), RING_BYTES);
        let start = ring.start() as usize;
        let mut kept = vec![0; RING_BYTES];
        assert_eq!(ring.copy_from(start as u64, &mut kept), RING_BYTES);
        assert_eq!(kept, pattern[start..]);
        let mut some = [0; 10];
        assert_eq!(ring.copy_from(start as u64 + 1234, &mut some), 10);
        assert_eq!(some, pattern[start + 1234..][..10]);
        assert_eq!(ring.copy_from(0, &mut some), 0);
        assert_eq!(ring.copy_from(ring.end(), &mut some), 0);
        assert_eq!(ring.copy_from(u64::MAX, &mut some), 0);
    }

    #[test]
    fn a_piece_larger_than_the_ring_leaves_its_end() {
        let mut ring = Ring::default();
        ring.append(b"before");
        ring.append(&vec![1; RING_BYTES]);
        ring.append(&[vec![2; 5], vec![3; RING_BYTES]].concat());
        assert_eq!(ring.start(), (6 + RING_BYTES + 5) as u64);
        assert_eq!(ring.room_behind(ring.start()), 0);
        assert_eq!(ring.room_behind(ring.end()), RING_BYTES);
        assert_eq!(ring.room_behind(ring.start() + 100), 100);
    }
}
