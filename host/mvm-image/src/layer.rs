//! One layer as a stream: stored bytes, decompressed, counted and hashed.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::limits::Limits;
use crate::progress::Progress;
use mvm_contract::Digest;

/// The largest zstd window, 2^27 bytes: what the reference decoder accepts by
/// default, and what bounds the decoder's memory.
const ZSTD_WINDOW_LOG: u32 = 27;

const BUFFER: usize = 128 * 1024;

/// Some bytes of an open file.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub file: Arc<File>,
    pub offset: u64,
    pub size: u64,
}

impl Blob {
    pub(crate) fn reader(&self) -> BlobReader {
        BlobReader {
            blob: self.clone(),
            position: 0,
        }
    }
}

/// Reads a [`Blob`] from its beginning, without moving the file's own position.
pub(crate) struct BlobReader {
    blob: Blob,
    position: u64,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.blob.size.saturating_sub(self.position);
        let wanted = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        // The range was checked to lie inside the file when the blob was made.
        let count = self
            .blob
            .file
            .read_at(&mut buffer[..wanted], self.blob.offset + self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let moved = match position {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
            SeekFrom::End(distance) => self.blob.size.checked_add_signed(distance),
        };
        self.position = moved.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Why a layer's stream was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// The image's total of unpacked bytes.
    Unpacked,
    /// The bytes this layer may become, given its compressed size.
    Ratio(u64),
}

/// What a layer turned out to be once all of it was read.
pub(crate) struct LayerDigests {
    /// Of the bytes as stored.
    pub stored: Digest,
    /// Of the decompressed bytes that were read; of nothing unless asked for.
    pub unpacked: Digest,
    pub unpacked_bytes: u64,
}

/// Reads the decompressed bytes of one layer, at most as many as allowed.
pub(crate) struct LayerReader<'a> {
    decoder: Decoder<'a>,
    hash: Option<Sha256>,
    count: u64,
    allowed: u64,
    limit: Exceeded,
    exceeded: Option<Exceeded>,
}

enum Decoder<'a> {
    None(BufReader<Stored<'a>>),
    Gzip(Box<MultiGzDecoder<BufReader<Stored<'a>>>>),
    Zstd(ZstdDecoder<'static, BufReader<Stored<'a>>>),
}

/// Stored bytes, hashed as they are read.
struct Stored<'a> {
    input: BlobReader,
    hash: Sha256,
    progress: &'a dyn Progress,
}

impl Read for Stored<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.progress.advance(count as u64);
        Ok(count)
    }
}

impl<'a> LayerReader<'a> {
    /// Opens a layer; `unpacked` bytes are what the image may still unpack, and
    /// `hash` asks for the digest of the decompressed bytes.
    pub(crate) fn new(
        blob: &Blob,
        compression: Compression,
        unpacked: u64,
        hash: bool,
        limits: &Limits,
        progress: &'a dyn Progress,
    ) -> io::Result<Self> {
        let stored = Stored {
            input: blob.reader(),
            hash: Sha256::new(),
            progress,
        };
        let stored = BufReader::with_capacity(BUFFER, stored);
        let decoder = match compression {
            Compression::None => Decoder::None(stored),
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(stored))),
            Compression::Zstd => {
                let mut decoder = ZstdDecoder::with_buffer(stored)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Decoder::Zstd(decoder)
            }
        };
        let by_ratio = blob
            .size
            .saturating_mul(limits.ratio)
            .saturating_add(limits.ratio_free_bytes);
        let limit = if compression != Compression::None && by_ratio < unpacked {
            Exceeded::Ratio(by_ratio)
        } else {
            Exceeded::Unpacked
        };
        Ok(Self {
            decoder,
            hash: hash.then(Sha256::new),
            count: 0,
            allowed: match limit {
                Exceeded::Ratio(allowed) => allowed,
                Exceeded::Unpacked => unpacked,
            },
            limit,
            exceeded: None,
        })
    }

    /// Which limit made the last read fail, if one did.
    pub(crate) fn exceeded(&self) -> Option<Exceeded> {
        self.exceeded
    }

    /// Reads what is left of the stored bytes and returns the digests. The
    /// decompressed bytes must have been read to their end if they are hashed.
    pub(crate) fn finish(self) -> io::Result<LayerDigests> {
        let mut stored = match self.decoder {
            Decoder::None(stored) => stored,
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Zstd(decoder) => decoder.finish(),
        };
        io::copy(&mut stored, &mut io::sink())?;
        Ok(LayerDigests {
            stored: Digest::from_bytes(stored.into_inner().hash.finalize().into()),
            unpacked: Digest::from_bytes(self.hash.unwrap_or_default().finalize().into()),
            unpacked_bytes: self.count,
        })
    }
}

impl Read for LayerReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.decoder {
            Decoder::None(input) => input.read(buffer)?,
            Decoder::Gzip(input) => input.read(buffer)?,
            Decoder::Zstd(input) => input.read(buffer)?,
        };
        self.count += count as u64;
        if self.count > self.allowed {
            self.exceeded = Some(self.limit);
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..count]);
        }
        Ok(count)
    }
}
