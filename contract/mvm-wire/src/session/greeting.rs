//! How a connection begins on a channel that has seen others before.

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What the agent writes first. Its first byte is none that a frame of the multiplexer begins
/// with, so an end that mistakes it for one stops there.
pub const GREETING: [u8; 16] = *b"\xffmvm-agent-here\n";

/// Bytes of the connection before that a host reads over before it gives up: 1 MiB, more than the
/// port's queue holds.
pub const MAX_STALE_BYTES: usize = 1024 * 1024;

/// Why a connection did not begin.
#[derive(Debug, thiserror::Error)]
pub enum GreetingError {
    /// The channel failed.
    #[error("failed to begin the agent connection")]
    Io(#[source] io::Error),
    /// The channel ended.
    #[error("the agent connection ended before it began")]
    Ended,
    /// What came is not what an agent says.
    #[error("no agent answers on the channel")]
    NoGreeting,
}

/// Writes the greeting. Whatever can be read from the channel before is of an earlier connection:
/// the caller throws it away first.
pub async fn greet(channel: &mut (impl AsyncWrite + Unpin)) -> Result<(), GreetingError> {
    channel
        .write_all(&GREETING)
        .await
        .map_err(GreetingError::Io)?;
    channel.flush().await.map_err(GreetingError::Io)
}

/// Reads up to the end of the greeting. The caller sets a time limit; after it, it hangs up, stays
/// away for some milliseconds so that the guest sees it, and connects again.
pub async fn await_greeting(channel: &mut (impl AsyncRead + Unpin)) -> Result<(), GreetingError> {
    let mut matched = 0;
    // One byte at a time: nothing behind the greeting may be taken.
    let mut byte = [0];
    for _ in 0..MAX_STALE_BYTES {
        if channel.read(&mut byte).await.map_err(GreetingError::Io)? == 0 {
            return Err(GreetingError::Ended);
        }
        matched = match GREETING.get(matched) {
            Some(expected) if *expected == byte[0] => matched + 1,
            // No byte of the greeting but its first equals its first.
            _ => usize::from(byte[0] == GREETING[0]),
        };
        if matched == GREETING.len() {
            return Ok(());
        }
    }
    Err(GreetingError::NoGreeting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{executor::block_on, io::Cursor};

    #[test]
    fn the_greeting_is_found_behind_stale_bytes_and_nothing_more_is_taken() {
        let mut bytes = b"tail of a frame \xffmvm-".to_vec();
        bytes.extend_from_slice(&GREETING);
        bytes.extend_from_slice(b"next");
        let mut channel = Cursor::new(bytes);
        block_on(await_greeting(&mut channel)).unwrap();
        let mut rest = String::new();
        block_on(channel.read_to_string(&mut rest)).unwrap();
        assert_eq!(rest, "next");
    }

    #[test]
    fn a_channel_that_says_something_else_is_refused() {
        let mut channel = Cursor::new(vec![7; MAX_STALE_BYTES + 1]);
        assert!(matches!(
            block_on(await_greeting(&mut channel)),
            Err(GreetingError::NoGreeting)
        ));
    }
}
