//! Frames: how messages and bytes are told apart on one stream.
//!
//! ```text
//! 0        1                    4
//! +--------+--------------------+----------------
//! |  kind  | length, big-endian | payload ...
//! +--------+--------------------+----------------
//! ```
//!
//! A length over the kind's limit is refused before a byte of payload is kept.

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 4;
/// The most a [`FrameKind::Message`] may carry: 1 MiB.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// The most a data frame may carry: 128 KiB.
pub const MAX_DATA_BYTES: usize = 128 * 1024;

/// What a frame's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A protobuf message: [`Request`](crate::Request), [`Input`](crate::Input) or
    /// [`Reply`](crate::Reply), by direction and position.
    Message = 1,
    /// Bytes of the operation: file contents, standard input, standard output, terminal output.
    Data = 2,
    /// Bytes of standard error.
    ErrorData = 3,
}

impl FrameKind {
    /// The largest payload of this kind, in bytes.
    #[must_use]
    pub const fn limit(self) -> usize {
        match self {
            Self::Message => MAX_MESSAGE_BYTES,
            Self::Data | Self::ErrorData => MAX_DATA_BYTES,
        }
    }
}

/// A decoded frame, borrowing its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: FrameKind,
    /// The payload.
    pub payload: &'a [u8],
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first byte names no frame kind.
    #[error("unknown frame kind {kind}")]
    UnknownKind {
        /// The byte found.
        kind: u8,
    },
    /// The length exceeds what the kind allows.
    #[error("a {kind:?} frame of {length} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// The frame's kind.
        kind: FrameKind,
        /// The announced payload length.
        length: usize,
        /// The limit of that kind.
        limit: usize,
    },
}

/// Reads a header: the payload's kind and length. `None` when fewer than [`HEADER_BYTES`] are there.
pub fn decode_header(bytes: &[u8]) -> Result<Option<(FrameKind, usize)>, FrameError> {
    let Some(&[kind, a, b, c]) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let kind = match kind {
        1 => FrameKind::Message,
        2 => FrameKind::Data,
        3 => FrameKind::ErrorData,
        kind => return Err(FrameError::UnknownKind { kind }),
    };
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    if length > kind.limit() {
        return Err(FrameError::TooLarge {
            kind,
            length,
            limit: kind.limit(),
        });
    }
    Ok(Some((kind, length)))
}

/// Decodes the frame at the start of `bytes` and tells how many bytes it takes.
/// `None` when it is not complete yet.
pub fn decode(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((kind, length)) = decode_header(bytes)? else {
        return Ok(None);
    };
    let end = HEADER_BYTES + length;
    Ok(bytes
        .get(HEADER_BYTES..end)
        .map(|payload| (Frame { kind, payload }, end)))
}

/// Appends a frame to `out`.
pub fn encode(kind: FrameKind, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    if payload.len() > kind.limit() {
        return Err(FrameError::TooLarge {
            kind,
            length: payload.len(),
            limit: kind.limit(),
        });
    }
    out.extend_from_slice(&header(kind, payload.len()));
    out.extend_from_slice(payload);
    Ok(())
}

/// Appends `message` as a frame to `out`.
pub fn encode_message(message: &impl prost::Message, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let length = message.encoded_len();
    if length > MAX_MESSAGE_BYTES {
        let kind = FrameKind::Message;
        return Err(FrameError::TooLarge {
            kind,
            length,
            limit: MAX_MESSAGE_BYTES,
        });
    }
    out.reserve(HEADER_BYTES + length);
    out.extend_from_slice(&header(FrameKind::Message, length));
    message.encode_raw(out);
    Ok(())
}

/// The header of a frame. `length` must not exceed the kind's limit.
pub(crate) fn header(kind: FrameKind, length: usize) -> [u8; HEADER_BYTES] {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    [kind as u8, a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let mut bytes = Vec::new();
        encode(FrameKind::Data, b"abc", &mut bytes).unwrap();
        encode(FrameKind::ErrorData, b"", &mut bytes).unwrap();
        let (first, used) = decode(&bytes).unwrap().unwrap();
        assert_eq!(
            first,
            Frame {
                kind: FrameKind::Data,
                payload: b"abc"
            }
        );
        let (second, _) = decode(&bytes[used..]).unwrap().unwrap();
        assert_eq!(
            second,
            Frame {
                kind: FrameKind::ErrorData,
                payload: b""
            }
        );
    }

    #[test]
    fn every_prefix_of_a_frame_is_incomplete() {
        let mut bytes = Vec::new();
        encode(FrameKind::Message, &[7; 300], &mut bytes).unwrap();
        for length in 0..bytes.len() {
            assert_eq!(
                decode(&bytes[..length]).unwrap(),
                None,
                "prefix of {length}"
            );
        }
    }

    #[test]
    fn an_oversized_length_is_refused_from_its_header_alone() {
        assert_eq!(
            decode(&[2, 0xff, 0xff, 0xff]),
            Err(FrameError::TooLarge {
                kind: FrameKind::Data,
                length: 0xff_ffff,
                limit: MAX_DATA_BYTES
            })
        );
        assert_eq!(
            decode(&[9, 0, 0, 0]),
            Err(FrameError::UnknownKind { kind: 9 })
        );
    }
}
