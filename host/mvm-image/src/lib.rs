//! Image sources to verified, content-addressed root filesystems and boot artifacts.
//!
//! An image comes in as an OCI layout, every byte of it is checked against the
//! digest that names it, its layers are merged, and one deterministic EROFS
//! file is published into the content [`Store`]. `MATERIALIZATION.md` in this
//! crate states what a caller may rely on.

mod atomic_file;
pub mod boot;
pub mod debian;
mod digest;
mod progress;
mod store;

pub use atomic_file::WriteFileError;
pub use digest::{Digest, ParseDigestError};
pub use progress::Progress;
pub use store::{Entry, Lock, RecordName, Staging, Store, StoreError};
