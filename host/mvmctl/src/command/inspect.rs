//! `mvmctl list`, `inspect`, `ps` and `logs`.

use mvm_runtime::{ExitStatus, LogSource, ProcessSummary, SandboxRecord};

use super::Context;
use crate::{arguments::Logs, failure::Failure, output, table};

pub(super) fn list(context: &Context) -> Result<u8, Failure> {
    let mut records = Vec::new();
    for sandbox in context.runtime.list()? {
        match sandbox {
            Ok(record) => records.push(record),
            // Shown beside the others: one broken record hides no other sandbox.
            Err(unreadable) => output::failure(&unreadable.error.into(), context.json),
        }
    }
    if context.json {
        output::json(&records)?;
    } else {
        let rows = records.iter().map(row).collect::<Vec<_>>();
        table::print(
            ["ID", "NAME", "STATE", "IMAGE", "CPUS", "MEMORY", "AGE"],
            &rows,
        )?;
    }
    Ok(0)
}

fn row(record: &SandboxRecord) -> [String; 7] {
    [
        record.id.to_string(),
        record
            .spec
            .name
            .as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string),
        record.state.to_string(),
        record.spec.image.clone(),
        record.spec.resources.vcpus.to_string(),
        format!("{}M", record.spec.resources.memory_mib),
        table::age(record.created_at_ms),
    ]
}

pub(super) fn inspect(context: &Context, sandbox: &str) -> Result<u8, Failure> {
    output::json(context.runtime.connect(sandbox)?.record())?;
    Ok(0)
}

pub(super) async fn processes(context: &Context, sandbox: &str) -> Result<u8, Failure> {
    let processes = context.runtime.connect(sandbox)?.processes().await?;
    if context.json {
        output::json(&processes)?;
    } else {
        let rows = processes.iter().map(process_row).collect::<Vec<_>>();
        table::print(["PROCESS", "PID", "STATE", "COMMAND"], &rows)?;
    }
    Ok(0)
}

fn process_row(process: &ProcessSummary) -> [String; 4] {
    let state = match process.exit {
        None => "running".to_owned(),
        Some(exit) if exit.timed_out => "timed out".to_owned(),
        Some(exit) => match exit.status {
            ExitStatus::Code(code) => format!("exited {code}"),
            ExitStatus::Signal(signal) => format!("killed by {signal}"),
        },
    };
    // Guest text: no control sequence reaches the user's terminal.
    let command = output::printable(&process.arguments.join(" "));
    [
        process.id.to_string(),
        process.pid.to_string(),
        state,
        command,
    ]
}

pub(super) async fn logs(context: &Context, options: &Logs) -> Result<u8, Failure> {
    let sandbox = context.runtime.connect(&options.sandbox)?;
    let source = if options.machine {
        LogSource::Machine
    } else {
        LogSource::Guest
    };
    let failed = |error: std::io::Error| {
        Failure::host_io(
            format!("failed to read the log of `{}`", options.sandbox),
            &error,
        )
    };
    let mut log = sandbox.open_log(source).map_err(failed)?;
    if options.follow {
        while let Some(bytes) = log.follow().await.map_err(failed)? {
            output::bytes(bytes)?;
        }
        return Ok(0);
    }
    loop {
        let bytes = log.read().map_err(failed)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        output::bytes(bytes)?;
    }
}
