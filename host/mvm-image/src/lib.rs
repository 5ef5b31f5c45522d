//! Image sources to verified, content-addressed root filesystems.
//!
//! An image comes in as an OCI layout, every byte of it is checked against the
//! digest that names it, its layers are merged, and one deterministic EROFS
//! file is published into the content [`Store`]. `MATERIALIZATION.md` in this
//! crate states what a caller may rely on.

mod digest;
mod store;

pub use digest::{Digest, ParseDigestError};
pub use store::{Entry, Lock, RecordName, Staging, Store, StoreError};
