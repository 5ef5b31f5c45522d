//! The byte channel to the host: the virtio-serial port, or a socket in tests.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};
use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    fd::{AsFd, OwnedFd},
    io::Errno,
};
use tokio::io::Interest;

use crate::watched::{Watched, watch};

/// A channel, from one appearance of the host to its next hang-up.
#[derive(Debug)]
pub struct Channel(Watched);

impl Channel {
    /// Watches a descriptor, which must not block.
    ///
    /// # Errors
    /// When the descriptor cannot be watched.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        watch(descriptor, Interest::READABLE | Interest::WRITABLE).map(Self)
    }

    /// Throws away what can be read. False when the channel hung up meanwhile.
    ///
    /// # Errors
    /// When the channel fails.
    pub fn discard_stale(&self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(self.0.get_ref(), &mut buffer) {
                Ok(0) => return Ok(false),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsyncRead for Channel {
    /// Fills the buffer as far as bytes are there: the port gives at most a page at a time.
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut filled = 0;
        loop {
            let mut ready = match self.0.poll_read_ready(context) {
                Poll::Ready(ready) => ready?,
                Poll::Pending if filled > 0 => return Poll::Ready(Ok(filled)),
                Poll::Pending => return Poll::Pending,
            };
            while filled < buffer.len() {
                match rustix::io::read(self.0.get_ref(), &mut buffer[filled..]) {
                    Ok(0) => return Poll::Ready(Ok(filled)),
                    Ok(count) => filled += count,
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    // What was read comes first; the error is met again.
                    Err(_) if filled > 0 => return Poll::Ready(Ok(filled)),
                    Err(errno) => return Poll::Ready(Err(errno.into())),
                }
            }
            if filled == buffer.len() {
                return Poll::Ready(Ok(filled));
            }
            // A hang-up that was seen stays: should the host be back already, this connection has
            // ended all the same.
            if ready.ready().is_read_closed() {
                return Poll::Ready(Ok(filled));
            }
            ready.clear_ready();
            if filled > 0 {
                return Poll::Ready(Ok(filled));
            }
        }
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            match rustix::io::write(self.0.get_ref(), bytes) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if ready.ready().is_write_closed() => {
                    return Poll::Ready(Err(Errno::PIPE.into()));
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Whether the host's side of a port is open now.
pub(crate) fn host_is_there(port: impl AsFd) -> bool {
    let mut wanted = [PollFd::new(&port, PollFlags::empty())];
    match poll(&mut wanted, Some(&Timespec::default())) {
        Ok(_) => !wanted[0].revents().contains(PollFlags::HUP),
        Err(_) => false,
    }
}

/// Waits until the host's side of a port is open (`present`) or closed, as long as it takes: an
/// edge of the port's state wakes it.
///
/// The event loop's own watch cannot do this: for it a hang-up is final. And the port must not be
/// watched by both at once: whoever looks at it takes the next buffer off its queue, and then no
/// interrupt tells the other.
pub(crate) async fn wait_for_host(port: &OwnedFd, present: bool) -> io::Result<()> {
    if host_is_there(port) == present {
        return Ok(());
    }
    let edges = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let flags = epoll::EventFlags::ET | epoll::EventFlags::IN | epoll::EventFlags::OUT;
    epoll::add(&edges, port, epoll::EventData::new_u64(0), flags)?;
    let edges = watch(edges, Interest::READABLE)?;
    while host_is_there(port) != present {
        let mut ready = edges.readable().await?;
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }];
        let now = Timespec::default();
        while epoll::wait(edges.get_ref(), &mut events, Some(&now))? > 0 {}
        ready.clear_ready();
    }
    Ok(())
}
