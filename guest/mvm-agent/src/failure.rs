//! The one error of the agent: what a [`Failure`] carries to the host.

use mvm_wire::{Failure, FailureKind};
use rustix::io::Errno;

/// A step that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    kind: FailureKind,
    doing: &'static str,
    subject: Vec<u8>,
    errno: Option<Errno>,
}

/// What an operation gives.
pub(crate) type Outcome<T> = Result<T, Failed>;

impl Failed {
    /// A failure the agent finds by itself.
    pub(crate) fn new(kind: FailureKind, doing: &'static str, subject: impl AsRef<[u8]>) -> Self {
        Self {
            kind,
            doing,
            subject: subject.as_ref().to_vec(),
            errno: None,
        }
    }

    /// A request that is malformed or out of its documented range.
    pub(crate) fn invalid(doing: &'static str, subject: impl AsRef<[u8]>) -> Self {
        Self::new(FailureKind::InvalidRequest, doing, subject)
    }

    /// A failed system call; its error number decides the kind.
    pub(crate) fn call(doing: &'static str, subject: impl AsRef<[u8]>, errno: Errno) -> Self {
        Self {
            kind: kind_of(errno),
            doing,
            subject: subject.as_ref().to_vec(),
            errno: Some(errno),
        }
    }

    /// The same failure under another kind.
    pub(crate) fn with_kind(mut self, kind: FailureKind) -> Self {
        self.kind = kind;
        self
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        Self {
            kind: failed.kind.into(),
            doing: failed.doing.to_owned(),
            subject: failed.subject,
            errno: failed.errno.map_or(0, Errno::raw_os_error),
        }
    }
}

fn kind_of(errno: Errno) -> FailureKind {
    match errno {
        Errno::NOENT | Errno::SRCH => FailureKind::NotFound,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => FailureKind::PermissionDenied,
        Errno::EXIST => FailureKind::AlreadyExists,
        Errno::NOTDIR => FailureKind::NotADirectory,
        Errno::ISDIR => FailureKind::IsADirectory,
        Errno::NOTEMPTY => FailureKind::NotEmpty,
        Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::AGAIN => {
            FailureKind::Exhausted
        }
        Errno::NAMETOOLONG | Errno::INVAL => FailureKind::InvalidRequest,
        _ => FailureKind::Io,
    }
}
