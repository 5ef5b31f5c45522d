//! Commands and their results, as the API has them.

use std::{collections::BTreeMap, ffi::OsString, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mvm_contract::RunId;
use mvm_runtime::{Command, ExitStatus, ProcessExit, ProcessSummary, RecordRunError, RunAccount};
use serde::{Deserialize, Serialize};

use super::HttpError;

/// A command.
#[derive(Debug, Serialize)]
pub(super) struct CommandBody<'a> {
    argv: Vec<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    environment: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_directory: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    grace_ms: u64,
    stdin: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    terminal: Option<Size>,
    detached: bool,
    receipt: bool,
}

/// A terminal's size in character cells.
#[derive(Debug, Serialize)]
pub(super) struct Size {
    pub(super) columns: u32,
    pub(super) rows: u32,
}

impl<'a> CommandBody<'a> {
    /// What is asked of the server; what it cannot be asked for is refused.
    pub(super) fn of(command: &'a Command) -> Result<Self, HttpError> {
        let parts = command.parts();
        if parts.arguments.is_empty() {
            let what = "the image's own command";
            return Err(HttpError::Unsupported { what });
        }
        if parts.has_limits {
            let what = "a resource limit of a command";
            return Err(HttpError::Unsupported { what });
        }
        let text = |argument: &'a OsString| {
            argument.to_str().ok_or_else(|| HttpError::NotUtf8 {
                what: "argument",
                text: argument.to_string_lossy().into_owned(),
            })
        };
        let size = |(columns, rows)| Size { columns, rows };
        Ok(Self {
            argv: parts.arguments.iter().map(text).collect::<Result<_, _>>()?,
            environment: parts.environment,
            working_directory: parts.working_directory,
            user: parts.user,
            timeout_ms: parts.timeout.map(milliseconds),
            grace_ms: milliseconds(parts.grace),
            stdin: parts.standard_input,
            terminal: parts.terminal.map(size),
            detached: parts.detached,
            receipt: parts.receipt,
        })
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How a command ended.
#[derive(Debug, Deserialize)]
pub(super) struct ResultBody {
    exit_code: u8,
    signal: Option<u8>,
    timed_out: bool,
    duration_ms: f64,
    cpu_ms: f64,
    peak_memory_bytes: u64,
    audit_id: Option<String>,
    receipt: Option<String>,
}

impl ResultBody {
    pub(super) fn exit(&self) -> Result<ProcessExit, HttpError> {
        let duration = |milliseconds: f64| {
            Duration::try_from_secs_f64(milliseconds / 1000.0).map_err(|_| HttpError::Answer {
                expected: "a time that can be",
            })
        };
        Ok(ProcessExit {
            status: match self.signal {
                Some(signal) => ExitStatus::Signal(signal),
                None => ExitStatus::Code(self.exit_code),
            },
            timed_out: self.timed_out,
            duration: duration(self.duration_ms)?,
            cpu_time: duration(self.cpu_ms)?,
            peak_memory_bytes: self.peak_memory_bytes,
        })
    }

    /// What is kept of the run.
    pub(super) fn account(self, run_id: RunId) -> Result<RunAccount, HttpError> {
        let receipt = match self.receipt {
            None => None,
            Some(text) => Some(STANDARD.decode(text).map_err(|_| HttpError::Answer {
                expected: "a receipt as base64",
            })?),
        };
        Ok(RunAccount {
            run_id,
            audit_id: self
                .audit_id
                .ok_or_else(|| Arc::new(RecordRunError::Elsewhere)),
            receipt,
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ProcessPage {
    pub(super) items: Vec<ProcessBody>,
}

/// A process that is remembered.
#[derive(Debug, Deserialize)]
pub(super) struct ProcessBody {
    id: u64,
    pid: u32,
    arguments: Vec<String>,
    started_at_ms: u64,
    detached: bool,
    result: Option<ResultBody>,
}

impl TryFrom<ProcessBody> for ProcessSummary {
    type Error = HttpError;

    fn try_from(body: ProcessBody) -> Result<Self, HttpError> {
        Ok(Self {
            id: body.id,
            pid: body.pid,
            arguments: body.arguments,
            started_at_ms: body.started_at_ms,
            detached: body.detached,
            exit: body.result.map(|result| result.exit()).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_is_what_the_api_calls_one() {
        let command = Command::shell("echo $A")
            .env("A", "1")
            .timeout(Duration::from_millis(1500))
            .terminal(80, 24)
            .receipt();
        let body = serde_json::to_value(CommandBody::of(&command).unwrap()).unwrap();
        let expected = json!({
            "argv": ["/bin/sh", "-c", "echo $A"], "environment": {"A": "1"}, "timeout_ms": 1500,
            "grace_ms": 2000, "stdin": false, "terminal": {"columns": 80, "rows": 24},
            "detached": false, "receipt": true,
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn what_the_api_does_not_carry_is_refused() {
        use std::os::unix::ffi::OsStringExt as _;
        let none = Command::new(Vec::<OsString>::new());
        let limited = Command::new(["true"]).limit(7, 1, 1);
        let bytes = Command::new([OsString::from_vec(vec![0xff])]);
        for command in [none, limited, bytes] {
            assert!(CommandBody::of(&command).is_err(), "{command:?}");
        }
    }

    #[test]
    fn a_result_is_read_back() {
        let body = json!({
            "exit_code": 137, "signal": 9, "timed_out": false, "duration_ms": 1.5, "cpu_ms": 0.5,
            "peak_memory_bytes": 4096, "run_id": "x", "audit_id": null, "receipt": "AQI=",
        });
        let body: ResultBody = serde_json::from_value(body).unwrap();
        let exit = body.exit().unwrap();
        assert_eq!(
            (exit.status, exit.exit_code()),
            (ExitStatus::Signal(9), 137)
        );
        assert_eq!(exit.duration, Duration::from_micros(1500));
        let account = body.account(RunId::from_random(1)).unwrap();
        assert!(account.audit_id.is_err());
        assert_eq!(account.receipt.unwrap(), [1, 2]);
    }
}
