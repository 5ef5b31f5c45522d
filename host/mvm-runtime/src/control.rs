//! What a client says to a sandbox's supervisor.
//!
//! A connection to the control socket carries one [`ControlRequest`] and its [`ControlReply`],
//! both frames of `mvm-wire`. After an accepted [`OpenStream`] the connection *is* a stream to
//! the agent: the supervisor moves bytes both ways and reads none of them.

use mvm_contract::ErrorCode;
use prost::{Message, Oneof};

/// The socket's name in the sandbox's folder.
pub(crate) const SOCKET_NAME: &str = "control.sock";

/// The generation of these messages; a supervisor may be older than its client.
pub(crate) const CONTROL_GENERATION: u32 = 1;

/// A request to a supervisor.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ControlRequest {
    /// [`CONTROL_GENERATION`] of the client.
    #[prost(uint32, tag = "1")]
    pub(crate) generation: u32,
    #[prost(oneof = "ControlOperation", tags = "2, 3, 4")]
    pub(crate) operation: Option<ControlOperation>,
}

/// What a supervisor can be asked.
#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum ControlOperation {
    #[prost(message, tag = "2")]
    OpenStream(OpenStream),
    #[prost(message, tag = "3")]
    Stop(Stop),
    #[prost(message, tag = "4")]
    Destroy(Destroy),
}

/// Make this connection a stream to the agent.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OpenStream {}

/// End the guest in order and keep its disk; answered when it has ended.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Stop {
    /// How long the guest's processes have to end by themselves, milliseconds.
    #[prost(uint64, tag = "1")]
    pub(crate) grace_milliseconds: u64,
}

/// End the guest at once and remove all it had; answered when it is gone.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Destroy {}

/// A supervisor's answer.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ControlReply {
    #[prost(oneof = "ControlOutcome", tags = "1, 2")]
    pub(crate) outcome: Option<ControlOutcome>,
}

/// How a request ended.
#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum ControlOutcome {
    #[prost(message, tag = "1")]
    Accepted(Accepted),
    #[prost(message, tag = "2")]
    Refused(Refused),
}

/// Done, or the stream is open.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Accepted {}

/// Not done.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Refused {
    #[prost(enumeration = "RefusalKind", tag = "1")]
    pub(crate) kind: i32,
    /// The chain of causes, outermost first.
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

/// Why a supervisor refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum RefusalKind {
    Unspecified = 0,
    /// The guest does not run (any more).
    NotRunning = 1,
    /// The client speaks another generation.
    Generation = 2,
    /// Something could not be removed.
    Cleanup = 3,
}

impl RefusalKind {
    /// The stable code of this refusal.
    pub(crate) const fn code(self) -> ErrorCode {
        match self {
            Self::NotRunning => ErrorCode::SandboxUnavailable,
            Self::Generation | Self::Unspecified => ErrorCode::TransportError,
            Self::Cleanup => ErrorCode::CleanupFailed,
        }
    }
}

impl ControlReply {
    pub(crate) const fn accepted() -> Self {
        Self {
            outcome: Some(ControlOutcome::Accepted(Accepted {})),
        }
    }

    pub(crate) fn refused(kind: RefusalKind, message: impl Into<String>) -> Self {
        let refused = Refused {
            kind: kind as i32,
            message: message.into(),
        };
        Self {
            outcome: Some(ControlOutcome::Refused(refused)),
        }
    }
}
