//! A streaming reader of tar archives: ustar, PAX and GNU long names.
//!
//! It reads only forward, keeps one header in memory, and refuses by name what
//! it does not carry faithfully (sparse files, unknown types, unknown PAX
//! records) instead of guessing, so that no two readers can disagree about
//! what an archive contains.

mod error;
mod header;
mod pax;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Seek};

pub use error::TarError;
pub(crate) use error::printable;
use header::{BLOCK, Header};
use pax::Overrides;

use crate::limits::Limits;

/// What kind of thing an entry makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Regular,
    Directory,
    Symlink { target: Vec<u8> },
    HardLink { target: Vec<u8> },
    CharacterDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
}

/// One entry, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TarEntry {
    /// The path as written, neither cleaned nor trusted.
    pub path: Vec<u8>,
    pub kind: EntryKind,
    /// Permission, set-id and sticky bits.
    pub mode: u16,
    pub user: u32,
    pub group: u32,
    /// Seconds and nanoseconds since 1970; the nanoseconds count forward.
    pub modified: (i64, u32),
    /// Full names to values, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the content begins in the archive.
    pub offset: u64,
    /// Bytes of content; zero for anything but [`EntryKind::Regular`].
    pub size: u64,
}

/// Reads entries from an archive, skipping their content.
pub(crate) struct TarReader<'a, R> {
    input: R,
    position: u64,
    /// Content and padding of the last entry, not yet skipped.
    pending: u64,
    /// Path of the last entry, to say where an archive ends too early.
    last: String,
    limits: &'a Limits,
}

impl<'a, R: Read> TarReader<'a, R> {
    pub(crate) fn new(input: R, limits: &'a Limits) -> Self {
        Self {
            input,
            position: 0,
            pending: 0,
            last: String::new(),
            limits,
        }
    }

    /// The next entry, or `None` after the end marker.
    pub(crate) fn next(&mut self) -> Result<Option<TarEntry>, TarError> {
        let mut overrides = Overrides::default();
        let mut extended = false;
        loop {
            self.skip_pending()?;
            let start = self.position;
            let mut block = [0; BLOCK];
            self.read_exact(&mut block)?;
            if block == [0; BLOCK] {
                if extended {
                    return Err(TarError::DanglingExtension { offset: start });
                }
                return self.read_end_marker();
            }
            let header = Header::parse(block, start)?;
            match header.type_flag() {
                b'x' => {
                    extended = true;
                    let data = self.read_extension(&header)?;
                    overrides.add_pax(&data, start, self.limits)?;
                }
                b'g' => {
                    let data = self.read_extension(&header)?;
                    pax::check_global(&data, start)?;
                }
                b'L' => {
                    extended = true;
                    let data = self.read_extension(&header)?;
                    overrides.set_gnu_path(data, start)?;
                }
                b'K' => {
                    extended = true;
                    let data = self.read_extension(&header)?;
                    overrides.set_gnu_link(data, start)?;
                }
                _ => return self.finish_entry(&header, overrides).map(Some),
            }
        }
    }

    /// Reads whatever follows the end marker, so that digests cover it.
    pub(crate) fn drain(mut self) -> io::Result<u64> {
        io::copy(&mut self.input, &mut io::sink())
    }

    fn finish_entry(
        &mut self,
        header: &Header,
        overrides: Overrides,
    ) -> Result<TarEntry, TarError> {
        let entry = header.entry(overrides, self.position, self.limits)?;
        self.pending = padded(entry.size, header.offset())?;
        self.last = printable(&entry.path);
        Ok(entry)
    }

    fn read_extension(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let size = header.size()?;
        if size > self.limits.header_bytes {
            return Err(TarError::ExtensionSize {
                offset: header.offset(),
                size,
                limit: self.limits.header_bytes,
            });
        }
        // Bounded by `header_bytes`, and grown only by bytes that are there.
        let mut data = Vec::new();
        let count = (&mut self.input)
            .take(size)
            .read_to_end(&mut data)
            .map_err(|source| TarError::Read {
                offset: self.position,
                source,
            })?;
        self.position += count as u64;
        if (count as u64) < size {
            return Err(TarError::Truncated {
                after: self.last.clone(),
                offset: self.position,
            });
        }
        self.pending = padded(size, header.offset())? - size;
        Ok(data)
    }

    fn read_end_marker(&mut self) -> Result<Option<TarEntry>, TarError> {
        let offset = self.position;
        let mut block = [0; BLOCK];
        let mut filled = 0;
        // A single zero block at the very end is accepted, as by every reader.
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TarError::Read { offset, source }),
            }
        }
        self.position += filled as u64;
        if block != [0; BLOCK] {
            return Err(TarError::EndMarker { offset });
        }
        Ok(None)
    }

    fn skip_pending(&mut self) -> Result<(), TarError> {
        let mut scratch = [0; 16 * 1024];
        while self.pending > 0 {
            let wanted = self.pending.min(scratch.len() as u64) as usize;
            self.read_exact(&mut scratch[..wanted])?;
            self.pending -= wanted as u64;
        }
        Ok(())
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        let offset = self.position;
        self.input
            .read_exact(buffer)
            .map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => TarError::Truncated {
                    after: self.last.clone(),
                    offset,
                },
                _ => TarError::Read { offset, source },
            })?;
        self.position += buffer.len() as u64;
        Ok(())
    }
}

/// `size` rounded up to whole blocks.
fn padded(size: u64, offset: u64) -> Result<u64, TarError> {
    size.checked_next_multiple_of(BLOCK as u64)
        .ok_or(TarError::Number {
            field: "size",
            offset,
        })
}

impl<R: Read + Seek> TarReader<'_, R> {
    /// As [`TarReader::next`], stepping over content without reading it.
    pub(crate) fn next_seeking(&mut self) -> Result<Option<TarEntry>, TarError> {
        let offset = self.position;
        let distance = i64::try_from(self.pending).map_err(|_| TarError::Number {
            field: "size",
            offset,
        })?;
        self.input
            .seek_relative(distance)
            .map_err(|source| TarError::Read { offset, source })?;
        self.position += self.pending;
        self.pending = 0;
        self.next()
    }
}
