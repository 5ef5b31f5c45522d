//! Everything that is printed: data to standard output, talk to standard error.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where printing happens"
)]

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use mvm_contract::exit_status;
use serde::Serialize;

use crate::failure::Failure;

/// Prints a line of talk.
pub(crate) fn talk(line: fmt::Arguments<'_>) {
    eprintln!("{line}");
}

/// Prints a line of data. A reader that is gone ends the program quietly, as it ends others.
pub(crate) fn data(line: impl fmt::Display) -> Result<(), Failure> {
    bytes(format!("{line}\n").as_bytes())
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => data(text),
        Err(error) => Err(Failure::host_io("failed to write JSON", &error.into())),
    }
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            std::process::exit(i32::from(exit_status::SIGNAL_BASE) + 13)
        }
        Err(error) => Err(Failure::host_io(
            "failed to write to standard output",
            &error,
        )),
    }
}

/// Renders a failure: `error:`, its causes, its way out; or one JSON object.
pub(crate) fn failure(failure: &Failure, as_json: bool) {
    if as_json {
        let object = serde_json::json!({
            "error": {
                "code": failure.code,
                "message": failure.causes.first(),
                "causes": failure.causes.get(1..).unwrap_or_default(),
                "hint": failure.hint,
                "retryable": failure.code.retryable(),
            }
        });
        return eprintln!("{object:#}");
    }
    let mut causes = failure.causes.iter();
    if let Some(first) = causes.next() {
        eprintln!("error: {first}");
    }
    for cause in causes {
        eprintln!("  because: {cause}");
    }
    if let Some(hint) = &failure.hint {
        eprintln!("hint: {hint}");
    }
}

/// Renders what the argument parser says: help is data, the rest is an error of ours.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(exit_status::FAILED)
    } else {
        ExitCode::SUCCESS
    }
}

/// Guest text without control characters, so that it cannot move the user's cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
