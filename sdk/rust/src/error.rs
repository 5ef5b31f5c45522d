//! Errors of the SDK.

use mvm_contract::{Coded, ErrorCode};
use mvm_runtime::{
    ClientError, CommandResult, CreateError, EndError, HomeError, LifecycleError, RegistryError,
    SnapshotError, keys::KeyStoreError,
};

/// Anything that went wrong. [`Coded::code`] tells what kind it is, the same on every surface,
/// and [`Coded::hint`] the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no usable state directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The sandbox could not be created.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// An operation on a sandbox failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The sandbox does not exist, or the state directory cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The sandbox could not be stopped or destroyed.
    #[error(transparent)]
    End(#[from] EndError),
    /// A sandbox could not be paused, saved, forked or brought back.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// A snapshot could not be found, read or removed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The keys that this host believes cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// A log cannot be read.
    #[error(transparent)]
    Log(#[from] crate::LogError),
    /// A server refused, failed, or could not be reached.
    #[cfg(feature = "http")]
    #[error(transparent)]
    Http(#[from] crate::http::HttpError),
    /// A command that was to succeed did not.
    #[error(transparent)]
    CommandFailed(#[from] CommandFailed),
}

impl Error {
    fn inner(&self) -> &dyn Coded {
        match self {
            Self::Home(error) => error,
            Self::Create(error) => error,
            Self::Client(error) => error,
            Self::Registry(error) => error,
            Self::End(error) => error,
            Self::Lifecycle(error) => error,
            Self::Snapshot(error) => error,
            Self::Keys(error) => error,
            Self::Log(error) => error,
            #[cfg(feature = "http")]
            Self::Http(error) => error,
            Self::CommandFailed(error) => error,
        }
    }

    /// Whether the same request may succeed later without any change.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            #[cfg(feature = "http")]
            Self::Http(error) => error.retryable(),
            other => other.code().retryable(),
        }
    }
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        self.inner().code()
    }

    fn hint(&self) -> Option<String> {
        self.inner().hint()
    }
}

/// A command that was to succeed did not.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the command exited with {}", result.exit_code())]
pub struct CommandFailed {
    /// Its whole result.
    pub result: Box<CommandResult>,
}

impl Coded for CommandFailed {
    fn code(&self) -> ErrorCode {
        if self.result.exit.timed_out {
            ErrorCode::Timeout
        } else {
            ErrorCode::CommandFailed
        }
    }
}

/// Demanding success of a command.
pub trait Check: Sized {
    /// The result, when the command exited with 0; otherwise an error that holds it.
    fn check(self) -> Result<Self, CommandFailed>;
}

impl Check for CommandResult {
    fn check(self) -> Result<Self, CommandFailed> {
        if self.success() {
            Ok(self)
        } else {
            Err(CommandFailed {
                result: Box::new(self),
            })
        }
    }
}
