//! The frames of a process's stream: `application/vnd.mvm.frames`.

use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use mvm_runtime::OutputStream;
use serde::Deserialize;

use super::{
    HttpError, command::ResultBody, error::ProblemBody, exchange::decoded, lease::next_part,
};

/// The longest payload, bytes. A server's are far below.
const MOST_PAYLOAD_BYTES: usize = 16 << 20;
/// A server says every 10 seconds that it is there.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
const HEAD_BYTES: usize = 5;

/// A frame.
#[derive(Debug)]
pub(super) enum Frame {
    Event(Event),
    Output(OutputStream, Bytes),
}

/// What happens to a process, beside its output.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Event {
    Started {
        process_id: u64,
        pid: u32,
        run_id: mvm_contract::RunId,
        stdout_offset: u64,
        stderr_offset: u64,
    },
    Gap {
        stream: StreamWord,
        from: u64,
        to: u64,
    },
    Exited {
        result: ResultBody,
    },
    Failed {
        problem: ProblemBody,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StreamWord {
    Stdout,
    Stderr,
}

impl From<StreamWord> for OutputStream {
    fn from(word: StreamWord) -> Self {
        match word {
            StreamWord::Stdout => Self::Stdout,
            StreamWord::Stderr => Self::Stderr,
        }
    }
}

/// The frames of an answer.
#[derive(Debug)]
pub(super) struct Frames {
    body: Incoming,
    pending: Pending,
}

impl Frames {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            body,
            pending: Pending::default(),
        }
    }

    /// The next frame; `None` where the stream ends between two. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, HttpError> {
        loop {
            if let Some(frame) = self.pending.take()? {
                return Ok(Some(frame));
            }
            let part = tokio::time::timeout(SILENCE_LIMIT, next_part(&mut self.body)).await;
            let silent = HttpError::Silent {
                limit: SILENCE_LIMIT,
            };
            match part.map_err(|_| silent)?? {
                Some(part) => self.pending.add(part),
                None if self.pending.is_empty() => return Ok(None),
                None => return Err(not_frames()),
            }
        }
    }
}

fn not_frames() -> HttpError {
    HttpError::Answer {
        expected: "made of whole frames",
    }
}

/// What came and is no whole frame yet.
#[derive(Debug, Default)]
struct Pending(Bytes);

impl Pending {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, part: Bytes) {
        if self.0.is_empty() {
            self.0 = part;
            return;
        }
        let mut joined = Vec::with_capacity(self.0.len() + part.len());
        joined.extend_from_slice(&self.0);
        joined.extend_from_slice(&part);
        self.0 = joined.into();
    }

    fn take(&mut self) -> Result<Option<Frame>, HttpError> {
        let Some(head) = self.0.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let [kind, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        if length > MOST_PAYLOAD_BYTES || kind > 2 {
            return Err(not_frames());
        }
        if self.0.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        let payload = self.0.split_to(HEAD_BYTES + length).slice(HEAD_BYTES..);
        Ok(Some(match kind {
            0 => Frame::Event(decoded(&payload)?),
            1 => Frame::Output(OutputStream::Stdout, payload),
            _ => Frame::Output(OutputStream::Stderr, payload),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        [&[kind][..], &length.to_be_bytes(), payload].concat()
    }

    #[test]
    fn frames_are_whole_wherever_the_parts_end() {
        let mut bytes = frame(1, b"out");
        bytes.extend(frame(
            0,
            br#"{"event":"gap","stream":"stderr","from":1,"to":9}"#,
        ));
        bytes.extend(frame(0, br#"{"event":"later","news":1}"#));
        bytes.extend(frame(2, b""));
        for size in 1..bytes.len() {
            let mut pending = Pending::default();
            let mut seen = Vec::new();
            for part in bytes.chunks(size) {
                pending.add(Bytes::copy_from_slice(part));
                while let Some(frame) = pending.take().unwrap() {
                    seen.push(frame);
                }
            }
            assert!(pending.is_empty());
            let [
                Frame::Output(OutputStream::Stdout, out),
                Frame::Event(Event::Gap { from: 1, to: 9, .. }),
                Frame::Event(Event::Other),
                Frame::Output(OutputStream::Stderr, rest),
            ] = &seen[..]
            else {
                panic!("{seen:?}");
            };
            assert_eq!((&out[..], &rest[..]), (&b"out"[..], &b""[..]));
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bytes in [frame(3, b""), vec![1, 255, 255, 255, 255], frame(0, b"{")] {
            let mut pending = Pending::default();
            pending.add(bytes.into());
            assert!(pending.take().is_err());
        }
    }
}
