//! A command to run in a sandbox, before it runs.

use std::{collections::BTreeMap, ffi::OsString, os::unix::ffi::OsStringExt as _, time::Duration};

use mvm_contract::spec::{SpecError, validate_variable};
use mvm_wire::{EnvironmentVariable, ResourceLimit, StartProcess, TerminalSize};
use serde::{Deserialize, Serialize};

/// Between SIGTERM and SIGKILL when a command's time is up.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(2);

/// What a command gets that names nothing else: the image's configuration under the sandbox's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandDefaults {
    /// Environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// User.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The image's entry point and command, run when no command is given.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// A command to run in a sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    arguments: Vec<OsString>,
    environment: BTreeMap<String, String>,
    working_directory: Option<String>,
    user: Option<String>,
    standard_input: bool,
    terminal: Option<TerminalSize>,
    limits: Vec<ResourceLimit>,
    timeout: Option<Duration>,
    grace: Duration,
    detached: bool,
    receipt: bool,
}

/// What a [`Command`] asks for, to be said to somebody else than the agent.
#[derive(Debug, Clone, Copy)]
pub struct CommandParts<'a> {
    /// Program and arguments; empty for the image's own command.
    pub arguments: &'a [OsString],
    /// What its environment has beside the defaults.
    pub environment: &'a BTreeMap<String, String>,
    /// Working directory.
    pub working_directory: Option<&'a str>,
    /// User.
    pub user: Option<&'a str>,
    /// Whether standard input will be sent.
    pub standard_input: bool,
    /// Columns and rows of its terminal.
    pub terminal: Option<(u32, u32)>,
    /// Whether it has resource limits of its own.
    pub has_limits: bool,
    /// When it is ended.
    pub timeout: Option<Duration>,
    /// Between SIGTERM and SIGKILL then.
    pub grace: Duration,
    /// Whether it outlives its client.
    pub detached: bool,
    /// Whether a receipt is asked for.
    pub receipt: bool,
}

impl Command {
    /// A command by its program and arguments. An empty list means the image's own command.
    pub fn new<I>(arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        Self {
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: BTreeMap::new(),
            working_directory: None,
            user: None,
            standard_input: false,
            terminal: None,
            limits: Vec::new(),
            timeout: None,
            grace: DEFAULT_GRACE,
            detached: false,
            receipt: false,
        }
    }

    /// A line for the guest's `/bin/sh`.
    pub fn shell(line: impl Into<OsString>) -> Self {
        Self::new([OsString::from("/bin/sh"), OsString::from("-c"), line.into()])
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Sets its working directory, an absolute path of the guest.
    #[must_use]
    pub fn working_directory(mut self, path: impl Into<String>) -> Self {
        self.working_directory = Some(path.into());
        self
    }

    /// Sets its user: `name`, `uid`, `name:group` or `uid:gid` of the guest.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Whether standard input will be sent; otherwise it is empty.
    #[must_use]
    pub fn standard_input(mut self, open: bool) -> Self {
        self.standard_input = open;
        self
    }

    /// Runs it on a terminal of this size; standard error then comes as standard output.
    #[must_use]
    pub fn terminal(mut self, columns: u16, rows: u16) -> Self {
        self.terminal = Some(TerminalSize {
            columns: u32::from(columns),
            rows: u32::from(rows),
        });
        self
    }

    /// Sets a resource limit by its `RLIMIT_*` number; `u64::MAX` is infinity.
    #[must_use]
    pub fn limit(mut self, resource: u32, soft: u64, hard: u64) -> Self {
        self.limits.push(ResourceLimit {
            resource,
            soft,
            hard,
        });
        self
    }

    /// Ends it, with every process it started, when so much time has passed.
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Time between SIGTERM and SIGKILL when the timeout passes; [`DEFAULT_GRACE`] if not set.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Lets it outlive its client; it can be attached to by its process number.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Asks for a signed receipt of the run: see [`RunAccount::receipt`](crate::RunAccount).
    #[must_use]
    pub fn receipt(mut self) -> Self {
        self.receipt = true;
        self
    }

    /// What was asked for so far.
    #[must_use]
    pub fn parts(&self) -> CommandParts<'_> {
        let size = |terminal: &TerminalSize| (terminal.columns, terminal.rows);
        CommandParts {
            arguments: &self.arguments,
            environment: &self.environment,
            working_directory: self.working_directory.as_deref(),
            user: self.user.as_deref(),
            standard_input: self.standard_input,
            terminal: self.terminal.as_ref().map(size),
            has_limits: !self.limits.is_empty(),
            timeout: self.timeout,
            grace: self.grace,
            detached: self.detached,
            receipt: self.receipt,
        }
    }

    pub(crate) fn wants_receipt(&self) -> bool {
        self.receipt
    }

    /// The request to the agent, with the sandbox's defaults under it.
    pub(crate) fn to_request(&self, defaults: &CommandDefaults) -> Result<StartProcess, SpecError> {
        let mut environment = defaults.environment.clone();
        for (name, value) in &self.environment {
            validate_variable(name, value)?;
            environment.insert(name.clone(), value.clone());
        }
        if let Some(path) = &self.working_directory
            && !path.starts_with('/')
        {
            return Err(SpecError::WorkingDirectory { path: path.clone() });
        }
        let arguments = if self.arguments.is_empty() {
            defaults
                .arguments
                .iter()
                .map(|argument| argument.clone().into_bytes())
                .collect()
        } else {
            self.arguments
                .iter()
                .map(|argument| argument.clone().into_vec())
                .collect()
        };
        let chosen = |own: &Option<String>, default: &Option<String>| {
            own.clone().or_else(|| default.clone()).unwrap_or_default()
        };
        Ok(StartProcess {
            arguments,
            environment: environment
                .into_iter()
                .map(|(name, value)| EnvironmentVariable {
                    name: name.into_bytes(),
                    value: value.into_bytes(),
                })
                .collect(),
            working_directory: chosen(&self.working_directory, &defaults.working_directory)
                .into_bytes(),
            user: chosen(&self.user, &defaults.user),
            standard_input: self.standard_input,
            terminal: self.terminal,
            limits: self.limits.clone(),
            timeout_milliseconds: self.timeout.map_or(0, milliseconds),
            grace_milliseconds: milliseconds(self.grace),
            detached: self.detached,
        })
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_overrides_the_defaults_and_keeps_the_rest() {
        let defaults = CommandDefaults {
            environment: [("A", "1"), ("B", "2")]
                .map(|(k, v)| (k.into(), v.into()))
                .into(),
            working_directory: Some("/srv".into()),
            user: Some("nobody".into()),
            arguments: vec!["/entry".into()],
        };
        let request = Command::new(Vec::<OsString>::new())
            .env("B", "3")
            .to_request(&defaults);
        let request = request.unwrap();
        assert_eq!(request.arguments, [b"/entry"]);
        assert_eq!(request.working_directory, b"/srv");
        assert_eq!(request.user, "nobody");
        let environment: Vec<_> = request
            .environment
            .iter()
            .map(|v| (v.name.as_slice(), v.value.as_slice()))
            .collect();
        assert_eq!(environment, [(&b"A"[..], &b"1"[..]), (b"B", b"3")]);
    }
}
