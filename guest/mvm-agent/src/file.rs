//! Files of the guest.

mod directory;
mod download;
mod place;
mod read;
mod remove;
mod upload;
mod write;

use std::{
    ffi::{CStr, CString},
    os::fd::BorrowedFd,
};

use mvm_wire::{Done, FileKind, Metadata, Reply};
use rustix::{
    fd::OwnedFd,
    fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use crate::{
    exchange::{Exchange, Gone},
    failure::{Failed, Outcome},
};

pub(crate) use directory::{list, make_directory};
pub(crate) use download::download;
pub(crate) use read::read;
pub(crate) use remove::{remove, rename};
pub(crate) use upload::upload;
pub(crate) use write::write;

/// Names of one directory that are held at once, bytes.
const MAX_NAMES_BYTES: usize = 32 * 1024 * 1024;

/// An absolute path as the kernel takes it.
fn absolute(path: &[u8]) -> Outcome<CString> {
    const DOING: &str = "reading a path";
    if path.first() != Some(&b'/') {
        return Err(Failed::invalid(DOING, path));
    }
    CString::new(path).map_err(|_| Failed::invalid(DOING, path))
}

/// Splits a path into where it lies and its last component, which must be a name.
fn split(path: &CStr) -> Outcome<(CString, CString)> {
    let bytes = path.to_bytes();
    let end = bytes
        .iter()
        .rposition(|byte| *byte != b'/')
        .map_or(0, |last| last + 1);
    let trimmed = &bytes[..end];
    let start = trimmed
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (parent, name) = trimmed.split_at(start);
    if matches!(name, b"" | b"." | b"..") {
        return Err(Failed::invalid("reading a path's last component", bytes));
    }
    let parent = if parent.is_empty() { b"/" } else { parent };
    let checked =
        |part: &[u8]| CString::new(part).map_err(|_| Failed::invalid("reading a path", bytes));
    Ok((checked(parent)?, checked(name)?))
}

/// Stats a path.
pub(crate) fn stat(path: &[u8], follow: bool) -> Outcome<Metadata> {
    let file = absolute(path)?;
    let flags = if follow {
        AtFlags::empty()
    } else {
        AtFlags::SYMLINK_NOFOLLOW
    };
    let found = fs::statat(CWD, &file, flags)
        .map_err(|errno| Failed::call("looking at a path", path, errno))?;
    metadata(CWD, &file, &found).map_err(|errno| Failed::call("reading a symlink", path, errno))
}

/// What a stat says, and what a symlink holds.
fn metadata(directory: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<Metadata, Errno> {
    let kind = kind_of(stat);
    let link_target = if kind == FileKind::Symlink {
        fs::readlinkat(directory, name, Vec::new())?.into_bytes()
    } else {
        Vec::new()
    };
    Ok(Metadata {
        kind: kind.into(),
        mode: stat.st_mode & 0o7777,
        user_id: stat.st_uid,
        group_id: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified_nanoseconds: modified(stat),
        link_target,
    })
}

fn kind_of(stat: &Stat) -> FileKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::CharacterDevice | FileType::BlockDevice => FileKind::Device,
        FileType::Fifo => FileKind::Pipe,
        FileType::Socket => FileKind::Socket,
        _ => FileKind::Other,
    }
}

fn modified(stat: &Stat) -> i64 {
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    stat.st_mtime
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

/// The names in a directory, sorted, without `.` and `..`.
fn names(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    let mut size = 0;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        size += name.to_bytes().len() + size_of::<CString>();
        if size > MAX_NAMES_BYTES {
            return Err(Errno::NOMEM);
        }
        names.push(name.to_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Opens a directory by its path.
fn open_directory(directory: BorrowedFd<'_>, path: &CStr, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | more;
    fs::openat(directory, path, flags, Mode::empty())
}

/// Tells the host that an operation is complete.
pub(crate) async fn done(
    exchange: &mut Exchange,
    bytes: u64,
    entries: u64,
) -> Result<Outcome<()>, Gone> {
    exchange.reply(Reply::from(Done { bytes, entries })).await?;
    Ok(Ok(()))
}

/// `?` for the inner result of an operation that answers with its failure.
macro_rules! attempt {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(failed) => return Ok(Err(failed)),
        }
    };
}
pub(crate) use attempt;
