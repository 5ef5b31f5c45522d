//! Failures the agent reports.

use mvm_contract::{Coded, ErrorCode, exit_status};
use mvm_wire::{Failure, FailureKind};

/// Error numbers of the guest's kernel: Linux's, `errno(3)`.
const ENOENT: i32 = 2;
const EACCES: i32 = 13;

/// The guest's agent could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFailure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// What the agent was doing.
    pub doing: String,
    /// The path or name concerned, escaped for display; empty when there is none.
    pub subject: String,
    /// The guest kernel's error number, or 0.
    pub errno: i32,
}

impl AgentFailure {
    /// The exit code of a program whose command failed to start this way.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            FailureKind::NotFound => exit_status::NOT_FOUND,
            FailureKind::NotExecutable => exit_status::NOT_EXECUTABLE,
            _ => exit_status::FAILED,
        }
    }
}

impl From<Failure> for AgentFailure {
    fn from(failure: Failure) -> Self {
        Self {
            kind: failure.kind(),
            doing: display(failure.doing.as_bytes()),
            subject: display(&failure.subject),
            errno: failure.errno,
        }
    }
}

/// Guest bytes as text that cannot move a terminal's cursor.
pub(crate) fn display(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .flat_map(|c| {
            let escape = c.is_control();
            let plain = (!escape).then_some(c);
            escape
                .then(|| c.escape_default())
                .into_iter()
                .flatten()
                .chain(plain)
        })
        .collect()
}

impl std::fmt::Display for AgentFailure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.doing.is_empty() {
            formatter.write_str("the sandbox refused the request")?;
        } else {
            write!(formatter, "{} failed in the sandbox", self.doing)?;
        }
        if !self.subject.is_empty() {
            write!(formatter, ": `{}`", self.subject)?;
        }
        let what = match self.kind {
            FailureKind::Unspecified => "",
            FailureKind::Unauthenticated => "the connection is not authenticated",
            FailureKind::InvalidRequest => "the request is not valid",
            FailureKind::Unsupported => "not supported",
            FailureKind::NotFound => "not found",
            FailureKind::PermissionDenied => "permission denied",
            FailureKind::NotExecutable => "not executable",
            FailureKind::WorkingDirectory => "the working directory cannot be entered",
            FailureKind::UnknownUser => "no such user or group",
            FailureKind::AlreadyExists => "it exists already",
            FailureKind::NotADirectory => "not a directory",
            FailureKind::IsADirectory => "it is a directory",
            FailureKind::NotEmpty => "the directory is not empty",
            FailureKind::Exhausted => "no room left in the sandbox",
            FailureKind::Io => "input/output error",
        };
        if !what.is_empty() {
            write!(formatter, " ({what}")?;
            let tells_why = matches!(self.kind, FailureKind::Io | FailureKind::WorkingDirectory);
            if tells_why && self.errno != 0 {
                let error = std::io::Error::from_raw_os_error(self.errno);
                write!(formatter, ": {error}")?;
            }
            formatter.write_str(")")?;
        }
        Ok(())
    }
}

impl std::error::Error for AgentFailure {}

impl Coded for AgentFailure {
    fn code(&self) -> ErrorCode {
        match self.kind {
            FailureKind::NotFound => ErrorCode::NotFound,
            FailureKind::Unauthenticated => ErrorCode::TransportError,
            FailureKind::Unsupported => ErrorCode::BackendUnsupported,
            _ => ErrorCode::InvalidArgument,
        }
    }

    fn hint(&self) -> Option<String> {
        match self.kind {
            FailureKind::Exhausted => Some("give the sandbox more disk or memory".to_owned()),
            FailureKind::UnknownUser => {
                Some("name a user of the image's `/etc/passwd`, or give numbers".to_owned())
            }
            FailureKind::WorkingDirectory => {
                let hint = match self.errno {
                    EACCES => {
                        "run the command as a user who may enter it, or name another directory"
                    }
                    ENOENT => "make the directory first, or name another",
                    _ => "name a directory that is there",
                };
                Some(hint.to_owned())
            }
            FailureKind::NotEmpty => {
                Some("remove it recursively, with all that is in it".to_owned())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_working_directory_that_cannot_be_entered_is_told_why() {
        let failure = |errno| AgentFailure {
            kind: FailureKind::WorkingDirectory,
            doing: "entering the working directory".into(),
            subject: "/root".into(),
            errno,
        };
        assert_eq!(
            failure(EACCES).to_string(),
            "entering the working directory failed in the sandbox: `/root` \
             (the working directory cannot be entered: Permission denied (os error 13))"
        );
        let hints: Vec<_> = [EACCES, ENOENT, 20]
            .map(|errno| failure(errno).hint().unwrap())
            .into();
        assert!(
            hints[0].contains("user") && hints[1].contains("make"),
            "{hints:?}"
        );
        assert!(!hints[2].contains("user"), "{hints:?}");
    }

    #[test]
    fn guest_text_cannot_carry_control_sequences() {
        assert_eq!(display(b"a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(display("grün".as_bytes()), "grün");
    }
}
