//! Multiplexed streams over one byte channel, for both ends.
//!
//! [`open`] gives three parts: a [`StreamOpener`] to open streams, [`IncomingStreams`] to take
//! those the peer opens, and a [`Driver`], a future that moves the bytes and ends with the
//! channel. No executor is assumed. Bounds that hold against a hostile peer: [`MAX_STREAMS`]
//! streams at once, [`MAX_WINDOW_BYTES`] of unread bytes over all of them.
//!
//! A channel outlives its connections: either end can miss that the other went and came back, and
//! bytes of the connection before can still be under way. So each connection begins with the
//! agent's [greeting]: [`greet`] on the agent, which first throws away what was waiting, and
//! [`await_greeting`] on the host, which says nothing before it has seen it.
//!
//! A stream that an end has finished with is simply dropped. The peer still reads what was written
//! before, then the end; its own writes fail from there on, so that nobody waits for a window that
//! never opens.
//!
//! [greeting]: GREETING

mod framed;
mod greeting;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{
    AsyncRead, AsyncWrite, StreamExt as _,
    channel::{mpsc, oneshot},
    io::{BufReader, BufWriter},
};

pub use framed::{FrameReader, FrameWriter, ReadError, WriteError};
pub use greeting::{GREETING, GreetingError, MAX_STALE_BYTES, await_greeting, greet};

/// Streams open at once on a connection, both directions together.
pub const MAX_STREAMS: usize = 128;
/// Unread bytes a peer can make this end hold, over all streams: 48 MiB.
pub const MAX_WINDOW_BYTES: usize = 48 * 1024 * 1024;
/// Payload of one multiplexer frame: with the multiplexer's 12-byte header it fills 64 KiB, two of
/// the largest buffers the port's driver sends at once. Small enough that streams share the
/// channel fairly.
const SPLIT_BYTES: usize = 64 * 1024 - 12;
/// Small, so that most of a large frame is read straight to where it belongs.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// Large enough for a frame with its header, so that it goes out with one call.
const WRITE_BUFFER_BYTES: usize = 128 * 1024;

/// The payload of a data frame that travels best: with its header it fills two frames of the
/// multiplexer.
pub const BULK_BYTES: usize = 2 * SPLIT_BYTES - crate::frame::HEADER_BYTES;

/// One multiplexed stream.
pub type Stream = yamux::Stream;

/// Which end this is; it decides who numbers streams odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The host.
    Host,
    /// The agent.
    Agent,
}

/// Why the connection ended.
#[derive(Debug, thiserror::Error)]
#[error("the agent connection failed")]
pub struct SessionError(#[from] yamux::ConnectionError);

impl SessionError {
    /// Whether the channel failed or ended, and not the peer broke the protocol.
    #[must_use]
    pub fn is_hang_up(&self) -> bool {
        use yamux::{ConnectionError, FrameDecodeError};
        matches!(
            self.0,
            ConnectionError::Closed
                | ConnectionError::Io(_)
                | ConnectionError::Decode(FrameDecodeError::Io(_))
        )
    }
}

/// No stream can be opened: the connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent connection is closed")]
pub struct Closed;

/// Starts a session on a channel.
pub fn open<T>(channel: T, end: End) -> (StreamOpener, IncomingStreams, Driver<T>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut config = yamux::Config::default();
    config
        .set_max_num_streams(MAX_STREAMS)
        .set_max_connection_receive_window(Some(MAX_WINDOW_BYTES))
        .set_split_send_size(SPLIT_BYTES);
    let mode = match end {
        End::Host => yamux::Mode::Client,
        End::Agent => yamux::Mode::Server,
    };
    let buffered = BufReader::with_capacity(
        READ_BUFFER_BYTES,
        BufWriter::with_capacity(WRITE_BUFFER_BYTES, channel),
    );
    let (request_open, open_requests) = mpsc::channel(MAX_STREAMS);
    let (deliver, incoming) = mpsc::channel(MAX_STREAMS);
    let driver = Driver {
        connection: yamux::Connection::new(buffered, config, mode),
        open_requests,
        waiting: None,
        deliver,
    };
    (
        StreamOpener(request_open),
        IncomingStreams(incoming),
        driver,
    )
}

/// Opens streams; cheap to clone.
#[derive(Debug, Clone)]
pub struct StreamOpener(mpsc::Sender<oneshot::Sender<Stream>>);

impl StreamOpener {
    /// Opens a stream. The peer learns of it with the first bytes written.
    pub async fn open(&self) -> Result<Stream, Closed> {
        let (answer, stream) = oneshot::channel();
        let mut requests = self.0.clone();
        std::future::poll_fn(|context| requests.poll_ready(context))
            .await
            .map_err(|_| Closed)?;
        requests.start_send(answer).map_err(|_| Closed)?;
        stream.await.map_err(|_| Closed)
    }
}

/// Streams the peer opens.
#[derive(Debug)]
pub struct IncomingStreams(mpsc::Receiver<Stream>);

impl IncomingStreams {
    /// The next stream; `None` when the connection has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Stream> {
        self.0.next().await
    }

    /// As [`next`](Self::next), for a hand-written future.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Stream>> {
        self.0.poll_next_unpin(context)
    }
}

/// Moves the bytes; must be polled for anything to happen. Ends with `Ok` when the channel hangs
/// up, with an error when the peer breaks the protocol. Dropping it ends every stream.
#[must_use = "nothing moves unless the driver is polled"]
pub struct Driver<T> {
    connection: yamux::Connection<BufReader<BufWriter<T>>>,
    open_requests: mpsc::Receiver<oneshot::Sender<Stream>>,
    waiting: Option<oneshot::Sender<Stream>>,
    deliver: mpsc::Sender<Stream>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Driver<T> {
    type Output = Result<(), SessionError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if this.waiting.is_none()
                && let Poll::Ready(Some(request)) = this.open_requests.poll_next_unpin(context)
            {
                this.waiting = Some(request);
            }
            if let Some(answer) = this.waiting.take() {
                match this.connection.poll_new_outbound(context) {
                    // The one who asked may be gone; the stream is then dropped, which resets it.
                    Poll::Ready(Ok(stream)) => {
                        let _ = answer.send(stream);
                        continue;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                    Poll::Pending => this.waiting = Some(answer),
                }
            }
            match this.connection.poll_next_inbound(context) {
                Poll::Ready(Some(Ok(stream))) => {
                    // The queue holds all streams that can be open at once; where the receiver is
                    // gone the stream is dropped, which resets it: the peer sees it refused.
                    let _ = this.deliver.try_send(stream);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
