//! What a materialized image is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::nix::NixProvenance;
use mvm_contract::Digest;

/// A root filesystem in the store, ready to be mounted.
#[derive(Debug, Clone)]
pub struct Image {
    /// Of the EROFS file.
    pub digest: Digest,
    /// The EROFS file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// Of the manifest it was made from; of the config for archives without one; of its closure
    /// for Nix.
    pub manifest: Digest,
    /// The source as the user named it.
    pub source: String,
    /// How to run it.
    pub config: ImageConfig,
    /// What `nix` made it from, if it did.
    pub provenance: Option<NixProvenance>,
}

/// The part of an OCI image config that says how to run the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `NAME=value` entries.
    pub env: Vec<String>,
    /// The directory a process starts in.
    pub working_dir: Option<String>,
    /// A user, or `user:group`, by name or number.
    pub user: Option<String>,
    /// What is put before the command.
    pub entrypoint: Vec<String>,
    /// What is run when nothing else is asked for.
    pub command: Vec<String>,
}
