//! Why an entry cannot be part of an image.

/// An entry that is refused. `path` is the entry's own path as written.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// More entries than allowed.
    #[error("the image has more than {limit} entries, the last one read is `{path}`")]
    Entries {
        /// The first entry too many.
        path: String,
        /// `Limits::entries`.
        limit: u64,
    },
    /// More names, link targets and attributes than allowed.
    #[error("names and attributes up to entry `{path}` exceed the limit of {limit} bytes")]
    MetadataBytes {
        /// The first entry too many.
        path: String,
        /// `Limits::metadata_bytes`.
        limit: u64,
    },
    /// A path that is empty or contains a NUL byte.
    #[error("entry `{path}` has a malformed path")]
    MalformedPath {
        /// The entry.
        path: String,
    },
    /// A path or link target longer than allowed.
    #[error("a path of entry `{path}` has {size} bytes, the limit is {limit}")]
    PathLength {
        /// The entry.
        path: String,
        /// Bytes of its path or target.
        size: usize,
        /// `Limits::path_bytes`.
        limit: usize,
    },
    /// A path deeper than allowed.
    #[error("entry `{path}` is more than {limit} directories deep")]
    PathDepth {
        /// The entry.
        path: String,
        /// `Limits::path_depth`.
        limit: usize,
    },
    /// A file name longer than any Linux filesystem allows.
    #[error("entry `{path}` has a name of more than 255 bytes")]
    NameLength {
        /// The entry.
        path: String,
    },
    /// A path with a `..` component.
    #[error("entry `{path}` contains `..`")]
    Escape {
        /// The entry.
        path: String,
    },
    /// A hard link whose target has a `..` component.
    #[error("hard link `{path}` to `{target}` contains `..`")]
    HardLinkEscape {
        /// The entry.
        path: String,
        /// Its target.
        target: String,
    },
    /// A parent that is a symlink out of the image.
    #[error("a parent of entry `{path}` is a symlink to `{target}`, which leads out of the image")]
    ParentEscape {
        /// The entry.
        path: String,
        /// The symlink's target.
        target: String,
    },
    /// Parents that are symlinks in a circle, or too many in a row.
    #[error("the parents of entry `{path}` are symlinks in a loop")]
    SymlinkLoop {
        /// The entry.
        path: String,
    },
    /// A parent that is neither a directory nor a symlink.
    #[error("entry `{path}` lies below `{parent}`, which is not a directory")]
    ParentNotDirectory {
        /// The entry.
        path: String,
        /// The component in question.
        parent: String,
    },
    /// The root itself as something else than a directory.
    #[error("entry `{path}` would replace the image's root")]
    RootReplaced {
        /// The entry.
        path: String,
    },
    /// A hard link to a path that does not exist.
    #[error("entry `{path}` is a hard link to `{target}`, which does not exist")]
    HardLinkMissing {
        /// The entry.
        path: String,
        /// Its target.
        target: String,
    },
    /// A hard link to a directory.
    #[error("entry `{path}` is a hard link to `{target}`, which is a directory")]
    HardLinkDirectory {
        /// The entry.
        path: String,
        /// Its target.
        target: String,
    },
    /// A block device.
    #[error("entry `{path}` is a block device ({major}:{minor})")]
    BlockDevice {
        /// The entry.
        path: String,
        /// Major device number.
        major: u32,
        /// Minor device number.
        minor: u32,
    },
    /// A name with the whiteout prefix that is not a whiteout.
    #[error("entry `{path}` is not a valid whiteout")]
    Whiteout {
        /// The entry.
        path: String,
    },
    /// An extended attribute larger than Linux allows.
    #[error("entry `{path}` has extended attribute `{name}` of {size} bytes, the limit is 65535")]
    XattrValue {
        /// The entry.
        path: String,
        /// The attribute's full name.
        name: String,
        /// Bytes of its value.
        size: usize,
    },
    /// An extended attribute outside the namespaces Linux stores, or one that
    /// would steer the overlay filesystem the image is mounted below.
    #[error("entry `{path}` has unsupported extended attribute `{name}`")]
    Xattr {
        /// The entry.
        path: String,
        /// The attribute's full name.
        name: String,
    },
}

impl MergeError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Escape { .. } | Self::HardLinkEscape { .. } | Self::ParentEscape { .. } => {
                "the image tries to reach outside its root: do not trust it, or rebuild the layer"
            }
            Self::HardLinkMissing { .. } => {
                "put the link's target into the same layer or a lower one"
            }
            Self::BlockDevice { .. } => {
                "remove the device node from the image; sandboxes have no use for it"
            }
            Self::Xattr { .. } | Self::XattrValue { .. } => {
                "remove the attribute from the file and rebuild the layer"
            }
            Self::Entries { .. } | Self::MetadataBytes { .. } | Self::PathDepth { .. } => {
                "build a smaller image"
            }
            _ => return None,
        };
        Some(hint.into())
    }
}
