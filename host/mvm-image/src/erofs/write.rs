//! Writing a planned image into a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format::{
    BLOCK, DataLayout, InodeRecord, SUPERBLOCK_AT, Superblock, device_number, set_checksum,
};
use super::layout::{Layout, Placed};
use super::{ErofsError, directory, xattr};
use crate::merge::{NodeKind, Tree};

impl Layout {
    /// Gives `file`, which is empty, its final size and all but file content.
    ///
    /// The space is reserved first, so that a full disk is found at once.
    pub(crate) fn write_metadata(&self, tree: &Tree, file: &File) -> Result<(), ErofsError> {
        self.reserve(file)?;
        let mut output = Output {
            file,
            buffer: Vec::new(),
            at: 0,
        };
        output.put(SUPERBLOCK_AT as u64, &self.superblock())?;
        for (serial, placed) in self.inodes.iter().enumerate() {
            let node = &tree.nodes[placed.node as usize];
            output.put(placed.at, &self.inode(serial, placed, tree))?;
            output.append(&xattr::encode(&node.metadata.xattrs))?;
            if placed.inline
                && let Some(data) = self.own_data(placed, tree)
            {
                let whole_blocks = data.len() - data.len() % BLOCK as usize;
                output.append(&data[whole_blocks..])?;
            }
        }
        for placed in &self.inodes {
            if placed.block == 0 {
                continue;
            }
            if let Some(data) = self.own_data(placed, tree) {
                let whole_blocks = data.len() - data.len() % BLOCK as usize;
                let end = if placed.inline {
                    whole_blocks
                } else {
                    data.len()
                };
                output.put(u64::from(placed.block) * BLOCK, &data[..end])?;
            }
        }
        output.flush()
    }

    /// Puts the superblock's checksum in, once every byte of the first block is
    /// there.
    pub(crate) fn write_checksum(&self, file: &File) -> Result<(), ErofsError> {
        let mut first_block = vec![0; BLOCK as usize];
        file.read_exact_at(&mut first_block, 0)
            .and_then(|()| {
                set_checksum(&mut first_block);
                file.write_all_at(&first_block, 0)
            })
            .map_err(|source| ErofsError::Write { offset: 0, source })
    }

    fn reserve(&self, file: &File) -> Result<(), ErofsError> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        let bytes = self.bytes();
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            // Not every filesystem can; then writing will tell.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(bytes),
            outcome => outcome.map_err(io::Error::from),
        }
        .map_err(|source| ErofsError::Reserve { bytes, source })
    }

    fn superblock(&self) -> [u8; 128] {
        Superblock {
            root: u16::try_from(self.inodes[0].number())
                .expect("the root is placed first, at most one block in"),
            inodes: self.inodes.len() as u64,
            blocks: self.blocks,
            build_time: self.build_time,
        }
        .encode()
    }

    fn inode(&self, serial: usize, placed: &Placed, tree: &Tree) -> Vec<u8> {
        let node = &tree.nodes[placed.node as usize];
        let (file_type, union) = match node.kind {
            NodeKind::Regular(_) => (0o100_000, placed.block),
            NodeKind::Directory(_) => (0o040_000, placed.block),
            NodeKind::Symlink(_) => (0o120_000, placed.block),
            NodeKind::CharacterDevice { major, minor } => (0o020_000, device_number(major, minor)),
            NodeKind::Fifo => (0o010_000, 0),
        };
        InodeRecord {
            layout: if placed.inline {
                DataLayout::Inline
            } else {
                DataLayout::Plain
            },
            extended: placed.extended,
            xattr_count: xattr::count(placed.xattr_bytes).unwrap_or(0),
            mode: file_type | node.metadata.mode,
            links: placed.links,
            size: placed.size,
            union,
            serial: serial as u32 + 1,
            user: node.metadata.user,
            group: node.metadata.group,
            modified: node.metadata.modified,
        }
        .encode()
    }

    /// The data of an inode that the tree itself holds.
    fn own_data(&self, placed: &Placed, tree: &Tree) -> Option<Vec<u8>> {
        match &tree.nodes[placed.node as usize].kind {
            NodeKind::Directory(children) => {
                let names = directory::names(children, placed.node, placed.parent);
                Some(directory::encode(&names, &tree.nodes, |node| {
                    self.number(node)
                }))
            }
            NodeKind::Symlink(target) => Some(target.clone()),
            _ => None,
        }
    }
}

/// Collects ascending writes into few calls; gaps are filled with zeros, so
/// gaps wider than the buffer are skipped instead.
struct Output<'a> {
    file: &'a File,
    buffer: Vec<u8>,
    /// Where the buffer goes.
    at: u64,
}

impl Output<'_> {
    const BUFFER: usize = 256 * 1024;

    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), ErofsError> {
        let gap = at - (self.at + self.buffer.len() as u64);
        if gap > 0 {
            if gap > BLOCK {
                self.flush()?;
                self.at = at;
            } else {
                self.buffer.resize(self.buffer.len() + gap as usize, 0);
            }
        }
        self.append(bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ErofsError> {
        self.buffer.extend(bytes);
        if self.buffer.len() >= Self::BUFFER {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), ErofsError> {
        self.file
            .write_all_at(&self.buffer, self.at)
            .map_err(|source| ErofsError::Write {
                offset: self.at,
                source,
            })?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
