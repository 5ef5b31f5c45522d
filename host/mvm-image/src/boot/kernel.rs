//! Linux x86 boot images and the kernel inside them.
//!
//! Distributions ship a *bzImage*: a real-mode header, a decompressor and the compressed kernel.
//! The hypervisor enters the kernel directly instead, through the PVH entry point of the
//! uncompressed ELF, which skips firmware and the decompressor; decompressing happens once, here,
//! and not in every guest. The format is the kernel's `Documentation/arch/x86/boot.rst`.

use std::io::Read;

use object::Endianness;
use object::elf::{EM_X86_64, FileHeader64, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};

/// Largest boot image that is read, in bytes.
pub(crate) const MAX_BOOT_IMAGE: u64 = 128 << 20;
/// Largest decompressed kernel, in bytes.
const MAX_KERNEL: usize = 512 << 20;

const SETUP_SECTORS: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
const HEADER_MAGIC: usize = 0x202;
const PROTOCOL_VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
/// The payload fields exist since this protocol version.
const FIRST_VERSION_WITH_PAYLOAD: u16 = 0x0208;

/// `XEN_ELFNOTE_PHYS32_ENTRY`: the note that holds the PVH entry point.
const PVH_ENTRY_NOTE: u32 = 18;

/// An LZ4 "legacy" stream is a row of blocks which each unpack to at most this much.
const LZ4_BLOCK: usize = 8 << 20;

/// Why a boot image holds no kernel that can be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The file has no Linux setup header.
    #[error("not a Linux x86 boot image: no setup header")]
    NotABootImage,
    /// The header is older than the fields that locate the kernel.
    #[error("boot protocol version {major}.{minor} does not locate the kernel in the image")]
    ProtocolTooOld {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// The header points outside the file.
    #[error(
        "the compressed kernel, {length} bytes at {offset}, lies outside the image of {size} bytes"
    )]
    PayloadOutside {
        /// Offset into the file, in bytes.
        offset: u64,
        /// Length, in bytes.
        length: u64,
        /// File size, in bytes.
        size: u64,
    },
    /// A compression this reader does not know.
    #[error("the kernel is compressed with `{format}`, which is not supported")]
    UnsupportedCompression {
        /// Name of the format, or the first bytes of an unknown one.
        format: String,
    },
    /// The payload does not decompress.
    #[error("cannot decompress the kernel with `{format}`")]
    Decompress {
        /// Name of the format.
        format: &'static str,
        /// What the decoder said.
        #[source]
        source: std::io::Error,
    },
    /// The payload decompresses to more than a kernel can be.
    #[error("the decompressed kernel exceeds {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The payload is not an ELF file for x86-64.
    #[error("the decompressed kernel is not an x86-64 ELF file")]
    NotX86Elf,
    /// The ELF file's own tables do not hold together.
    #[error("the kernel's ELF {part} cannot be read")]
    MalformedElf {
        /// Which table.
        part: &'static str,
        /// What the reader said.
        #[source]
        source: object::read::Error,
    },
    /// The kernel cannot be entered directly.
    #[error("the kernel has no PVH entry point")]
    NoPvhEntry,
}

impl KernelError {
    /// The way out, where the user has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnsupportedCompression { .. } => Some(
                "use a kernel compressed with gzip, xz, zstd or lz4, or an uncompressed `vmlinux`"
                    .into(),
            ),
            Self::NoPvhEntry => Some("use a kernel built with `CONFIG_PVH=y`".into()),
            _ => None,
        }
    }
}

/// Returns the uncompressed kernel inside a bzImage: an x86-64 ELF file with a PVH entry point.
/// An image that already is such a file is returned as it is.
///
/// # Errors
///
/// Says which part of the image does not hold; nothing in `image` can make this panic or take
/// more memory than the limits of this module.
pub fn extract_vmlinux(image: &[u8]) -> Result<Vec<u8>, KernelError> {
    let kernel = if image.starts_with(b"\x7fELF") {
        image.to_vec()
    } else {
        decompress(payload(image)?)?
    };
    require_pvh_entry(&kernel)?;
    Ok(kernel)
}

