//! Stable error codes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The stable code of a failure, the same on every surface. No two causes a caller would treat
/// differently share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorCode {
    /// A command exited with a non-zero status where success was demanded (`check`).
    CommandFailed,
    /// A limit in time passed: of a command, a request or a start.
    Timeout,
    /// A policy forbids it; the rule is named.
    PolicyDenied,
    /// The plan was not admitted; the rule is named.
    AdmissionFailed,
    /// An image or a boot artifact could not be made.
    BuildFailed,
    /// The sandbox does not run, or its guest does not answer.
    SandboxUnavailable,
    /// This host or this version cannot do it.
    BackendUnsupported,
    /// A snapshot does not fit, or is not what it claims to be.
    SnapshotMismatch,
    /// Something could not be removed and may be left behind.
    CleanupFailed,
    /// The request is malformed or out of its documented range.
    InvalidArgument,
    /// What the request names does not exist.
    NotFound,
    /// The connection to a supervisor, a guest or a server broke.
    TransportError,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 12] = [
        Self::CommandFailed,
        Self::Timeout,
        Self::PolicyDenied,
        Self::AdmissionFailed,
        Self::BuildFailed,
        Self::SandboxUnavailable,
        Self::BackendUnsupported,
        Self::SnapshotMismatch,
        Self::CleanupFailed,
        Self::InvalidArgument,
        Self::NotFound,
        Self::TransportError,
    ];

    /// The code as it is written in JSON and in SDKs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CommandFailed => "CommandFailed",
            Self::Timeout => "Timeout",
            Self::PolicyDenied => "PolicyDenied",
            Self::AdmissionFailed => "AdmissionFailed",
            Self::BuildFailed => "BuildFailed",
            Self::SandboxUnavailable => "SandboxUnavailable",
            Self::BackendUnsupported => "BackendUnsupported",
            Self::SnapshotMismatch => "SnapshotMismatch",
            Self::CleanupFailed => "CleanupFailed",
            Self::InvalidArgument => "InvalidArgument",
            Self::NotFound => "NotFound",
            Self::TransportError => "TransportError",
        }
    }

    /// Whether the same request may succeed later without any change.
    #[must_use]
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            Self::Timeout | Self::SandboxUnavailable | Self::TransportError
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What every error that reaches a user can say of itself beside its text.
pub trait Coded: std::error::Error {
    /// The stable code.
    fn code(&self) -> ErrorCode;
    /// The way out, when there is one: an imperative phrase without full stop.
    fn hint(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_display_agree() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
        }
    }
}
