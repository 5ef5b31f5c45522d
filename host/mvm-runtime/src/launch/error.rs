//! Why a sandbox could not be created.

use std::{fmt, io, path::PathBuf};

use mvm_contract::{Coded, ErrorCode, SpecError, plan::LaunchPath};
use mvm_vmm::DetectError;

use crate::{
    admission::AdmissionError, disk::DiskError, keys::KeyStoreError, lease::LaunchFailure,
    plan::PlanError, pool::PoolError, registry::RegistryError, snapshot::SnapshotError,
};

/// Why a sandbox could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The specification breaks a rule.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The image's name has no meaning.
    #[error(transparent)]
    ImageSource(#[from] mvm_image::ParseSourceError),
    /// The image cannot be made ready.
    #[error(transparent)]
    Image(#[from] mvm_image::MaterializeError),
    /// The content store cannot be opened.
    #[error("failed to open the image store")]
    Store(#[source] mvm_image::StoreError),
    /// There is no kernel and initramfs.
    #[error("there is no guest kernel in `{}`", path.display())]
    NotSetUp {
        /// Where it would be.
        path: PathBuf,
    },
    /// Kernel and initramfs cannot be used.
    #[error("the guest's kernel and initramfs cannot be used")]
    BootArtifacts(#[source] mvm_image::boot::BootArtifactsError),
    /// The disk cannot be made.
    #[error("failed to prepare the sandbox's disk")]
    Disk(#[from] DiskError),
    /// The name is taken, or the state directory cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// There is no randomness for an identifier.
    #[error("failed to read the host's random source")]
    Random(#[source] io::Error),
    /// The supervisor did not start.
    #[error("failed to start supervisor `{}`", program.display())]
    Supervisor {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection to the supervisor broke.
    #[error("lost the connection to the sandbox's supervisor")]
    Lease(#[source] io::Error),
    /// The supervisor died before the sandbox ran.
    #[error("the sandbox's supervisor ended before the sandbox ran")]
    SupervisorDied,
    /// This host cannot run a microVM.
    #[error("this host cannot run a microVM")]
    Host(#[from] DetectError),
    /// The settings of the image's pool cannot be read.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The policy forbids it, as is seen before anything is fetched.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// The plan cannot be written.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The host's keys or policy cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// A plan demands a spare, and there is none.
    #[error("the plan demands a spare, and none is ready")]
    NoSpare,
    /// A plan of this kind starts otherwise.
    #[error("a plan for `{path}` does not create a sandbox", path = path.as_str())]
    PlanPath {
        /// The way of launching that it names.
        path: LaunchPath,
    },
    /// The supervisor said why not.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

impl Coded for CreateError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Spec(error) => error.code(),
            Self::ImageSource(_) => ErrorCode::InvalidArgument,
            Self::NotSetUp { .. } => ErrorCode::NotFound,
            Self::Image(error) if is_absent(error) => ErrorCode::NotFound,
            Self::Image(_) | Self::BootArtifacts(_) => ErrorCode::BuildFailed,
            Self::Store(_) => ErrorCode::SandboxUnavailable,
            Self::Supervisor { .. } => ErrorCode::BackendUnsupported,
            Self::Disk(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::Random(_) => ErrorCode::SandboxUnavailable,
            Self::Lease(_) | Self::SupervisorDied => ErrorCode::TransportError,
            Self::Host(_) => ErrorCode::BackendUnsupported,
            Self::Pool(error) => error.code(),
            Self::Snapshot(error) => error.code(),
            Self::Admission(error) => error.code(),
            Self::Plan(error) => error.code(),
            Self::Keys(error) => error.code(),
            Self::NoSpare => ErrorCode::SandboxUnavailable,
            Self::PlanPath { .. } => ErrorCode::InvalidArgument,
            Self::Launch(error) => error.failure.code,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Spec(error) => error.hint(),
            Self::ImageSource(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Store(source) => source.hint(),
            Self::NotSetUp { .. } => Some("prepare this host: `mvmctl setup`".to_owned()),
            Self::BootArtifacts(source) => source.hint(),
            Self::Disk(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Supervisor { .. } => Some(format!(
                "install `mvmctl` on the `PATH`, or name it with `{}`",
                crate::SUPERVISOR_VARIABLE
            )),
            Self::Host(error) => error.hint(),
            Self::Pool(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            Self::Admission(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::Keys(error) => error.hint(),
            Self::NoSpare => Some("keep some: `mvmctl pool set IMAGE --size N`".to_owned()),
            Self::PlanPath { .. } => Some("plan one of `boot`, `template` and `spare`".to_owned()),
            Self::Launch(error) => error.failure.hint.clone(),
            Self::Random(_) | Self::Lease(_) | Self::SupervisorDied => None,
        }
    }
}

/// Whether the image is not there, as opposed to being broken.
fn is_absent(error: &mvm_image::MaterializeError) -> bool {
    use mvm_image::{MaterializeError, SourceError, registry::PullError};
    match error {
        MaterializeError::Pull { source, .. } => matches!(
            **source,
            PullError::NotFound { .. } | PullError::NotPulled { .. }
        ),
        MaterializeError::Source { source, .. } => match source {
            SourceError::UnknownDefault { .. }
            | SourceError::NoSuchDirectory { .. }
            | SourceError::NoSuchReference { .. } => true,
            SourceError::Open { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        },
        _ => false,
    }
}

/// The supervisor's account of why the sandbox does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchError {
    failure: LaunchFailure,
    cause: Option<Cause>,
}

/// A cause that crossed a process boundary as text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cause {
    text: String,
    next: Option<Box<Cause>>,
}

impl From<LaunchFailure> for LaunchError {
    fn from(failure: LaunchFailure) -> Self {
        let cause = failure
            .causes
            .iter()
            .skip(1)
            .rev()
            .fold(None, |next, text| {
                Some(Cause {
                    text: text.clone(),
                    next: next.map(Box::new),
                })
            });
        Self { failure, cause }
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            self.failure
                .causes
                .first()
                .map_or("unknown failure", String::as_str),
        )
    }
}

impl std::error::Error for LaunchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.next.as_deref().map(|next| next as _)
    }
}
