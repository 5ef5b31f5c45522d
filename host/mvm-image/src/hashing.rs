//! A writer that hashes and counts what goes through it.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use mvm_contract::Digest;

/// Writes to another writer, and tells at the end what that was.
pub(crate) struct Hashing<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Hashing<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            size: 0,
        }
    }

    /// The writer below, the digest of all that was written, and its size in bytes.
    pub(crate) fn finish(self) -> (W, Digest, u64) {
        let digest = Digest::from_bytes(self.hash.finalize().into());
        (self.inner, digest, self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
