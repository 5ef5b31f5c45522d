//! Small files as a whole.

use std::path::Path;

use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
};

/// Reads a file up to `limit` bytes; what is behind is left out. Never waits for a pipe's peer.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = fs::open(path, flags, Mode::empty())?;
    let mut bytes = vec![0; limit.min(8 * 1024)];
    let mut used = 0;
    loop {
        if used == bytes.len() {
            if used == limit {
                break;
            }
            bytes.resize(limit.min(used * 2), 0);
        }
        match rustix::io::read(&file, &mut bytes[used..]) {
            Ok(0) => break,
            Ok(count) => used += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(used);
    Ok(bytes)
}

/// Writes to a file that is there, such as the kernel's control files, with one call.
pub(crate) fn write_to(path: &Path, bytes: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = fs::open(path, flags, Mode::empty())?;
    match rustix::io::write(&file, bytes)? {
        count if count == bytes.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

/// Replaces a file as a whole: a new one beside it takes its name.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), Errno> {
    let mut name = path.as_os_str().to_owned();
    name.push(".mvm-new");
    let beside = Path::new(&name);
    match fs::unlink(beside) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
    let file = fs::open(beside, flags, mode)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(&file, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(errno) => {
                let _ = fs::unlink(beside);
                return Err(errno);
            }
        }
    }
    fs::fchmod(&file, mode)
        .and_then(|()| fs::rename(beside, path))
        .inspect_err(|_| {
            let _ = fs::unlink(beside);
        })
}
