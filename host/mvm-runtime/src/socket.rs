//! Unix sockets in sandbox folders, whatever the length of their path.
//!
//! `sun_path` holds 108 bytes (`unix(7)`) and a state directory may be deeper than that, so the
//! folder is opened first and the socket is named through `/proc/self/fd`.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

/// A short path to `folder/name`, good while the descriptor lives.
fn short_path(folder: &Path, name: &str) -> io::Result<(OwnedFd, String)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(folder, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    Ok((directory, path))
}

/// Listens on `folder/name`, mode 0600.
///
/// # Errors
///
/// Of the system, such as that the name is taken.
pub fn listen(folder: &Path, name: &str) -> io::Result<UnixListener> {
    let (_directory, path) = short_path(folder, name)?;
    let listener = UnixListener::bind(&path)?;
    rustix::fs::chmod(&path, Mode::RUSR | Mode::WUSR)?;
    Ok(listener)
}

/// Connects to `folder/name`.
///
/// # Errors
///
/// Of the system, such as that nobody listens.
pub async fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
    let (_directory, path) = short_path(folder, name)?;
    UnixStream::connect(path).await
}
