//! Files of the guest. Every path is absolute and resolved inside the guest.

use prost::{Enumeration, Message};

/// Reads a regular file.
#[derive(Clone, PartialEq, Message)]
pub struct ReadFile {
    /// The file; a symlink is followed.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// The first byte wanted.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// How many bytes at most; absent means to the end.
    #[prost(uint64, optional, tag = "3")]
    pub length: Option<u64>,
}

/// Writes a file. The content becomes visible as a whole at `EndOfData`, and not at all when the
/// stream ends before; a device or pipe is written through.
#[derive(Clone, PartialEq, Message)]
pub struct WriteFile {
    /// The file; a symlink is followed.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Permission bits; absent keeps those of a file that is there, and means 0644 for a new one.
    #[prost(uint32, optional, tag = "2")]
    pub mode: Option<u32>,
    /// Make missing parent directories (0755, of the same owner).
    #[prost(bool, tag = "3")]
    pub make_parents: bool,
    /// Owner of the file, as in [`StartProcess::user`](super::StartProcess::user); empty keeps
    /// that of a file that is there, and means root for a new one.
    #[prost(string, tag = "4")]
    pub owner: String,
}

/// Lists a directory, sorted by name.
#[derive(Clone, PartialEq, Message)]
pub struct ListDirectory {
    /// The directory; a symlink is followed.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
}

/// A part of a directory's entries.
#[derive(Clone, PartialEq, Message)]
pub struct DirectoryBatch {
    /// The entries, by name.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<DirectoryEntry>,
}

/// An entry of a directory.
#[derive(Clone, PartialEq, Message)]
pub struct DirectoryEntry {
    /// Its name.
    #[prost(bytes = "vec", tag = "1")]
    pub name: Vec<u8>,
    /// What it is, itself, not what a symlink leads to.
    #[prost(message, required, tag = "2")]
    pub metadata: Metadata,
}

/// Asks for a path's [`Metadata`].
#[derive(Clone, PartialEq, Message)]
pub struct StatPath {
    /// The path.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Whether a symlink is followed.
    #[prost(bool, tag = "2")]
    pub follow_symlink: bool,
}

/// What a path is.
#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    /// Its kind.
    #[prost(enumeration = "FileKind", tag = "1")]
    pub kind: i32,
    /// Permission bits, with set-user-id, set-group-id and sticky (`st_mode & 07777`).
    #[prost(uint32, tag = "2")]
    pub mode: u32,
    /// Owner.
    #[prost(uint32, tag = "3")]
    pub user_id: u32,
    /// Group.
    #[prost(uint32, tag = "4")]
    pub group_id: u32,
    /// Size in bytes.
    #[prost(uint64, tag = "5")]
    pub size: u64,
    /// Modification time, nanoseconds since the Unix epoch.
    #[prost(sint64, tag = "6")]
    pub modified_nanoseconds: i64,
    /// What a symlink holds; empty for anything else.
    #[prost(bytes = "vec", tag = "7")]
    pub link_target: Vec<u8>,
}

/// Kinds of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum FileKind {
    /// None of the others.
    Other = 0,
    /// A regular file.
    Regular = 1,
    /// A directory.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A character or block device.
    Device = 4,
    /// A named pipe.
    Pipe = 5,
    /// A socket.
    Socket = 6,
}

/// Makes a directory.
#[derive(Clone, PartialEq, Message)]
pub struct MakeDirectory {
    /// The directory.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Permission bits; absent means 0755.
    #[prost(uint32, optional, tag = "2")]
    pub mode: Option<u32>,
    /// Make missing parents too, and accept a directory that is there already.
    #[prost(bool, tag = "3")]
    pub make_parents: bool,
}

/// Removes a path; a symlink itself, not what it leads to.
#[derive(Clone, PartialEq, Message)]
pub struct RemovePath {
    /// The path; `/` is refused.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Remove a directory with all that is in it; otherwise only an empty one.
    #[prost(bool, tag = "2")]
    pub recursive: bool,
}

/// Renames a path (`rename(2)`: what is at `to` is replaced).
#[derive(Clone, PartialEq, Message)]
pub struct RenamePath {
    /// The path.
    #[prost(bytes = "vec", tag = "1")]
    pub from: Vec<u8>,
    /// Its new path.
    #[prost(bytes = "vec", tag = "2")]
    pub to: Vec<u8>,
}

/// Sends a file or a directory with all that is in it to the host.
#[derive(Clone, PartialEq, Message)]
pub struct DownloadTree {
    /// The file or directory; a symlink here is followed, those below are sent as symlinks.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
}

/// Receives a file or a directory with all that is in it from the host. Directories that are
/// there already are kept and filled; files are replaced, each as a whole.
#[derive(Clone, PartialEq, Message)]
pub struct UploadTree {
    /// What the root entry becomes.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Make missing parent directories (0755, of the same owner).
    #[prost(bool, tag = "2")]
    pub make_parents: bool,
    /// Owner of what is made, as in [`StartProcess::user`](super::StartProcess::user); empty
    /// means root.
    #[prost(string, tag = "3")]
    pub owner: String,
}

/// An entry of a tree; the root's comes first, a directory's before those in it. A regular file's
/// content follows as data, then [`EndOfFile`].
#[derive(Clone, PartialEq, Message)]
pub struct TreeEntry {
    /// Path from the root's, components separated by `/`; empty for the root. No component is
    /// empty, `.` or `..`; the receiver refuses any other.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Regular, directory or symlink; senders skip nothing: any other kind is a failure.
    #[prost(enumeration = "FileKind", tag = "2")]
    pub kind: i32,
    /// Permission bits (`st_mode & 07777`).
    #[prost(uint32, tag = "3")]
    pub mode: u32,
    /// Modification time, nanoseconds since the Unix epoch.
    #[prost(sint64, tag = "4")]
    pub modified_nanoseconds: i64,
    /// What a symlink holds.
    #[prost(bytes = "vec", tag = "5")]
    pub link_target: Vec<u8>,
    /// A regular file's size when its sending began: for progress only.
    #[prost(uint64, tag = "6")]
    pub size: u64,
}

/// The current file of a tree is complete.
#[derive(Clone, PartialEq, Message)]
pub struct EndOfFile {}

/// Standard input is closed, the file or the tree is complete.
#[derive(Clone, PartialEq, Message)]
pub struct EndOfData {}
