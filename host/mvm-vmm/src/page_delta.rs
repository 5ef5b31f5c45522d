//! Page deltas: the pages of a guest's memory that differ from a memory file.
//!
//! ```text
//! "MVMPAGES"  version: u32  page size: u32          all numbers little-endian
//! run*        first page: u64  pages: u32  kind: u32 (1 data, 2 zeros)
//!             then, for data, the pages themselves
//! end         pages in all: u64  0: u32  kind: u32 (0)
//! ```
//!
//! Runs ascend and do not touch each other's pages. A reader takes nothing that
//! lies outside the memory, and nothing after the end.

use std::io::{self, Read, Write};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
const MAGIC: &[u8; 8] = b"MVMPAGES";
const VERSION: u32 = 1;
/// Most pages of one run, 1 MiB.
const RUN_PAGES: usize = 256;

const KIND_END: u32 = 0;
const KIND_DATA: u32 = 1;
const KIND_ZEROS: u32 = 2;

/// How many pages a delta has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PageCount {
    /// With content.
    pub data: u64,
    /// All zeros; these take no room.
    pub zeros: u64,
}

/// A page delta that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PageDeltaError {
    /// Reading failed, or it ends too early.
    #[error("cannot read the page delta")]
    Read(#[source] io::Error),
    /// It is something else, or of another version.
    #[error("this is not a page delta of version {VERSION}")]
    Header,
    /// A run is not one.
    #[error("the page delta is malformed at page {page}")]
    Run {
        /// Where, by page number in the guest's memory.
        page: u64,
    },
    /// The count at its end is wrong, or something follows it.
    #[error("the page delta does not end as it should")]
    End,
}

/// Writes a delta.
pub(crate) struct PageDeltaWriter<W> {
    out: W,
    count: PageCount,
}

