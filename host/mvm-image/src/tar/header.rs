//! The 512-byte header block.

use super::pax::Overrides;
use super::{EntryKind, TarEntry, TarError, printable};
use crate::limits::Limits;

pub(super) const BLOCK: usize = 512;

/// A header block whose checksum was right.
pub(super) struct Header {
    block: [u8; BLOCK],
    offset: u64,
}

impl Header {
    /// Takes the block found at byte `offset` of the archive.
    pub(super) fn parse(block: [u8; BLOCK], offset: u64) -> Result<Self, TarError> {
        let header = Self { block, offset };
        let expected = header.number("checksum", 148, 8)?;
        // The checksum field counts as spaces; old writers summed signed bytes.
        let counted = |(index, byte): (usize, &u8)| {
            if (148..156).contains(&index) {
                b' '
            } else {
                *byte
            }
        };
        let bytes = || header.block.iter().enumerate().map(counted);
        let unsigned: i64 = bytes().map(i64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        if expected != unsigned && expected != signed {
            return Err(TarError::Checksum { offset });
        }
        Ok(header)
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.block[156]
    }

    pub(super) fn size(&self) -> Result<u64, TarError> {
        let size = self.number("size", 124, 12)?;
        u64::try_from(size).map_err(|_| TarError::Number {
            field: "size",
            offset: self.offset,
        })
    }

    /// The entry this header and the extensions before it describe; its content
    /// begins at byte `content` of the archive.
    pub(super) fn entry(
        &self,
        overrides: Overrides,
        content: u64,
        limits: &Limits,
    ) -> Result<TarEntry, TarError> {
        let path = overrides.path.unwrap_or_else(|| self.path());
        let shown = || printable(&path);
        let target = overrides
            .link
            .unwrap_or_else(|| self.text(157, 100).to_vec());
        let link = |target: Vec<u8>| {
            if target.is_empty() {
                Err(TarError::EmptyTarget { path: shown() })
            } else {
                Ok(target)
            }
        };
        let kind = match self.type_flag() {
            // Before POSIX a directory was a file whose name ends in a slash.
            b'0' | 0 if path.ends_with(b"/") => EntryKind::Directory,
            b'0' | 0 => EntryKind::Regular,
            b'1' => EntryKind::HardLink {
                target: link(target)?,
            },
            b'2' => EntryKind::Symlink {
                target: link(target)?,
            },
            b'3' => {
                let (major, minor) = self.device()?;
                EntryKind::CharacterDevice { major, minor }
            }
            b'4' => {
                let (major, minor) = self.device()?;
                EntryKind::BlockDevice { major, minor }
            }
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            b'S' => return Err(TarError::Sparse { path: shown() }),
            flag => {
                let flag = flag.escape_ascii().to_string();
                return Err(TarError::UnsupportedType {
                    path: shown(),
                    flag,
                });
            }
        };
        // Only regular files have content; a size elsewhere is left over from
        // what the writer saw on disk, and no reader takes bytes for it.
        let size = match kind {
            EntryKind::Regular => overrides.size.map_or_else(|| self.size(), Ok)?,
            _ => 0,
        };
        if size > limits.file_bytes {
            let limit = limits.file_bytes;
            return Err(TarError::FileSize {
                path: shown(),
                size,
                limit,
            });
        }
        let mut xattrs = overrides.xattrs;
        xattrs.sort();
        let xattr_bytes = xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if xattr_bytes > limits.xattr_bytes {
            let limit = limits.xattr_bytes;
            return Err(TarError::XattrSize {
                path: shown(),
                size: xattr_bytes,
                limit,
            });
        }
        Ok(TarEntry {
            kind,
            // Some writers put the file type above the permission bits.
            mode: (self.number("mode", 100, 8)? & 0o7777) as u16,
            user: overrides
                .user
                .map_or_else(|| self.identity("uid", 108), Ok)?,
            group: overrides
                .group
                .map_or_else(|| self.identity("gid", 116), Ok)?,
            modified: match overrides.modified {
                Some(modified) => modified,
                None => (self.number("mtime", 136, 12)?, 0),
            },
            xattrs,
            offset: content,
            size,
            path,
        })
    }

    fn path(&self) -> Vec<u8> {
        let name = self.text(0, 100);
        // GNU's own format keeps other things where POSIX has the prefix.
        let posix = &self.block[257..265] == b"ustar\x0000";
        let prefix = if posix { self.text(345, 155) } else { b"" };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }

    fn device(&self) -> Result<(u32, u32), TarError> {
        // What the kernel's and EROFS' 32-bit device numbers can hold.
        let within = |field, at, bits: u32| {
            u32::try_from(self.number(field, at, 8)?)
                .ok()
                .filter(|number| number >> bits == 0)
                .ok_or(TarError::Number {
                    field,
                    offset: self.offset,
                })
        };
        Ok((within("devmajor", 329, 12)?, within("devminor", 337, 20)?))
    }

    fn identity(&self, field: &'static str, at: usize) -> Result<u32, TarError> {
        u32::try_from(self.number(field, at, 8)?).map_err(|_| TarError::Number {
            field,
            offset: self.offset,
        })
    }

    fn text(&self, at: usize, length: usize) -> &[u8] {
        let field = &self.block[at..at + length];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
        &field[..end]
    }

    /// A numeric field: octal digits between blanks, or GNU's big-endian binary
    /// form marked by the top bit. An empty field is zero.
    fn number(&self, field: &'static str, at: usize, length: usize) -> Result<i64, TarError> {
        let invalid = || TarError::Number {
            field,
            offset: self.offset,
        };
        let bytes = &self.block[at..at + length];
        if bytes[0] & 0x80 != 0 {
            // Two's complement with the marker bit taken as a copy of the sign.
            let negative = bytes[0] & 0x40 != 0;
            let first = if negative { bytes[0] } else { bytes[0] & 0x7f };
            let mut value = i128::from(first.cast_signed());
            for byte in &bytes[1..] {
                value = (value << 8) | i128::from(*byte);
            }
            return i64::try_from(value).map_err(|_| invalid());
        }
        let text = self.text(at, length).trim_ascii();
        let mut value: i64 = 0;
        for byte in text {
            let digit = match byte {
                b'0'..=b'7' => i64::from(byte - b'0'),
                _ => return Err(invalid()),
            };
            // At most 12 octal digits: 36 bits.
            value = value * 8 + digit;
        }
        Ok(value)
    }
}
