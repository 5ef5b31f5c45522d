//! What a client says to a sandbox's supervisor.
//!
//! A connection to the control socket carries one [`ControlRequest`] and its [`ControlReply`],
//! both frames of `mvm-wire`. After an accepted [`OpenStream`] the connection *is* a stream to
//! the agent: the supervisor moves bytes both ways and reads none of them.

use mvm_contract::ErrorCode;
use prost::{Message, Oneof};

use crate::lease::LaunchFailure;

/// The socket's name in the sandbox's folder.
pub(crate) const SOCKET_NAME: &str = "control.sock";

/// The generation of these messages; a supervisor may be older than its client.
pub(crate) const CONTROL_GENERATION: u32 = 2;

/// A request to a supervisor.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ControlRequest {
    /// [`CONTROL_GENERATION`] of the client.
    #[prost(uint32, tag = "1")]
    pub(crate) generation: u32,
    #[prost(oneof = "ControlOperation", tags = "2, 3, 4, 5, 6, 7, 8, 9")]
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
    #[prost(message, tag = "5")]
    Pause(Pause),
    #[prost(message, tag = "6")]
    Resume(Resume),
    #[prost(message, tag = "7")]
    Cool(Cool),
    #[prost(message, tag = "8")]
    Snapshot(Snapshot),
    #[prost(message, tag = "9")]
    SetTtl(SetTtl),
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

/// Take the guest's processors away; its memory stays.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Pause {}

/// Let a paused or cold guest go on; answered when its agent answers.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Resume {}

/// Save the guest to its folder and end it; answered when its memory is free.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Cool {}

/// Save the guest, which goes on.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Snapshot {
    /// The snapshot's identifier.
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    /// Its name, or empty.
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    /// Save all memory as a stream, although pages would do.
    #[prost(bool, tag = "3")]
    pub(crate) stream: bool,
}

/// Destroy the sandbox after another time than it was to be.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SetTtl {
    /// Seconds from now; without them, never.
    #[prost(uint64, optional, tag = "1")]
    pub(crate) seconds: Option<u64>,
}

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
    #[prost(string, repeated, tag = "2")]
    pub(crate) causes: Vec<String>,
    /// The stable code, where the kind has none of its own.
    #[prost(string, tag = "3")]
    pub(crate) code: String,
    /// The way out, or empty.
    #[prost(string, tag = "4")]
    pub(crate) hint: String,
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
    /// The guest is paused or cold.
    StandsStill = 4,
    /// What was asked for failed; the code says how.
    Failed = 5,
}

impl RefusalKind {
    /// The stable code of this refusal.
    pub(crate) const fn code(self) -> ErrorCode {
        match self {
            Self::NotRunning | Self::StandsStill => ErrorCode::SandboxUnavailable,
            Self::Generation | Self::Unspecified | Self::Failed => ErrorCode::TransportError,
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
            causes: vec![message.into()],
            ..Refused::default()
        };
        Self {
            outcome: Some(ControlOutcome::Refused(refused)),
        }
    }

    pub(crate) fn failed(failure: LaunchFailure) -> Self {
        let refused = Refused {
            kind: RefusalKind::Failed as i32,
            causes: failure.causes,
            code: failure.code.as_str().to_owned(),
            hint: failure.hint.unwrap_or_default(),
        };
        Self {
            outcome: Some(ControlOutcome::Refused(refused)),
        }
    }
}