impl<W: Write> PageDeltaWriter<W> {
    pub(crate) fn begin(mut out: W) -> io::Result<PageDeltaWriter<W>> {
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&(PAGE_BYTES as u32).to_le_bytes())?;
        Ok(PageDeltaWriter {
            out,
            count: PageCount::default(),
        })
    }

    /// Adds pages that follow each other, beginning with page `number`; numbers ascend from call
    /// to call.
    pub(crate) fn pages(&mut self, number: u64, pages: &[u8]) -> io::Result<()> {
        let (mut first, mut rest) = (number, pages);
        while rest.len() >= PAGE_BYTES {
            let (zero, run, behind) = split_run(rest);
            rest = behind;
            for part in run.chunks(RUN_PAGES * PAGE_BYTES) {
                let length = (part.len() / PAGE_BYTES) as u64;
                let kind = if zero { KIND_ZEROS } else { KIND_DATA };
                header(&mut self.out, first, length as u32, kind)?;
                if zero {
                    self.count.zeros += length;
                } else {
                    self.out.write_all(part)?;
                    self.count.data += length;
                }
                first += length;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<PageCount> {
        let pages = self.count.data + self.count.zeros;
        header(&mut self.out, pages, 0, KIND_END)?;
        self.out.flush()?;
        Ok(self.count)
    }
}

/// The first pages that are all zeros, or of which none is; and what is behind them.
fn split_run(pages: &[u8]) -> (bool, &[u8], &[u8]) {
    let mut same = pages.chunks_exact(PAGE_BYTES).map(is_zero).peekable();
    let zero = same.peek().copied().unwrap_or(false);
    let length = same.take_while(|kind| *kind == zero).count();
    let (run, behind) = pages.split_at(length * PAGE_BYTES);
    (zero, run, behind)
}

/// Whether a page is all zeros; most others differ in their first bytes.
fn is_zero(page: &[u8]) -> bool {
    const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
    page == ZEROS
}

fn header(out: &mut impl Write, page: u64, pages: u32, kind: u32) -> io::Result<()> {
    out.write_all(&page.to_le_bytes())?;
    out.write_all(&pages.to_le_bytes())?;
    out.write_all(&kind.to_le_bytes())
}

/// Reads a delta over a memory of `memory_bytes`, giving each run of pages, zeros
/// included, with its first page's number.
pub(crate) fn read<E: From<PageDeltaError>>(
    source: &mut dyn Read,
    memory_bytes: u64,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<PageCount, E> {
    let bytes = |source: &mut dyn Read, buffer: &mut [u8]| {
        source.read_exact(buffer).map_err(PageDeltaError::Read)
    };
    let mut head = [0; 16];
    bytes(source, &mut head)?;
    let (version, page_bytes) = (word(&head, 8), word(&head, 12));
    if head[..8] != *MAGIC || version != VERSION || page_bytes as usize != PAGE_BYTES {
        return Err(PageDeltaError::Header.into());
    }
    let memory_pages = memory_bytes / PAGE_BYTES as u64;
    let mut buffer = vec![0; RUN_PAGES * PAGE_BYTES];
    let mut count = PageCount::default();
    let mut next = 0;
    loop {
        bytes(source, &mut head)?;
        let mut first = [0; 8];
        first.copy_from_slice(&head[..8]);
        let first = u64::from_le_bytes(first);
        let (pages, kind) = (word(&head, 8), word(&head, 12));
        if kind == KIND_END {
            let more = source
                .read(&mut buffer[..1])
                .map_err(PageDeltaError::Read)?;
            if pages != 0 || first != count.data + count.zeros || more != 0 {
                return Err(PageDeltaError::End.into());
            }
            return Ok(count);
        }
        let end = first.saturating_add(u64::from(pages));
        let fits =
            first >= next && end <= memory_pages && (1..=RUN_PAGES).contains(&(pages as usize));
        if !fits {
            return Err(PageDeltaError::Run { page: first }.into());
        }
        let run = &mut buffer[..pages as usize * PAGE_BYTES];
        match kind {
            KIND_DATA => {
                bytes(source, run)?;
                count.data += u64::from(pages);
            }
            KIND_ZEROS => {
                run.fill(0);
                count.zeros += u64::from(pages);
            }
            _ => return Err(PageDeltaError::Run { page: first }.into()),
        }
        take(first, run)?;
        next = end;
    }
}

fn word(head: &[u8; 16], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&head[at..at + 4]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(byte: u8) -> Vec<u8> {
        vec![byte; PAGE_BYTES]
    }

    fn delta(pages: &[(u64, u8)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = PageDeltaWriter::begin(&mut out).unwrap();
        // Pages that follow each other come together.
        for run in pages.chunk_by(|(one, _), (next, _)| one + 1 == *next) {
            let content: Vec<u8> = run.iter().flat_map(|(_, byte)| page(*byte)).collect();
            writer.pages(run[0].0, &content).unwrap();
        }
        writer.finish().unwrap();
        out
    }

    fn pages_of(delta: &[u8], memory_pages: u64) -> Result<Vec<(u64, u8)>, PageDeltaError> {
        let mut found = Vec::new();
        let memory = memory_pages * PAGE_BYTES as u64;
        read(&mut &delta[..], memory, |first, run| {
            for (page, number) in run.chunks_exact(PAGE_BYTES).zip(first..) {
                assert!(page.iter().all(|byte| *byte == page[0]));
                found.push((number, page[0]));
            }
            Ok::<_, PageDeltaError>(())
        })?;
        Ok(found)
    }

    #[test]
    fn what_was_written_is_read_and_zeros_take_no_room() {
        let mut pages = vec![(0, 1), (1, 1), (2, 0), (3, 0), (4, 7), (1000, 0), (1001, 9)];
        pages.extend((2000..2000 + 3 * RUN_PAGES as u64).map(|number| (number, 5)));
        let written = delta(&pages);
        assert_eq!(pages_of(&written, 4096).unwrap(), pages);
        let data = pages.iter().filter(|(_, byte)| *byte != 0).count();
        assert!(written.len() < data * PAGE_BYTES + 512);
        assert_eq!(pages_of(&delta(&[]), 1).unwrap(), []);
    }

    #[test]
    fn pages_outside_the_memory_out_of_order_or_cut_off_are_refused() {
        let written = delta(&[(3, 1), (9, 2)]);
        assert!(pages_of(&written, 10).is_ok());
        assert!(matches!(
            pages_of(&written, 9),
            Err(PageDeltaError::Run { page: 9 })
        ));
        let backwards = delta(&[(9, 2), (3, 1)]);
        assert!(matches!(
            pages_of(&backwards, 10),
            Err(PageDeltaError::Run { page: 3 })
        ));
        for length in 0..written.len() {
            assert!(pages_of(&written[..length], 10).is_err(), "{length}");
        }
        let mut longer = written.clone();
        longer.push(0);
        assert!(matches!(pages_of(&longer, 10), Err(PageDeltaError::End)));
        let mut other = written;
        other[8] = 2;
        assert!(matches!(pages_of(&other, 10), Err(PageDeltaError::Header)));
    }
}
