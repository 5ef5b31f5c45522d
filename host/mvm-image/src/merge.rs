//! Merging layers: tar entries of each layer, lowest first, applied to one tree.
//!
//! The tree holds metadata only; a regular file remembers which bytes of which
//! layer are its content. Nothing here touches a filesystem, so the worst a
//! hostile path can do is to be refused.
//!
//! Rules, where the OCI image specification leaves room (they are those of
//! containerd unless said otherwise):
//! - a later entry of the same layer replaces an earlier one of the same path;
//! - a directory over a directory updates its metadata and keeps its children,
//!   every other combination replaces what was there;
//! - a whiteout hides what lower layers put there, never what its own layer
//!   does, in whichever order the two stand;
//! - a parent that is a symlink is followed inside the image, absolute targets
//!   counting from the image's root; it is refused when that climbs above the
//!   root or leads to nothing (containerd would create what is missing).

mod apply;
mod error;
mod path;

use std::collections::BTreeMap;

pub(crate) use apply::Merge;
pub use error::MergeError;

/// Index of a node in its tree. The root is [`ROOT`].
pub(crate) type NodeId = u32;

/// The root directory of every tree.
pub(crate) const ROOT: NodeId = 0;

/// A merged image: every node that was ever made, the live ones reachable from
/// [`ROOT`].
#[derive(Debug)]
pub(crate) struct Tree {
    pub nodes: Vec<Node>,
}

/// One inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub kind: NodeKind,
    pub metadata: Metadata,
}

/// What every kind of inode has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Permission, set-id and sticky bits.
    pub mode: u16,
    pub user: u32,
    pub group: u32,
    /// Seconds and nanoseconds since 1970; the nanoseconds count forward.
    pub modified: (i64, u32),
    /// Full names to values, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The kinds of inode an image may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Directory(Directory),
    Regular(Content),
    Symlink(Vec<u8>),
    CharacterDevice { major: u32, minor: u32 },
    Fifo,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    pub children: BTreeMap<Vec<u8>, Child>,
    /// The layer that last hid everything below from lower layers.
    opaque_since: Option<u32>,
}

/// A name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Child {
    pub node: NodeId,
    /// The layer whose entry this name comes from.
    layer: u32,
}

/// Where the bytes of a regular file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    /// Index of the layer, lowest first.
    pub layer: u32,
    /// First byte in the decompressed layer.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

impl Metadata {
    /// Of directories that no entry describes.
    fn implied_directory() -> Self {
        Self {
            mode: 0o755,
            user: 0,
            group: 0,
            modified: (0, 0),
            xattrs: Vec::new(),
        }
    }
}
