//! Files and logs that come piece by piece.

use hyper::{
    Response,
    body::{Bytes, Incoming},
};

use super::{HttpError, lease::next_part};

/// A file that is being read.
#[derive(Debug)]
pub struct FileReader(Stream);

/// A log that is being read.
#[derive(Debug)]
pub struct LogReader(Stream);

#[derive(Debug)]
struct Stream {
    body: Incoming,
    bytes: Bytes,
}

impl Stream {
    fn new(answer: Response<Incoming>) -> Self {
        Self {
            body: answer.into_body(),
            bytes: Bytes::new(),
        }
    }

    async fn next(&mut self) -> Result<Option<&[u8]>, HttpError> {
        match next_part(&mut self.body).await? {
            Some(bytes) => {
                self.bytes = bytes;
                Ok(Some(&self.bytes))
            }
            None => Ok(None),
        }
    }
}

impl FileReader {
    pub(super) fn new(answer: Response<Incoming>) -> Self {
        Self(Stream::new(answer))
    }

    /// The next bytes; `None` at the end. A file whose end was not reached is an error, never a
    /// short read.
    pub async fn next_chunk(&mut self) -> Result<Option<&[u8]>, HttpError> {
        self.0.next().await
    }

    /// The rest of the file in memory.
    pub async fn read_to_end(&mut self) -> Result<Vec<u8>, HttpError> {
        let mut content = Vec::new();
        while let Some(chunk) = self.next_chunk().await? {
            content.extend_from_slice(chunk);
        }
        Ok(content)
    }
}

impl LogReader {
    pub(super) fn new(answer: Response<Incoming>) -> Self {
        Self(Stream::new(answer))
    }

    /// The next bytes; `None` at the end: that of the log as it is, or, where it is followed, that
    /// of the sandbox.
    pub async fn next_chunk(&mut self) -> Result<Option<&[u8]>, HttpError> {
        self.0.next().await
    }
}
