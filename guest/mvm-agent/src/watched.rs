//! Descriptors the event loop watches.

#![allow(unsafe_code)]

use std::io;

use rustix::fd::OwnedFd;
use tokio::io::{Interest, unix::AsyncFd};

/// A descriptor with the event loop's watch on it.
pub(crate) type Watched = AsyncFd<OwnedFd>;

/// Watches a descriptor, which must not block.
pub(crate) fn watch(descriptor: OwnedFd, interest: Interest) -> io::Result<Watched> {
    // SAFETY: an `OwnedFd` is valid as long as it lives, its number never changes, and the watch
    // gives out shared references only, so it stays registered until both are dropped.
    unsafe { AsyncFd::register_with_interest(descriptor, interest) }.map_err(io::Error::from)
}