/// Finds the compressed kernel through the setup header.
fn payload(image: &[u8]) -> Result<&[u8], KernelError> {
    if field::<2>(image, BOOT_FLAG) != Some([0x55, 0xaa])
        || field::<4>(image, HEADER_MAGIC) != Some(*b"HdrS")
    {
        return Err(KernelError::NotABootImage);
    }
    let [minor, major] = field::<2>(image, PROTOCOL_VERSION).ok_or(KernelError::NotABootImage)?;
    if u16::from_le_bytes([minor, major]) < FIRST_VERSION_WITH_PAYLOAD {
        return Err(KernelError::ProtocolTooOld { major, minor });
    }
    let number = |at| {
        field::<4>(image, at)
            .map(|bytes| u64::from(u32::from_le_bytes(bytes)))
            .ok_or(KernelError::NotABootImage)
    };
    // Zero means four, from the days of boot sectors.
    let setup_sectors = match image.get(SETUP_SECTORS) {
        Some(0) => 4,
        Some(sectors) => u64::from(*sectors),
        None => return Err(KernelError::NotABootImage),
    };
    let offset = (setup_sectors + 1) * 512 + number(PAYLOAD_OFFSET)?;
    let length = number(PAYLOAD_LENGTH)?;
    let outside = KernelError::PayloadOutside {
        offset,
        length,
        size: image.len() as u64,
    };
    let (Ok(start), Ok(end)) = (usize::try_from(offset), usize::try_from(offset + length)) else {
        return Err(outside);
    };
    image
        .get(start..end)
        .filter(|payload| payload.len() > 8)
        .ok_or(outside)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The build appends the unpacked size to every format but gzip, which ends with it anyway; all
/// decoders below stop at the end of their own stream and leave those four bytes alone.
fn decompress(payload: &[u8]) -> Result<Vec<u8>, KernelError> {
    match payload {
        [0x1f, 0x8b, ..] => read_bounded("gzip", flate2::read::GzDecoder::new(payload)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            read_bounded("xz", liblzma::read::XzDecoder::new(payload))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::stream::read::Decoder::with_buffer(payload).map_err(|source| {
                KernelError::Decompress {
                    format: "zstd",
                    source,
                }
            })?;
            read_bounded("zstd", decoder.single_frame())
        }
        [0x02, 0x21, 0x4c, 0x18, blocks @ ..] => decompress_lz4_legacy(blocks),
        [0x7f, b'E', b'L', b'F', ..] => Ok(payload.to_vec()),
        _ => Err(KernelError::UnsupportedCompression {
            format: name_of_unsupported(payload),
        }),
    }
}

fn name_of_unsupported(payload: &[u8]) -> String {
    match payload {
        [b'B', b'Z', b'h', ..] => "bzip2".into(),
        [0x5d, 0, 0, ..] => "lzma".into(),
        [0x89, b'L', b'Z', b'O', ..] => "lzo".into(),
        _ => format!(
            "unknown format {}",
            hex::encode(payload.first_chunk::<4>().unwrap_or(&[0; 4]))
        ),
    }
}

fn read_bounded(format: &'static str, decoder: impl Read) -> Result<Vec<u8>, KernelError> {
    let mut kernel = Vec::new();
    decoder
        .take(MAX_KERNEL as u64 + 1)
        .read_to_end(&mut kernel)
        .map_err(|source| KernelError::Decompress { format, source })?;
    if kernel.len() > MAX_KERNEL {
        return Err(KernelError::TooLarge { limit: MAX_KERNEL });
    }
    Ok(kernel)
}

/// Blocks of `length (u32, little endian)` and that many compressed bytes, up to the four bytes
/// of the appended size.
fn decompress_lz4_legacy(mut blocks: &[u8]) -> Result<Vec<u8>, KernelError> {
    let failed = |source| KernelError::Decompress {
        format: "lz4",
        source,
    };
    let mut kernel = Vec::new();
    let mut block = vec![0; LZ4_BLOCK];
    while blocks.len() > 4 {
        let truncated = || failed(std::io::ErrorKind::UnexpectedEof.into());
        let (length, rest) = blocks.split_first_chunk::<4>().ok_or_else(truncated)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| truncated())?;
        let compressed = rest.get(..length).ok_or_else(truncated)?;
        let unpacked = lz4_flex::block::decompress_into(compressed, &mut block)
            .map_err(|error| failed(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
        if kernel.len() + unpacked > MAX_KERNEL {
            return Err(KernelError::TooLarge { limit: MAX_KERNEL });
        }
        kernel.extend_from_slice(&block[..unpacked]);
        blocks = &rest[length..];
    }
    Ok(kernel)
}

fn require_pvh_entry(kernel: &[u8]) -> Result<(), KernelError> {
    let header = FileHeader64::<Endianness>::parse(kernel).map_err(|_| KernelError::NotX86Elf)?;
    let endian = header.endian().map_err(|_| KernelError::NotX86Elf)?;
    if header.e_machine(endian) != EM_X86_64 || endian != Endianness::Little {
        return Err(KernelError::NotX86Elf);
    }
    let malformed = |part| move |source| KernelError::MalformedElf { part, source };
    let segments = header
        .program_headers(endian, kernel)
        .map_err(malformed("program headers"))?;
    for segment in segments
        .iter()
        .filter(|segment| segment.p_type(endian) == PT_NOTE)
    {
        let Some(mut notes) = segment.notes(endian, kernel).map_err(malformed("notes"))? else {
            continue;
        };
        while let Some(note) = notes.next().map_err(malformed("notes"))? {
            if note.name() == b"Xen" && note.n_type(endian) == PVH_ENTRY_NOTE {
                return Ok(());
            }
        }
    }
    Err(KernelError::NoPvhEntry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_refused() {
        assert!(matches!(
            extract_vmlinux(b""),
            Err(KernelError::NotABootImage)
        ));
        assert!(matches!(
            extract_vmlinux(&[0; 4096]),
            Err(KernelError::NotABootImage)
        ));
        assert!(matches!(
            extract_vmlinux(b"\x7fELF"),
            Err(KernelError::NotX86Elf)
        ));
    }

    fn image_with_payload(payload: &[u8], length: u32) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[SETUP_SECTORS] = 1;
        image[BOOT_FLAG..BOOT_FLAG + 2].copy_from_slice(&[0x55, 0xaa]);
        image[HEADER_MAGIC..HEADER_MAGIC + 4].copy_from_slice(b"HdrS");
        image[PROTOCOL_VERSION..PROTOCOL_VERSION + 2].copy_from_slice(&[0x0f, 2]);
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    #[test]
    fn a_payload_outside_the_file_is_refused() {
        let image = image_with_payload(&[0; 16], u32::MAX);
        assert!(matches!(
            extract_vmlinux(&image),
            Err(KernelError::PayloadOutside { .. })
        ));
    }

    #[test]
    fn unknown_compressions_are_named() {
        for (magic, name) in [
            (&b"BZh91AY&SY.."[..], "bzip2"),
            (b"\x5d\0\0\x80........", "lzma"),
        ] {
            let error =
                extract_vmlinux(&image_with_payload(magic, magic.len() as u32)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn damaged_streams_are_errors() {
        for magic in [
            &b"\x1f\x8b\x08"[..],
            b"\xfd7zXZ\0",
            b"\x28\xb5\x2f\xfd",
            b"\x02\x21\x4c\x18",
        ] {
            let mut payload = magic.to_vec();
            payload.extend_from_slice(&[0xa5; 64]);
            let error = extract_vmlinux(&image_with_payload(&payload, payload.len() as u32));
            assert!(
                matches!(error, Err(KernelError::Decompress { .. })),
                "{error:?}"
            );
        }
    }

    #[test]
    fn an_elf_file_without_the_note_is_refused() {
        let own_program = std::fs::read("/proc/self/exe").unwrap();
        assert!(matches!(
            extract_vmlinux(&own_program),
            Err(KernelError::NoPvhEntry)
        ));
    }
}
