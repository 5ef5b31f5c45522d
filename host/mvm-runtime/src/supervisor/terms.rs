//! What the admitted plan and the host's policy say of commands, held against each command that a
//! client starts, whichever program the client is.

use std::collections::BTreeMap;

use mvm_contract::{Coded, ErrorCode};
use mvm_wire::{Operation, Request, StartProcess};

use crate::{admission::CommandTerms, lease::LaunchFailure, record::SandboxRecord};

/// The terms of a sandbox.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    commands: CommandTerms,
    /// The only variables that commands get, where they bring none of their own.
    environment: BTreeMap<String, String>,
}

/// A command that the terms of its sandbox forbid.
#[derive(Debug, thiserror::Error)]
#[error("this sandbox lets no command bring environment variables of its own")]
struct EnvironmentForbidden;

impl Coded for EnvironmentForbidden {
    fn code(&self) -> ErrorCode {
        ErrorCode::PolicyDenied
    }

    fn hint(&self) -> Option<String> {
        Some("write what the command needs into a file".to_owned())
    }
}

impl Terms {
    pub(super) fn of(record: &SandboxRecord) -> Self {
        Self {
            commands: record.admission.commands,
            environment: record.defaults.environment.clone(),
        }
    }

    /// Whether requests have to be looked at.
    pub(super) fn bind(&self) -> bool {
        self.commands != CommandTerms::default()
    }

    /// Makes a request one that keeps the terms.
    pub(super) fn apply(&self, request: &mut Request) -> Result<(), LaunchFailure> {
        let Some(Operation::StartProcess(start)) = &mut request.operation else {
            return Ok(());
        };
        if self.commands.refuse_environment && !self.is_default(start) {
            return Err(LaunchFailure::of(&EnvironmentForbidden));
        }
        if let Some(seconds) = self.commands.limit_seconds {
            let most = seconds.saturating_mul(1000);
            // 0 is no limit.
            let asked = start.timeout_milliseconds.checked_sub(1);
            start.timeout_milliseconds = asked.map_or(most, |asked| most.min(asked + 1));
        }
        Ok(())
    }

    fn is_default(&self, start: &StartProcess) -> bool {
        start.environment.iter().all(|variable| {
            let name = std::str::from_utf8(&variable.name).unwrap_or_default();
            let default = self.environment.get(name);
            default.is_some_and(|value| value.as_bytes() == variable.value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mvm_wire::EnvironmentVariable;

    fn start(timeout: u64, environment: &[(&str, &str)]) -> Request {
        let variable = |(name, value): &(&str, &str)| EnvironmentVariable {
            name: name.as_bytes().to_vec(),
            value: value.as_bytes().to_vec(),
        };
        Request::from(Operation::StartProcess(StartProcess {
            timeout_milliseconds: timeout,
            environment: environment.iter().map(variable).collect(),
            ..StartProcess::default()
        }))
    }

    #[test]
    fn no_command_runs_for_longer_than_its_limit() {
        let terms = Terms {
            commands: CommandTerms {
                limit_seconds: Some(2),
                refuse_environment: false,
            },
            ..Terms::default()
        };
        for (asked, got) in [
            (0, 2000),
            (1, 1),
            (1999, 1999),
            (2001, 2000),
            (u64::MAX, 2000),
        ] {
            let mut request = start(asked, &[("A", "b")]);
            terms.apply(&mut request).unwrap();
            assert_eq!(request, start(got, &[("A", "b")]));
        }
    }

    #[test]
    fn variables_that_are_not_the_sandboxes_are_refused() {
        let terms = Terms {
            commands: CommandTerms {
                limit_seconds: None,
                refuse_environment: true,
            },
            environment: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
        };
        for environment in [&[][..], &[("A", "b")]] {
            let mut request = start(0, environment);
            terms.apply(&mut request).unwrap();
        }
        for environment in [&[("A", "c")][..], &[("B", "b")], &[("A", "b"), ("", "")]] {
            let refused = terms.apply(&mut start(0, environment)).unwrap_err();
            assert_eq!(refused.code, ErrorCode::PolicyDenied);
        }
    }
}
