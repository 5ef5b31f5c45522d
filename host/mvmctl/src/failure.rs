//! How a command of `mvmctl` fails.

use mvm_contract::{Coded, ErrorCode, exit_status};
use mvm_runtime::{
    AgentFailure, ClientError, CreateError, EndError, HomeError, ImageError, LifecycleError,
    PoolError, RegistryError, SnapshotError, TemplateError, causes,
};

/// A failure on its way to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    /// The chain of causes, outermost first.
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
    exit_code: u8,
}

impl Failure {
    pub(crate) fn new(error: &dyn Coded) -> Self {
        Self {
            code: error.code(),
            causes: causes(error),
            hint: error.hint(),
            exit_code: exit_status::FAILED,
        }
    }

    /// A request that breaks a rule of the command line itself.
    pub(crate) fn invalid(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::InvalidArgument,
            causes: vec![text.into()],
            hint: Some(hint.into()),
            exit_code: exit_status::FAILED,
        }
    }

    /// A failure that nothing below has a type for.
    pub(crate) fn of(code: ErrorCode, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            ..Self::invalid(text, hint)
        }
    }

    /// A failed read or write of the host.
    pub(crate) fn host_io(doing: impl Into<String>, error: &std::io::Error) -> Self {
        Self {
            code: ErrorCode::TransportError,
            causes: vec![doing.into(), error.to_string()],
            hint: None,
            exit_code: exit_status::FAILED,
        }
    }

    /// The failure with another exit code.
    pub(crate) fn with_exit_code(mut self, exit_code: u8) -> Self {
        self.exit_code = exit_code;
        self
    }

    /// The exit code of `mvmctl`.
    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// The exit code of a command that could not be started.
    pub(crate) fn of_start(error: &ClientError) -> Self {
        let exit_code = match error {
            ClientError::Agent(failure) => AgentFailure::exit_code(failure),
            ClientError::Unresponsive { .. } => exit_status::TIMED_OUT,
            _ => exit_status::FAILED,
        };
        Self {
            exit_code,
            ..Self::new(error)
        }
    }
}

macro_rules! from_coded {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(&error)
            }
        }
    )*};
}

from_coded!(
    ClientError,
    CreateError,
    EndError,
    HomeError,
    ImageError,
    LifecycleError,
    PoolError,
    RegistryError,
    SnapshotError,
    TemplateError,
    mvm_runtime::setup::SetupError,
    mvm_runtime::keys::KeyStoreError,
    mvm_runtime::AdmissionError,
    mvm_runtime::AuditError,
    mvm_contract::recording::LowerError,
    mvm_workload::BuildError,
    mvm_workload::CallError,
    mvm_workload::InitError,
    mvm_workload::InvokeError,
    mvm_workload::DeclarationError,
    mvm_workload::ServiceError,
    mvm_api::ServeError,
    mvm_api::EntranceError
);
