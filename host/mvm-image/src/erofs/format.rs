//! The fixed-size records of the on-disk format, little-endian throughout.

pub(super) const BLOCK: u64 = 4096;
pub(super) const SUPERBLOCK_AT: usize = 1024;
/// The first inode follows the superblock.
pub(super) const FIRST_INODE: u64 = 1152;
/// Inode numbers count slots of this many bytes.
pub(super) const SLOT: u64 = 32;

const MAGIC: u32 = 0xE0F5_E1E2;
const COMPAT_CHECKSUM: u32 = 1;
/// Inodes carry modification times (not change times).
const COMPAT_MTIME: u32 = 2;

/// Where an inode's data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataLayout {
    /// All in blocks.
    Plain,
    /// Whole blocks in blocks, the rest behind the inode.
    Inline,
}

/// What the superblock says that differs between images.
pub(super) struct Superblock {
    /// Inode number of the root, which is within the first two blocks.
    pub root: u16,
    pub inodes: u64,
    pub blocks: u32,
    pub build_time: (i64, u32),
}

impl Superblock {
    /// The record, its checksum still zero.
    pub(super) fn encode(&self) -> [u8; 128] {
        let mut record = Record::<128>::default();
        record.u32(0, MAGIC);
        record.u32(8, COMPAT_CHECKSUM | COMPAT_MTIME);
        record.bytes[12] = BLOCK.trailing_zeros() as u8;
        record.u16(14, self.root);
        record.u64(16, self.inodes);
        record.u64(24, self.build_time.0.cast_unsigned());
        record.u32(32, self.build_time.1);
        record.u32(36, self.blocks);
        record.bytes
    }
}

/// Puts the checksum into the first block of an image that is complete.
pub(super) fn set_checksum(first_block: &mut [u8]) {
    let at = SUPERBLOCK_AT + 4;
    first_block[at..at + 4].fill(0);
    // The kernel's CRC-32C leaves out the final inversion.
    let checksum = !crc32c::crc32c(&first_block[SUPERBLOCK_AT..]);
    first_block[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// One inode as stored.
pub(super) struct InodeRecord {
    pub layout: DataLayout,
    /// 64 bytes with full identities and a time of its own, or 32 without.
    pub extended: bool,
    pub xattr_count: u16,
    pub mode: u16,
    pub links: u32,
    pub size: u64,
    /// First block, or device number.
    pub union: u32,
    /// What 32-bit `stat` calls show.
    pub serial: u32,
    pub user: u32,
    pub group: u32,
    pub modified: (i64, u32),
}

impl InodeRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let layout = match self.layout {
            DataLayout::Plain => 0,
            DataLayout::Inline => 2,
        };
        let mut record = Record::<64>::default();
        record.u16(0, u16::from(self.extended) | layout << 1);
        record.u16(2, self.xattr_count);
        record.u16(4, self.mode);
        record.u32(16, self.union);
        record.u32(20, self.serial);
        if self.extended {
            record.u64(8, self.size);
            record.u32(24, self.user);
            record.u32(28, self.group);
            record.u64(32, self.modified.0.cast_unsigned());
            record.u32(40, self.modified.1);
            record.u32(44, self.links);
            record.bytes.to_vec()
        } else {
            // The layout chose this form because all of these fit.
            record.u16(6, self.links as u16);
            record.u32(8, self.size as u32);
            record.u16(24, self.user as u16);
            record.u16(26, self.group as u16);
            record.bytes[..32].to_vec()
        }
    }
}

/// A device number as Linux encodes it in 32 bits.
pub(super) fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

struct Record<const N: usize> {
    bytes: [u8; N],
}

impl<const N: usize> Default for Record<N> {
    fn default() -> Self {
        Self { bytes: [0; N] }
    }
}

impl<const N: usize> Record<N> {
    fn u16(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, at: usize, value: u64) {
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
}
