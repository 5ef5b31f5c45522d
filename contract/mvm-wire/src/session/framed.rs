//! Frames over a byte stream.

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::frame::{self, Frame, FrameError, FrameKind, HEADER_BYTES};

/// What a reader keeps to begin with; it grows to the largest frame it meets, never beyond the
/// largest allowed.
const INITIAL_BUFFER_BYTES: usize = 32 * 1024;

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream failed.
    #[error("failed to read a frame")]
    Io(#[source] io::Error),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// The bytes are not a frame.
    #[error("malformed frame")]
    Frame(#[source] FrameError),
    /// The frame's payload is not the message expected.
    #[error("malformed message")]
    Message(#[source] prost::DecodeError),
    /// A data frame came where a message must.
    #[error("a {0:?} frame came where a message must")]
    UnexpectedKind(FrameKind),
}

/// Why a frame could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The stream failed.
    #[error("failed to write a frame")]
    Io(#[source] io::Error),
    /// The frame is larger than the protocol allows.
    #[error("the frame is too large")]
    Frame(#[source] FrameError),
}

/// Reads frames from a stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    buffer: Vec<u8>,
    /// `buffer[start..end]` was read and not yet given out.
    start: usize,
    end: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader at the start of a frame.
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: vec![0; INITIAL_BUFFER_BYTES],
            start: 0,
            end: 0,
        }
    }

    /// The next frame, `None` at the end of the stream. Cancel-safe: what was read so far stays.
    pub async fn next(&mut self) -> Result<Option<Frame<'_>>, ReadError> {
        let (kind, length) = loop {
            let read = &self.buffer[self.start..self.end];
            let wanted = match frame::decode_header(read).map_err(ReadError::Frame)? {
                Some((kind, length)) if read.len() >= HEADER_BYTES + length => {
                    break (kind, length);
                }
                Some((_, length)) => HEADER_BYTES + length,
                None => HEADER_BYTES,
            };
            self.make_room(wanted);
            let count = self
                .stream
                .read(&mut self.buffer[self.end..])
                .await
                .map_err(ReadError::Io)?;
            if count == 0 {
                return if self.start == self.end {
                    Ok(None)
                } else {
                    Err(ReadError::Truncated)
                };
            }
            self.end += count;
        };
        let payload_start = self.start + HEADER_BYTES;
        self.start = payload_start + length;
        Ok(Some(Frame {
            kind,
            payload: &self.buffer[payload_start..self.start],
        }))
    }

    /// The next frame, which must be a message. `None` at the end of the stream.
    pub async fn next_message<M: prost::Message + Default>(
        &mut self,
    ) -> Result<Option<M>, ReadError> {
        match self.next().await? {
            Some(Frame {
                kind: FrameKind::Message,
                payload,
            }) => M::decode(payload).map(Some).map_err(ReadError::Message),
            Some(Frame { kind, .. }) => Err(ReadError::UnexpectedKind(kind)),
            None => Ok(None),
        }
    }

    /// Makes room for a frame of `wanted` bytes from `start` on, and for at least one more byte.
    fn make_room(&mut self, wanted: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.start + wanted > self.buffer.len() || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if wanted > self.buffer.len() {
                self.buffer.resize(wanted, 0);
            }
        }
    }
}

/// Writes frames to a stream, each with one write.
#[derive(Debug)]
pub struct FrameWriter<W> {
    stream: W,
    buffer: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// A writer at the start of a frame.
    pub fn new(stream: W) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends a message. Not cancel-safe.
    pub async fn message(&mut self, message: &impl prost::Message) -> Result<(), WriteError> {
        self.buffer.clear();
        frame::encode_message(message, &mut self.buffer).map_err(WriteError::Frame)?;
        self.write_out(self.buffer.len()).await
    }

    /// Sends a frame of bytes. Not cancel-safe.
    pub async fn data(&mut self, kind: FrameKind, payload: &[u8]) -> Result<(), WriteError> {
        self.buffer.clear();
        frame::encode(kind, payload, &mut self.buffer).map_err(WriteError::Frame)?;
        self.write_out(self.buffer.len()).await
    }

    /// Sends a frame whose payload `fill` writes into the buffer it gets, of `limit` bytes (at most
    /// what `kind` allows); it returns how many it wrote. 0 sends nothing. Not cancel-safe.
    ///
    /// The outer error is the stream's, the inner one is `fill`'s.
    pub async fn data_from<E>(
        &mut self,
        kind: FrameKind,
        limit: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Result<usize, E>, WriteError> {
        let end = HEADER_BYTES + limit.min(kind.limit());
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        let count = match fill(&mut self.buffer[HEADER_BYTES..end]) {
            Ok(0) => return Ok(Ok(0)),
            Ok(count) => count.min(end - HEADER_BYTES),
            Err(error) => return Ok(Err(error)),
        };
        self.buffer[..HEADER_BYTES].copy_from_slice(&frame::header(kind, count));
        self.write_out(HEADER_BYTES + count).await?;
        Ok(Ok(count))
    }

    /// Says that nothing more will be written; the other direction stays open.
    pub async fn close(&mut self) -> Result<(), WriteError> {
        self.stream.close().await.map_err(WriteError::Io)
    }

    /// The stream; every frame sent is in it.
    pub fn into_stream(self) -> W {
        self.stream
    }

    async fn write_out(&mut self, end: usize) -> Result<(), WriteError> {
        self.stream
            .write_all(&self.buffer[..end])
            .await
            .map_err(WriteError::Io)?;
        self.stream.flush().await.map_err(WriteError::Io)
    }
}
