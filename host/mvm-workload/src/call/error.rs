//! Why a function could not be called.

use std::{io, path::PathBuf, time::Duration};

use mvm_contract::{Coded, ErrorCode, IdentityError, canonical::WriteError};
use mvm_runtime::{ClientError, CreateError, EndError, LifecycleError};

use crate::{HookError, SchemaMismatch, runner::MOST_MESSAGE_BYTES};

/// Why a function could not be called.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The workload has no such app.
    #[error("workload `{workload}` has no app `{name}`")]
    NoApp {
        /// The workload.
        workload: String,
        /// What was asked for.
        name: String,
        /// The apps it has.
        there: Vec<String>,
    },
    /// There is no such function.
    #[error("there is no function `{name}`")]
    NoFunction {
        /// What was asked for.
        name: String,
        /// The functions there are.
        there: Vec<String>,
    },
    /// Several apps have such a function.
    #[error("several functions are meant by `{name}`")]
    SeveralFunctions {
        /// What was asked for.
        name: String,
        /// The functions there are.
        there: Vec<String>,
    },
    /// The arguments do not fit.
    #[error(transparent)]
    Mismatch(#[from] SchemaMismatch),
    /// The result does not fit.
    #[error("the function gave what its hints do not allow")]
    Result(#[source] SchemaMismatch),
    /// The arguments are no JSON.
    #[error("the arguments cannot be written as JSON")]
    Arguments(#[source] io::Error),
    /// The arguments are too much.
    #[error("the arguments take {bytes} bytes, and {MOST_MESSAGE_BYTES} are allowed")]
    TooLarge {
        /// Their size.
        bytes: usize,
    },
    /// There is no sandbox for it.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The sandbox did not end.
    #[error(transparent)]
    End(#[from] EndError),
    /// A warm worker cannot be gone on from.
    #[error("failed to go on from the function's warm worker")]
    Warm(#[source] LifecycleError),
    /// A warm worker has no function in it.
    #[error("the function's warm worker has ended")]
    NoWorker,
    /// A warm worker has no name.
    #[error("the function's warm worker cannot be named")]
    WarmName(#[source] IdentityError),
    /// A warm worker has no digest.
    #[error("the function's warm worker cannot be named")]
    Canonical(#[source] WriteError),
    /// A place among the warm workers cannot be taken.
    #[error("failed to lock `{}`", path.display())]
    Lock {
        /// The lock.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A hook failed.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// What calls the function could not be started.
    #[error("the function's language could not be started in the image")]
    Runner(#[source] ClientError),
    /// The connection to it broke.
    #[error("lost the connection to the function")]
    Connection(#[source] ClientError),
    /// It did not answer in time.
    #[error("the function did not answer within {limit:?}")]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// It ended without an answer.
    #[error(
        "the function's process ended with {exit_code} before it answered, having written `{tail}`"
    )]
    EndedEarly {
        /// Its exit code.
        exit_code: u8,
        /// The end of what it wrote.
        tail: String,
    },
    /// Its answer is too much.
    #[error("the answer takes more than {MOST_MESSAGE_BYTES} bytes")]
    AnswerTooLarge,
    /// Its answer is none.
    #[error("the guest answered with something that is no answer")]
    NotAnAnswer,
    /// Its answer is not one to what was asked.
    #[error("the guest answered out of turn")]
    OutOfTurn,
}

impl Coded for CallError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NoApp { .. } | Self::NoFunction { .. } => ErrorCode::NotFound,
            Self::SeveralFunctions { .. } => ErrorCode::InvalidArgument,
            Self::Mismatch(error) => error.code(),
            Self::Arguments(_) | Self::TooLarge { .. } => ErrorCode::InvalidArgument,
            Self::Create(error) => error.code(),
            Self::End(error) => error.code(),
            Self::Hook(error) => error.code(),
            Self::Warm(error) => error.code(),
            Self::NoWorker | Self::WarmName(_) | Self::Canonical(_) | Self::Lock { .. } => {
                ErrorCode::SandboxUnavailable
            }
            Self::Runner(error) | Self::Connection(error) => error.code(),
            Self::TimedOut { .. } => ErrorCode::Timeout,
            Self::Result(_)
            | Self::EndedEarly { .. }
            | Self::AnswerTooLarge
            | Self::NotAnAnswer
            | Self::OutOfTurn => ErrorCode::CommandFailed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoFunction { there, .. } if there.is_empty() => {
                Some("start its command with `mvmctl up`".to_owned())
            }
            Self::NoApp { there, .. } => Some(format!("it has `{}`", there.join("`, `"))),
            Self::NoFunction { there, .. } | Self::SeveralFunctions { there, .. } => {
                Some(format!("there are `{}`", there.join("`, `")))
            }
            Self::Mismatch(error) | Self::Result(error) => error.hint(),
            Self::Create(error) => error.hint(),
            Self::End(error) => error.hint(),
            Self::Hook(error) => error.hint(),
            Self::Warm(error) => error.hint(),
            Self::Connection(error) => error.hint(),
            Self::Runner(_) => Some(
                "use an image with the function's language, such as `debian:python`".to_owned(),
            ),
            Self::TimedOut { .. } => Some("give it more time".to_owned()),
            Self::TooLarge { .. } | Self::AnswerTooLarge => {
                Some("move large data as files".to_owned())
            }
            Self::Arguments(_)
            | Self::NoWorker
            | Self::WarmName(_)
            | Self::Canonical(_)
            | Self::Lock { .. }
            | Self::EndedEarly { .. }
            | Self::NotAnAnswer
            | Self::OutOfTurn => None,
        }
    }
}
