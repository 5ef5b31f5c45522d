//! The host's random source.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// Fresh random bytes.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // Up to 256 bytes come whole (`getrandom(2)`).
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes)
}

/// Random bits for an identifier.
pub(crate) fn bits() -> io::Result<u128> {
    bytes().map(u128::from_ne_bytes)
}
