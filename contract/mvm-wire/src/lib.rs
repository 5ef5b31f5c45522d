//! The protocol between a host and the agent in its guest.
//!
//! A byte channel (a virtio-serial port) carries [yamux] streams. The host opens a stream per
//! operation; its first frame is a [`Request`], and what follows depends on the operation:
//!
//! | operation | host sends | agent answers |
//! |---|---|---|
//! | `Hello`, `Ping`, `Shutdown`, `StatPath`, ... | nothing more | one [`Reply`] |
//! | `StartProcess`, `AttachProcess` | data (standard input), [`Input`] | `ProcessStarted`, data, `OutputGap`, `ProcessExited` |
//! | `ReadFile` | nothing more | `Metadata`, data, `Done` |
//! | `WriteFile` | data, `EndOfData` | `Done` |
//! | `DownloadTree` | nothing more | (`TreeEntry`, data, `EndOfFile`)*, `Done` |
//! | `UploadTree` | (`TreeEntry`, data, `EndOfFile`)*, `EndOfData` | `Done` |
//! | `ListDirectory` | nothing more | `DirectoryBatch`*, `Done` |
//! | `ReadLog` | nothing more | data |
//! | `Freeze` | `Thaw` | `Frozen`, `Done` |
//!
//! Any answer may be a [`Failure`] instead; it ends the operation. The first operation on a new
//! connection is `Hello`; the agent refuses every other until it has accepted one. A later `Hello` on
//! the same connection is as good as the first.
//!
//! Both ends treat the other as hostile: a frame, a stream window and the number of streams are
//! bounded ([`frame`], [`session`]), and a stream that ends where the table above expects more is
//! an interrupted operation, never a finished one.
//!
//! [yamux]: https://github.com/hashicorp/yamux/blob/master/spec.md

#![forbid(unsafe_code)]

pub mod frame;
pub mod message;
#[cfg(feature = "session")]
pub mod session;

pub use frame::{Frame, FrameError, FrameKind};
pub use message::*;

/// The generation of this protocol. The two ends must agree exactly: the host ships the agent it
/// speaks to, so there is never an older one to understand.
pub const PROTOCOL_GENERATION: u32 = 2;

/// The names of the virtio-serial ports that carry the protocol
/// (`/sys/class/virtio-ports/*/name` in the guest).
///
/// The agent serves both at once. A guest restored from a snapshot is spoken to on the other one
/// than its parent was, so that no hang-up has to be noticed for a new connection to begin.
pub const PORT_NAMES: [&str; 2] = ["mvm.agent.0", "mvm.agent.1"];
