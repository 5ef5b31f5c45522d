//! Writing a merged tree as an EROFS image.
//!
//! The on-disk format is that of Linux's `fs/erofs/erofs_fs.h`: uncompressed,
//! 4096-byte blocks, one device. Every choice follows from the tree alone, so
//! equal trees give equal bytes:
//!
//! ```text
//! 0       1024         1152                                  metadata end
//! | zeros | superblock | inode, xattrs, inline tail | ...    | blocks of directories and
//!                                                              long symlinks | file blocks |
//! ```
//!
//! Inodes stand in breadth-first order of the tree, names sorted, the root
//! first; the children of a directory are neighbours. File blocks stand in the
//! order in which the layers deliver them, so that writing them is sequential.
//! The volume has no label and a zero UUID, and its build time is the
//! modification time that most inodes share, which those need not repeat.

mod directory;
mod error;
mod format;
mod layout;
#[cfg(test)]
mod tests;
mod write;
mod xattr;

pub use error::ErofsError;
pub(crate) use layout::{Extent, Layout};
