//! Why a tree cannot be written.

use std::io;

/// A tree that EROFS cannot hold, or a failure to write it.
#[derive(Debug, thiserror::Error)]
pub enum ErofsError {
    /// More blocks than the format counts.
    #[error(
        "the image needs {blocks} blocks, the format holds at most {}",
        u32::MAX
    )]
    TooLarge {
        /// Blocks of 4096 bytes.
        blocks: u64,
    },
    /// More extended attributes on one inode than the format holds.
    #[error("an inode has {size} bytes of extended attributes, the format holds at most 262148")]
    Xattrs {
        /// Bytes as stored.
        size: usize,
    },
    /// There is no room for the image.
    #[error("failed to reserve {bytes} bytes for the image")]
    Reserve {
        /// The size of the image.
        bytes: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Writing the image failed.
    #[error("failed to write the image at byte {offset}")]
    Write {
        /// Where in the image.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ErofsError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Reserve { source, .. } | Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Some("free some space on the filesystem of the state directory".into())
                }
                _ => None,
            },
            Self::TooLarge { .. } | Self::Xattrs { .. } => Some("build a smaller image".into()),
        }
    }
}
