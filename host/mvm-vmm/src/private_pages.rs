//! The pages of a QEMU that are its own: those it changed over a memory file
//! that it maps copy-on-write.
//!
//! `/proc/PID/maps` finds the mapping by the file's inode, `/proc/PID/pagemap`
//! tells the pages apart (see the kernel's `admin-guide/mm/pagemap.rst`), and
//! `/proc/PID/mem` reads and writes them. All three need what `ptrace(2)` needs:
//! the supervisor is QEMU's parent and has its user.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use crate::page_delta::{self, PAGE_BYTES, PageCount, PageDeltaError, PageDeltaWriter};

/// Entries of the page map read at once: 64 KiB of them, 32 MiB of memory.
const ENTRIES_AT_ONCE: usize = 8192;
/// Memory read at once, in pages.
const PAGES_AT_ONCE: u64 = 256;
/// Runs of pages that wait for the thread that writes its share of them.
const RUNS_AHEAD: usize = 4;

const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
/// The page is one of a file, or of shared memory: not changed.
const OF_FILE: u64 = 1 << 61;

/// A machine's own pages cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum PrivatePagesError {
    /// The kernel does not show QEMU's memory.
    #[error("cannot open `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The memory file is not mapped as it should be.
    #[error("QEMU does not map `{path}`")]
    NotMapped {
        /// The memory file.
        path: PathBuf,
    },
    /// Reading QEMU's memory or its map failed.
    #[error("cannot read QEMU's memory")]
    Read(#[source] io::Error),
    /// Writing QEMU's memory failed.
    #[error("cannot write QEMU's memory")]
    Write(#[source] io::Error),
    /// The thread that writes its share of the pages did not end.
    #[error("a thread that writes QEMU's memory did not end")]
    Thread,
    /// Writing the delta failed.
    #[error("cannot write the page delta")]
    Save(#[source] io::Error),
    /// The delta cannot be read.
    #[error("cannot use the page delta")]
    Delta(#[from] PageDeltaError),
}

/// A part of a QEMU's mapping of the memory file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mapping {
    address: u64,
    bytes: u64,
    /// Where in the file it begins, which is the guest's physical memory.
    offset: u64,
}

/// The memory of a QEMU over a memory file.
#[derive(Debug)]
pub(crate) struct PrivateMemory {
    mappings: Vec<Mapping>,
    pagemap: File,
    memory: File,
}

impl PrivateMemory {
    pub(crate) fn open(pid: u32, memory_file: &Path) -> Result<PrivateMemory, PrivatePagesError> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PrivatePagesError::Open { path, source }
        };
        let path = process.join("maps");
        let maps = fs::read_to_string(&path).map_err(failed(&path))?;
        let metadata = fs::metadata(memory_file).map_err(failed(memory_file))?;
        let device = (
            rustix::fs::major(metadata.dev()),
            rustix::fs::minor(metadata.dev()),
        );
        let mappings = mappings_of(&maps, device, metadata.ino());
        if mappings.is_empty() {
            return Err(PrivatePagesError::NotMapped {
                path: memory_file.to_owned(),
            });
        }
        let open = |name: &str, write| {
            let path = process.join(name);
            let file = File::options().read(true).write(write).open(&path);
            file.map_err(failed(&path))
        };
        Ok(PrivateMemory {
            mappings,
            pagemap: open("pagemap", false)?,
            memory: open("mem", true)?,
        })
    }

    /// Reads one entry of the map and one byte of memory.
    pub(crate) fn probe(&self) -> Result<(), PrivatePagesError> {
        let first = self.mappings.first().map_or(0, |mapping| mapping.address);
        let mut entry = [0; 8];
        self.pagemap
            .read_exact_at(&mut entry, first / PAGE_BYTES as u64 * 8)
            .and_then(|()| self.memory.read_exact_at(&mut entry[..1], first))
            .map_err(PrivatePagesError::Read)
    }

    /// Writes the machine's own pages.
    pub(crate) fn save(&self, out: &mut impl Write) -> Result<PageCount, PrivatePagesError> {
        let out = BufWriter::with_capacity(1 << 20, out);
        let mut writer = PageDeltaWriter::begin(out).map_err(PrivatePagesError::Save)?;
        for mapping in &self.mappings {
            self.save_mapping(mapping, &mut writer)?;
        }
        writer.finish().map_err(PrivatePagesError::Save)
    }

    fn save_mapping(
        &self,
        mapping: &Mapping,
        writer: &mut PageDeltaWriter<impl Write>,
    ) -> Result<(), PrivatePagesError> {
        let page = PAGE_BYTES as u64;
        let pages = mapping.bytes / page;
        let mut entries = vec![0; ENTRIES_AT_ONCE * 8];
        let mut content = vec![0; PAGES_AT_ONCE as usize * PAGE_BYTES];
        let mut looked_at = 0;
        while looked_at < pages {
            let count = (pages - looked_at).min(ENTRIES_AT_ONCE as u64);
            let part = &mut entries[..count as usize * 8];
            self.pagemap
                .read_exact_at(part, (mapping.address / page + looked_at) * 8)
                .map_err(PrivatePagesError::Read)?;
            let own = part.chunks_exact(8).map(|entry| {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(entry);
                is_own(u64::from_le_bytes(bytes))
            });
            for (first, length) in runs(own, PAGES_AT_ONCE) {
                let first = looked_at + first;
                let run = &mut content[..length as usize * PAGE_BYTES];
                self.memory
                    .read_exact_at(run, mapping.address + first * page)
                    .map_err(PrivatePagesError::Read)?;
                writer
                    .pages(mapping.offset / page + first, run)
                    .map_err(PrivatePagesError::Save)?;
            }
            looked_at += count;
        }
        Ok(())
    }

    /// Puts the pages of a delta into the machine's memory. Most of it is the kernel's work, page
    /// by page: a second thread takes its half.
    pub(crate) fn load(
        &self,
        pages: &mut dyn Read,
        memory_bytes: u64,
    ) -> Result<PageCount, PrivatePagesError> {
        std::thread::scope(|scope| {
            let (runs, taken) = mpsc::sync_channel::<(u64, Vec<u8>)>(RUNS_AHEAD);
            let second = scope.spawn(move || {
                let mut taken = taken.into_iter();
                taken.try_for_each(|(address, run)| self.write(address, &run))
            });
            let read = page_delta::read(pages, memory_bytes, |first, run| {
                let address = self
                    .address_of(first, run)
                    .map_err(PrivatePagesError::from)?;
                match runs.try_send((address, run.to_vec())) {
                    Ok(()) => Ok(()),
                    // It has enough to do, or has failed, which is told below.
                    Err(_) => self.write(address, run),
                }
            });
            drop(runs);
            let written = second.join().unwrap_or(Err(PrivatePagesError::Thread));
            let count = read?;
            written.map(|()| count)
        })
    }

    fn address_of(&self, first: u64, run: &[u8]) -> Result<u64, PageDeltaError> {
        let offset = first * PAGE_BYTES as u64;
        let holds = |mapping: &&Mapping| {
            mapping.offset <= offset && offset + run.len() as u64 <= mapping.offset + mapping.bytes
        };
        let mapping = self.mappings.iter().find(holds);
        let mapping = mapping.ok_or(PageDeltaError::Run { page: first })?;
        Ok(mapping.address + (offset - mapping.offset))
    }

    fn write(&self, address: u64, run: &[u8]) -> Result<(), PrivatePagesError> {
        let written = self.memory.write_all_at(run, address);
        written.map_err(PrivatePagesError::Write)
    }
}

