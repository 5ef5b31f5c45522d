//! The socket on which QEMU serves the agent's port.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use tokio::net::UnixStream;

/// The agent's socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the agent's socket in `{directory}`")]
pub struct SocketError {
    /// The sandbox's directory.
    pub directory: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// The channel was not opened.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// QEMU has ended.
    #[error("the machine has ended")]
    Ended,
    /// QEMU took no connection: a stream is open already, or QEMU hangs.
    #[error("QEMU took no connection to the agent's port for {} s", limit.as_secs())]
    Busy {
        /// The time given.
        limit: Duration,
    },
    /// Connecting failed.
    #[error("cannot connect to the agent's port")]
    Connect(#[source] io::Error),
}

/// A socket without a name: it is bound in a directory nobody else can enter,
/// and its name is removed once it can be reached through a descriptor. So no
/// other process can connect, and nothing is left behind.
#[derive(Debug)]
pub(crate) struct AgentSocket {
    place: OwnedFd,
}

impl AgentSocket {
    /// The socket, and its listening end for QEMU.
    pub(crate) fn create(directory: &Path) -> Result<(AgentSocket, OwnedFd), SocketError> {
        let make = || -> io::Result<(AgentSocket, OwnedFd)> {
            let private = tempfile::Builder::new()
                .prefix(".agent-")
                .tempdir_in(directory)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let anchor = open(private.path(), flags, Mode::empty())?;
            // Through the descriptor the name stays below the 108 bytes a
            // socket's address holds, however deep the directory is.
            let name = through(anchor.as_fd()).join("socket");
            let listener = UnixListener::bind(&name)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let place = open(&name, flags, Mode::empty())?;
            private.close()?;
            Ok((AgentSocket { place }, listener.into()))
        };
        make().map_err(|source| SocketError {
            directory: directory.to_owned(),
            source,
        })
    }

    pub(crate) async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(through(self.place.as_fd())).await
    }
}

fn through(descriptor: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_reached_without_a_name_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a".repeat(200)).join("b".repeat(200));
        std::fs::create_dir_all(&deep).unwrap();
        let (socket, listener) = AgentSocket::create(&deep).unwrap();
        assert_eq!(std::fs::read_dir(&deep).unwrap().count(), 0);
        let listener = UnixListener::from(listener);
        for _ in 0..2 {
            let _stream = socket.connect().await.unwrap();
            listener.accept().unwrap();
        }
        drop(listener);
        assert_eq!(
            socket.connect().await.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }
}
