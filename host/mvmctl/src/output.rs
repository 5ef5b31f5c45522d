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

use clap::error::{ContextKind, ContextValue};
use mvm_contract::exit_status;
use serde::Serialize;

use crate::failure::Failure;

/// Prints a line of talk.
pub(crate) fn talk(line: fmt::Arguments<'_>) {
    eprintln!("{line}");
}

/// Passes on what a guest wrote, as talk.
pub(crate) fn talk_bytes(bytes: &[u8]) {
    // Whoever closed standard error does not listen.
    let _ = io::stderr().lock().write_all(bytes);
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

/// Renders what the argument parser says: help is data; the rest is a failure like any other.
pub(crate) fn usage(error: &clap::Error, as_json: bool) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let mut said = text.trim_start_matches("error: ").split("\n\n");
    let message = said
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let tip = said.find_map(|part| part.trim().strip_prefix("tip: "));
    let see = format!("`{} --help` tells what there is", command_of(error));
    let hint = tip.map_or_else(|| see.clone(), |tip| format!("{}; {see}", tip.trim()));
    let refused = Failure::invalid(message, hint);
    failure(&refused, as_json);
    ExitCode::from(refused.exit_code())
}

/// The command whose arguments were wrong, such as `mvmctl run`.
fn command_of(error: &clap::Error) -> String {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    let words = usage.trim_start_matches("Usage:").split_whitespace();
    let command = words.take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
    let command = command.collect::<Vec<_>>().join(" ");
    if command.is_empty() {
        "mvmctl".to_owned()
    } else {
        command
    }
}

/// Guest text without control characters but the ends of its lines.
pub(crate) fn printable_lines(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { '?' } else { c })
        .collect()
}

/// Guest text without control characters, so that it cannot move the user's cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
