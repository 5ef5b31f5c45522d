//! Hooks, run in a sandbox one after the other.

use std::{collections::BTreeMap, time::Duration};

use mvm_contract::{
    Coded, ErrorCode,
    workload::{App, EnvironmentValue, Hook, SOURCE_DIRECTORY},
};
use mvm_runtime::{ClientError, Command, Sandbox};

/// What is kept of what a failed hook wrote last, in bytes.
const TAIL_BYTES: usize = 2048;

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It could not be run.
    #[error("hook {index} of `{list}` could not be run")]
    Start {
        /// The list it stands in.
        list: &'static str,
        /// Its place there, from 1.
        index: usize,
        /// Why.
        #[source]
        source: Box<ClientError>,
    },
    /// It ended with another code than 0.
    #[error("hook {index} of `{list}` ended with {exit_code}, having written `{tail}`")]
    Failed {
        /// The list it stands in.
        list: &'static str,
        /// Its place there, from 1.
        index: usize,
        /// Its exit code.
        exit_code: u8,
        /// The end of what it wrote.
        tail: String,
    },
    /// It took too long.
    #[error("hook {index} of `{list}` took longer than its {seconds} s")]
    TimedOut {
        /// The list it stands in.
        list: &'static str,
        /// Its place there, from 1.
        index: usize,
        /// Its limit.
        seconds: u64,
    },
}

impl Coded for HookError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Start { source, .. } => source.code(),
            Self::Failed { .. } => ErrorCode::CommandFailed,
            Self::TimedOut { .. } => ErrorCode::Timeout,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Start { source, .. } => source.hint(),
            Self::Failed { .. } => None,
            Self::TimedOut { .. } => Some("give it a longer `timeout_seconds`".to_owned()),
        }
    }
}

/// Runs the hooks of a list in their order; the first that fails is the last.
pub(crate) async fn run(
    sandbox: &Sandbox,
    app: &App,
    list: &'static str,
    hooks: &[Hook],
) -> Result<(), HookError> {
    for (place, hook) in hooks.iter().enumerate() {
        let index = place + 1;
        let mut command =
            Command::new(hook.run.arguments()).timeout(Duration::from_secs(hook.timeout_seconds));
        if let Some(directory) = directory(app, hook.working_directory.as_deref()) {
            command = command.working_directory(directory);
        }
        for (name, value) in literals(&hook.environment) {
            command = command.env(name, value);
        }
        let ran = sandbox
            .run(&command)
            .await
            .map_err(|source| HookError::Start {
                list,
                index,
                source: Box::new(source),
            })?;
        if ran.exit.timed_out {
            let seconds = hook.timeout_seconds;
            return Err(HookError::TimedOut {
                list,
                index,
                seconds,
            });
        }
        if !ran.success() {
            let written = if ran.stderr.is_empty() {
                &ran.stdout
            } else {
                &ran.stderr
            };
            return Err(HookError::Failed {
                list,
                index,
                exit_code: ran.exit_code(),
                tail: tail(written),
            });
        }
    }
    Ok(())
}

/// Where something of an app starts that may not say it.
pub(crate) fn directory<'a>(app: &App, own: Option<&'a str>) -> Option<&'a str> {
    own.or_else(|| app.source.is_some().then_some(SOURCE_DIRECTORY))
}

/// The variables with their values; those that are secrets were refused before.
pub(crate) fn literals(
    environment: &BTreeMap<String, EnvironmentValue>,
) -> impl Iterator<Item = (String, String)> {
    environment.iter().filter_map(|(name, value)| match value {
        EnvironmentValue::Literal { value } => Some((name.clone(), value.clone())),
        EnvironmentValue::Secret { .. } => None,
    })
}

/// The end of what was written, as one line that moves no cursor.
pub(crate) fn tail(written: &[u8]) -> String {
    let start = written.len().saturating_sub(TAIL_BYTES);
    let text = String::from_utf8_lossy(&written[start..]);
    let printable = |c: char| {
        if c == '\n' {
            ' '
        } else if c.is_control() {
            '?'
        } else {
            c
        }
    };
    text.trim().chars().map(printable).collect()
}
