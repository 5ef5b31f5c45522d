//! Commands, their results, and the frames of their streams.

use std::{collections::BTreeMap, time::Duration};

use mvm_contract::RunId;
use mvm_runtime::{Command, DEFAULT_GRACE, ExitStatus, ProcessExit, ProcessSummary, RunAccount};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::base64;
use crate::problem::Problem;

/// A command. Exactly one of `argv` and `shell` is given.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CommandShape {
    /// The program and its arguments.
    pub(crate) argv: Option<Vec<String>>,
    /// A line for `/bin/sh`.
    pub(crate) shell: Option<String>,
    pub(crate) environment: Option<BTreeMap<String, String>>,
    pub(crate) working_directory: Option<String>,
    pub(crate) user: Option<String>,
    /// It is ended, with all it started, after so long; 0 is none.
    pub(crate) timeout_ms: Option<u64>,
    /// Between SIGTERM and SIGKILL at its timeout; 2000.
    pub(crate) grace_ms: Option<u64>,
    /// Standard input stays open for what is sent; otherwise it is empty.
    pub(crate) stdin: bool,
    /// It runs on a terminal of this size.
    pub(crate) terminal: Option<SizeShape>,
    /// It outlives the request.
    pub(crate) detached: bool,
    /// Ask for a signed receipt.
    pub(crate) receipt: bool,
}

/// A terminal's size in character cells.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SizeShape {
    pub(crate) columns: u16,
    pub(crate) rows: u16,
}

impl CommandShape {
    /// What is asked of the runtime.
    pub(crate) fn command(&self) -> Result<Command, Problem> {
        let mut command = match (&self.argv, &self.shell) {
            (Some(argv), None) if !argv.is_empty() => Command::new(argv),
            (None, Some(line)) => Command::shell(line),
            _ => {
                return Err(
                    Problem::invalid("exactly one of `argv` and `shell` is to be given")
                        .hint("give `argv` with the program first, or `shell` with a line"),
                );
            }
        };
        if self.receipt && self.detached {
            return Err(Problem::invalid(
                "a receipt is of a run that is seen from its beginning to its end",
            )
            .hint("leave out `receipt` or `detached`"));
        }
        for (name, value) in self.environment.iter().flatten() {
            command = command.env(name, value);
        }
        if let Some(path) = &self.working_directory {
            command = command.working_directory(path);
        }
        if let Some(user) = &self.user {
            command = command.user(user);
        }
        if let Some(SizeShape { columns, rows }) = self.terminal {
            command = command.terminal(columns, rows);
        }
        if self.detached {
            command = command.detached();
        }
        if self.receipt {
            command = command.receipt();
        }
        let timeout = self.timeout_ms.filter(|timeout| *timeout > 0);
        let grace = self.grace_ms.map_or(DEFAULT_GRACE, Duration::from_millis);
        Ok(command
            .standard_input(self.stdin)
            .timeout(timeout.map(Duration::from_millis))
            .grace(grace))
    }
}

/// A command to run to its end.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExecRequest {
    pub(crate) argv: Option<Vec<String>>,
    pub(crate) shell: Option<String>,
    pub(crate) environment: Option<BTreeMap<String, String>>,
    pub(crate) working_directory: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) grace_ms: Option<u64>,
    pub(crate) receipt: bool,
    /// What its standard input holds, base64; empty without it.
    pub(crate) stdin_base64: Option<String>,
    /// What is kept of each output stream; 16 MiB.
    pub(crate) output_limit_bytes: Option<u64>,
}

impl ExecRequest {
    pub(crate) fn command(&self) -> Result<Command, Problem> {
        let shape = CommandShape {
            argv: self.argv.clone(),
            shell: self.shell.clone(),
            environment: self.environment.clone(),
            working_directory: self.working_directory.clone(),
            user: self.user.clone(),
            timeout_ms: self.timeout_ms,
            grace_ms: self.grace_ms,
            receipt: self.receipt,
            ..CommandShape::default()
        };
        shape.command()
    }
}

/// How a command ended.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ResultShape {
    /// Its own code; 124 for a timeout, 128 + N for signal N.
    exit_code: u8,
    /// The signal that ended it.
    signal: Option<u8>,
    timed_out: bool,
    duration_ms: f64,
    cpu_ms: f64,
    peak_memory_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    /// Where the audit log tells of it.
    audit_id: Option<String>,
    /// The signed receipt, base64.
    receipt: Option<String>,
}

impl ResultShape {
    /// The end of a command that did not run: it succeeded at once.
    pub(crate) fn rehearsed(run: &RunId) -> Self {
        Self {
            exit_code: 0,
            signal: None,
            timed_out: false,
            duration_ms: 0.0,
            cpu_ms: 0.0,
            peak_memory_bytes: 0,
            run_id: Some(run.to_string()),
            audit_id: None,
            receipt: None,
        }
    }

    pub(crate) fn new(exit: &ProcessExit, account: Option<&RunAccount>) -> Self {
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
        Self {
            exit_code: exit.exit_code(),
            signal: match exit.status {
                ExitStatus::Signal(signal) => Some(signal),
                ExitStatus::Code(_) => None,
            },
            timed_out: exit.timed_out,
            duration_ms: milliseconds(exit.duration),
            cpu_ms: milliseconds(exit.cpu_time),
            peak_memory_bytes: exit.peak_memory_bytes,
            run_id: account.map(|account| account.run_id.to_string()),
            audit_id: account.and_then(|account| account.audit_id.as_ref().ok().cloned()),
            receipt: account.and_then(|account| account.receipt.as_deref().map(base64)),
        }
    }
}

/// A command that was run to its end, with what it wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExecResult {
    #[serde(flatten)]
    pub(crate) result: ResultShape,
    pub(crate) stdout_base64: String,
    pub(crate) stderr_base64: String,
    /// Whether either was cut off.
    pub(crate) truncated: bool,
}

/// A process that is remembered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProcessShape {
    id: u64,
    pid: u32,
    arguments: Vec<String>,
    started_at_ms: u64,
    detached: bool,
    /// Nothing while it runs.
    result: Option<ResultShape>,
}

impl From<ProcessSummary> for ProcessShape {
    fn from(process: ProcessSummary) -> Self {
        Self {
            id: process.id,
            pid: process.pid,
            arguments: process.arguments,
            started_at_ms: process.started_at_ms,
            detached: process.detached,
            result: process.exit.map(|exit| ResultShape::new(&exit, None)),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProcessList {
    pub(crate) items: Vec<ProcessShape>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OutputQuery {
    /// From which byte of standard output on; 0.
    #[serde(default)]
    pub(crate) stdout_offset: u64,
    /// From which byte of standard error on; 0.
    #[serde(default)]
    pub(crate) stderr_offset: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StdinQuery {
    /// End standard input after these bytes.
    #[serde(default)]
    pub(crate) close: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignalRequest {
    /// 1 to 64.
    pub(crate) signal: u8,
    /// To its whole group; true.
    #[serde(default = "yes")]
    pub(crate) group: bool,
}

const fn yes() -> bool {
    true
}
