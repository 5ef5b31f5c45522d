//! What happens at the turns of an app's life.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EnvironmentValue;

/// What runs at the turns of an app's life, each list in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// On the image, before it is sealed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before_build: Vec<Hook>,
    /// In the microVM, before the first entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before_start: Vec<Hook>,
    /// In the microVM, when the entrypoint runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_start: Vec<Hook>,
    /// In the microVM, before it is stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before_stop: Vec<Hook>,
}

impl Hooks {
    /// Whether nothing runs.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.before_build.is_empty()
            && self.before_start.is_empty()
            && self.after_start.is_empty()
            && self.before_stop.is_empty()
    }

    /// Each list with its name in the document.
    #[must_use]
    pub fn lists(&self) -> [(&'static str, &[Hook]); 4] {
        [
            ("before_build", self.before_build.as_slice()),
            ("before_start", self.before_start.as_slice()),
            ("after_start", self.after_start.as_slice()),
            ("before_stop", self.before_stop.as_slice()),
        ]
    }
}

/// One command of a hook. One that fails ends what it is part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// What runs.
    pub run: HookCommand,
    /// Where it starts, as for an entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Environment, over the app's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, EnvironmentValue>,
    /// It is ended, and has failed, after so many seconds.
    #[serde(
        default = "default_hook_seconds",
        skip_serializing_if = "is_default_hook_seconds"
    )]
    pub timeout_seconds: u64,
}

impl Hook {
    /// How long a hook may take that does not say, in seconds.
    pub const DEFAULT_SECONDS: u64 = 60;

    /// The hook of a command, with nothing said besides.
    #[must_use]
    pub const fn of(run: HookCommand) -> Self {
        Self {
            run,
            working_directory: None,
            environment: BTreeMap::new(),
            timeout_seconds: Self::DEFAULT_SECONDS,
        }
    }
}

const fn default_hook_seconds() -> u64 {
    Hook::DEFAULT_SECONDS
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_default_hook_seconds(seconds: &u64) -> bool {
    *seconds == Hook::DEFAULT_SECONDS
}

/// What a hook runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum HookCommand {
    /// A line for `/bin/sh -c`.
    Shell {
        /// The line.
        line: String,
    },
    /// A program with its arguments.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
    },
}

impl HookCommand {
    /// The program and its arguments.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        match self {
            Self::Shell { line } => ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
            Self::Command { command } => command.clone(),
        }
    }
}

/// How an app's health is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// The program and its arguments; exit 0 is healthy.
    pub command: Vec<String>,
    /// Seconds from one check to the next.
    #[serde(default = "default_interval")]
    pub interval_seconds: u64,
    /// A check that takes longer has failed, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u64,
    /// So many failures in a row are unhealthy.
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// Failures in the first so many seconds do not count.
    #[serde(default)]
    pub start_period_seconds: u64,
}

const fn default_interval() -> u64 {
    30
}

const fn default_timeout() -> u64 {
    5
}

const fn default_retries() -> u32 {
    3
}

impl HealthCheck {
    /// The check of a command, with the default times.
    #[must_use]
    pub const fn of(command: Vec<String>) -> Self {
        Self {
            command,
            interval_seconds: default_interval(),
            timeout_seconds: default_timeout(),
            retries: default_retries(),
            start_period_seconds: 0,
        }
    }
}

/// What happens when an app's command ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// The app has ended.
    #[default]
    Never,
    /// It is started again if it failed, or is unhealthy.
    OnFailure,
    /// It is started again.
    Always,
}

impl Restart {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks for a reference"
    )]
    pub(super) const fn is_never(&self) -> bool {
        matches!(self, Self::Never)
    }
}
