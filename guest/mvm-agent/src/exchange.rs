//! One stream of a connection: an operation's request has been read, its answers follow.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use mvm_wire::{
    Frame, FrameKind, Input, Reply, input,
    session::{FrameReader, FrameWriter, Stream, WriteError},
};
use prost::Message as _;

use crate::{
    failure::{Failed, Outcome},
    gate::Gate,
};

/// The peer of a stream has gone; there is nobody to answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone;

impl From<WriteError> for Gone {
    fn from(_: WriteError) -> Self {
        Self
    }
}

/// The connection a stream belongs to.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) authenticated: Cell<bool>,
    pub(crate) lost: Cell<bool>,
    /// How often the guest had been renewed at the connection's last hello.
    pub(crate) renewals: Cell<u64>,
    /// Ends the connection from this side, for this reason.
    pub(crate) ending: Cell<Option<crate::SessionEnd>>,
    pub(crate) end_requested: tokio::sync::Notify,
}

impl Link {
    /// Whether the whole connection has ended, and not just a stream of it.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Asks for the end of the connection.
    pub(crate) fn end(&self, end: crate::SessionEnd) {
        self.ending.set(Some(end));
        self.end_requested.notify_one();
    }
}

/// A stream that is read and written by the same task at once.
#[derive(Debug, Clone)]
pub(crate) struct SharedStream(Rc<RefCell<Stream>>);

impl SharedStream {
    pub(crate) fn new(stream: Stream) -> Self {
        Self(Rc::new(RefCell::new(stream)))
    }

    /// Whether the peer has dropped the stream; unread bytes of it may still be there.
    pub(crate) fn is_reset(&self) -> bool {
        self.0.borrow().is_closed()
    }
}

impl AsyncRead for SharedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(context, buffer)
    }
}

impl AsyncWrite for SharedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_close(context)
    }
}

pub(crate) type StreamReader = FrameReader<SharedStream>;
pub(crate) type StreamWriter = FrameWriter<SharedStream>;

/// The two directions of a stream.
pub(crate) struct Exchange {
    pub(crate) reader: StreamReader,
    pub(crate) writer: StreamWriter,
    pub(crate) stream: SharedStream,
    pub(crate) link: Rc<Link>,
}

/// What the host sends behind a request that carries content.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    Data(&'a [u8]),
    Message(input::Kind),
}

impl Exchange {
    pub(crate) fn new(stream: Stream, link: Rc<Link>) -> Self {
        let stream = SharedStream::new(stream);
        Self {
            reader: FrameReader::new(stream.clone()),
            writer: FrameWriter::new(stream.clone()),
            stream,
            link,
        }
    }

    /// Sends a reply.
    pub(crate) async fn reply(&mut self, reply: impl Into<Reply>) -> Result<(), Gone> {
        Ok(self.writer.message(&reply.into()).await?)
    }

    /// The next piece of content. A stream that ends here was interrupted: [`Gone`].
    pub(crate) async fn content(&mut self) -> Result<Outcome<Content<'_>>, Gone> {
        const DOING: &str = "reading what is to be written";
        match self.reader.next().await {
            Ok(Some(Frame {
                kind: FrameKind::Data,
                payload,
            })) => Ok(Ok(Content::Data(payload))),
            Ok(Some(Frame {
                kind: FrameKind::Message,
                payload,
            })) => Ok(match Input::decode(payload).map(|input| input.kind) {
                Ok(Some(kind)) => Ok(Content::Message(kind)),
                Ok(None) | Err(_) => Err(Failed::invalid(DOING, [])),
            }),
            Ok(Some(_)) => Ok(Err(Failed::invalid(DOING, []))),
            Ok(None) => Err(Gone),
            Err(mvm_wire::session::ReadError::Frame(_)) => Ok(Err(Failed::invalid(DOING, []))),
            Err(_) => Err(Gone),
        }
    }

    /// As [`content`](Self::content), for who writes it to the disk: whatever comes, also the end,
    /// after which something unfinished is removed, is behind the gate.
    pub(crate) async fn content_for_disk(
        &mut self,
        gate: &Gate,
    ) -> Result<Outcome<Content<'_>>, Gone> {
        let content = self.content().await;
        gate.passed().await;
        content
    }
}
