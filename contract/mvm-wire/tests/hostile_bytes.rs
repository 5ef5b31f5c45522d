//! What a peer can send: any bytes, in any pieces. Nothing panics, nothing grows without bound,
//! and what is read does not depend on how it was cut up.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, executor::block_on};
use mvm_wire::{
    Frame, FrameKind, Input, Reply, Request,
    frame::{self, MAX_MESSAGE_BYTES},
    session::FrameReader,
};
use proptest::prelude::*;
use prost::Message as _;

/// Gives bytes out in pieces of these lengths, over and over.
struct Pieces {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
    position: usize,
    turn: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let wanted = self.lengths[self.turn % self.lengths.len()];
        let end = self
            .bytes
            .len()
            .min(self.position + wanted.min(buffer.len()));
        let count = end - self.position;
        buffer[..count].copy_from_slice(&self.bytes[self.position..end]);
        self.turn += 1;
        self.position = end;
        Poll::Ready(Ok(count))
    }
}

/// Every frame up to the end or the first error, and whether there was one.
fn read(bytes: &[u8], lengths: Vec<usize>) -> (Vec<(FrameKind, Vec<u8>)>, bool) {
    let stream = Pieces {
        bytes: bytes.to_vec(),
        lengths,
        position: 0,
        turn: 0,
    };
    let mut reader = FrameReader::new(stream);
    let mut frames = Vec::new();
    loop {
        match block_on(reader.next()) {
            Ok(Some(Frame { kind, payload })) => frames.push((kind, payload.to_vec())),
            Ok(None) => return (frames, false),
            Err(_) => return (frames, true),
        }
    }
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        Just(FrameKind::Message),
        Just(FrameKind::Data),
        Just(FrameKind::ErrorData)
    ];
    let one = (kind, prop::collection::vec(any::<u8>(), 0..3000));
    prop::collection::vec(one, 0..8).prop_map(|frames| {
        let mut bytes = Vec::new();
        for (kind, payload) in frames {
            frame::encode(kind, &payload, &mut bytes).unwrap();
        }
        bytes
    })
}

proptest! {
    #[test]
    fn what_is_read_does_not_depend_on_the_pieces(
        bytes in frames(),
        lengths in prop::collection::vec(1usize..5000, 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        prop_assert_eq!(read(&bytes, vec![usize::MAX]), read(&bytes, lengths.clone()));
        let cut = &bytes[..cut.index(bytes.len() + 1)];
        prop_assert_eq!(read(cut, vec![1]), read(cut, lengths));
    }

    #[test]
    fn any_bytes_end_in_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let (frames, _) = read(&bytes, vec![7, 100]);
        let total: usize = frames.iter().map(|(_, payload)| payload.len()).sum();
        prop_assert!(total <= bytes.len());
        let _ = Request::decode(&bytes[..]);
        let _ = Reply::decode(&bytes[..]);
        let _ = Input::decode(&bytes[..]);
    }

    #[test]
    fn a_header_alone_never_makes_the_reader_take_more_than_a_frame(length in 0u32..0x100_0000) {
        let [_, a, b, c] = length.to_be_bytes();
        let (frames, failed) = read(&[1, a, b, c], vec![4]);
        // Too long is refused at once; any other is a frame that breaks off, or an empty one.
        prop_assert!(failed || (length == 0 && frames.len() == 1));
        prop_assert_eq!(
            frame::decode_header(&[1, a, b, c]).is_err(),
            length as usize > MAX_MESSAGE_BYTES
        );
    }
}
