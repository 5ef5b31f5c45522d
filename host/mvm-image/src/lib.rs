//! Image sources to verified, content-addressed root filesystems and boot artifacts.
//!
//! An image comes in as an OCI layout or as the closure of a Nix package, every byte of it is checked against the
//! digest that names it, its layers are merged, and one deterministic EROFS
//! file is published into the content [`Store`]. `MATERIALIZATION.md` in this
//! crate states what a caller may rely on.

mod atomic_file;
pub mod boot;
pub mod catalog;
pub mod compose;
pub mod debian;
mod erofs;
mod hashing;
mod image;
mod layer;
mod limits;
pub mod logical;
mod materialize;
mod merge;
pub mod nix;
mod oci;
mod progress;
pub mod registry;
mod source;
mod store;
mod tar;

pub use atomic_file::WriteFileError;
pub use erofs::ErofsError;
pub use image::{Image, ImageConfig};
pub use limits::Limits;
pub use materialize::{LayerError, MaterializeError, MaterializeOptions, materialize};
pub use merge::MergeError;
pub use mvm_contract::{Digest, ParseDigestError};
pub use oci::SourceError;
pub use progress::{Progress, Silent};
pub use source::{ImageSource, ParseSourceError};
pub use store::{Clearing, Entry, Hold, Lock, RecordName, Seal, Staging, Store, StoreError};
pub use tar::TarError;
