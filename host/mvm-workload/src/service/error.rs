//! Why a service could not be begun or ended.

use std::{io, path::PathBuf};

use mvm_contract::{Coded, ErrorCode};

use crate::BuildError;

/// Why a service could not be begun or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// No app of the workload has a command.
    #[error("no app of workload `{workload}` has a command as its primary entrypoint")]
    NoCommand {
        /// The workload.
        workload: String,
    },
    /// An app depends on one that does not run.
    #[error("app `{app}` depends on `{on}`, which is called and does not run")]
    DependsOnFunction {
        /// The app.
        app: String,
        /// What it depends on.
        on: String,
    },
    /// An app cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Somebody keeps it up already.
    #[error("workload `{workload}` is up already")]
    AlreadyUp {
        /// The workload.
        workload: String,
    },
    /// Nobody keeps it up.
    #[error("workload `{workload}` is not up")]
    NotUp {
        /// The workload.
        workload: String,
    },
    /// Something of the state cannot be read or written.
    #[error("failed to {doing} `{}`", path.display())]
    State {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Coded for ServiceError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Build(error) => error.code(),
            Self::NotUp { .. } => ErrorCode::NotFound,
            Self::NoCommand { .. } | Self::DependsOnFunction { .. } | Self::AlreadyUp { .. } => {
                ErrorCode::InvalidArgument
            }
            Self::State { .. } => ErrorCode::SandboxUnavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Build(error) => error.hint(),
            Self::NoCommand { .. } => Some("call its functions with `mvmctl invoke`".to_owned()),
            Self::DependsOnFunction { .. } => Some("leave the dependency out".to_owned()),
            Self::AlreadyUp { workload } => Some(format!("end it with `mvmctl down {workload}`")),
            Self::NotUp { .. } => Some("`mvmctl ps` lists what is up".to_owned()),
            Self::State { .. } => None,
        }
    }
}