/// Whether an entry of the page map is a page of the process's own.
fn is_own(entry: u64) -> bool {
    entry & (PRESENT | SWAPPED) != 0 && entry & OF_FILE == 0
}

/// Runs of `true`, as their first position and their length, at most `longest`.
fn runs(own: impl Iterator<Item = bool>, longest: u64) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (position, _) in (0..).zip(own).filter(|(_, own)| *own) {
        match runs.last_mut() {
            Some((first, length)) if *first + *length == position && *length < longest => {
                *length += 1;
            }
            _ => runs.push((position, 1)),
        }
    }
    runs
}

/// The mappings of a file, by device and inode, in the order of their offsets.
fn mappings_of(maps: &str, device: (u32, u32), inode: u64) -> Vec<Mapping> {
    let mut found: Vec<Mapping> = maps
        .lines()
        .filter_map(|line| {
            // address-end permissions offset major:minor inode path
            let mut fields = line.split_ascii_whitespace();
            let (address, end) = fields.next()?.split_once('-')?;
            let offset = hexadecimal(fields.nth(1)?)?;
            let (major, minor) = fields.next()?.split_once(':')?;
            let is_it = (hexadecimal(major)?, hexadecimal(minor)?)
                == (u64::from(device.0), u64::from(device.1))
                && fields.next()?.parse::<u64>().ok()? == inode;
            let (address, end) = (hexadecimal(address)?, hexadecimal(end)?);
            is_it.then_some(Mapping {
                address,
                bytes: end.checked_sub(address)?,
                offset,
            })
        })
        .collect();
    found.sort_by_key(|mapping| mapping.offset);
    found
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_found_by_inode_in_order() {
        let maps = "\
7f0000200000-7f0000400000 rw-p 00200000 fe:00 42 /a file (deleted)
7f0000000000-7f0000200000 rw-p 00000000 fe:00 42 /a file (deleted)
7f1000000000-7f1000200000 rw-p 00000000 fe:01 42 /another device
7f2000000000-7f2000200000 rw-p 00000000 00:00 0
not a line of it
";
        let mapping = |address, offset| Mapping {
            address,
            bytes: 0x20_0000,
            offset,
        };
        assert_eq!(
            mappings_of(maps, (0xfe, 0), 42),
            [
                mapping(0x7f00_0000_0000, 0),
                mapping(0x7f00_0020_0000, 0x20_0000)
            ]
        );
    }

    #[test]
    fn runs_are_whole_and_bounded() {
        let own = [true, true, false, true, true, true, false];
        assert_eq!(runs(own.into_iter(), 2), [(0, 2), (3, 2), (5, 1)]);
        assert_eq!(runs(std::iter::empty(), 2), []);
    }

    #[test]
    fn own_pages_are_told_from_the_files() {
        assert!(is_own(PRESENT) && is_own(SWAPPED));
        assert!(!is_own(PRESENT | OF_FILE) && !is_own(SWAPPED | OF_FILE) && !is_own(0));
    }
}
