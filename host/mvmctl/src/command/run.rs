//! `mvmctl run`.

use std::{io::Read as _, path::Path};

use mvm_contract::SandboxSpec;
use mvm_runtime::{Command, CommandResult, Sandbox};

use super::{Context, command, create_sandbox, dry_run, receipt::keep, script};
use crate::{
    arguments::Run,
    failure::Failure,
    streams::{self, Joined},
};

/// Runs one command in a sandbox of its own. The sandbox is leased to this process: it goes when
/// the process does, whichever way.
pub(super) async fn run(context: Context, options: Run) -> Result<u8, Failure> {
    let Run {
        shape,
        mut manner,
        script,
        mode,
        recording,
        command: arguments,
    } = options;
    if let Some(script) = script {
        return script::run(context, &script, arguments, mode, recording.as_deref()).await;
    }
    if shape.dry_run && manner.receipt.is_some() {
        return Err(Failure::invalid(
            "there is no receipt of what does not run",
            "leave `--dry-run` or `--receipt` out",
        ));
    }
    if shape.dry_run {
        return dry_run(&context, &shape, |spec| spec);
    }
    // A plan speaks for the whole environment: its values are the sandbox's, not a command's.
    let planned = if shape.plan.is_some() {
        std::mem::take(&mut manner.env)
    } else {
        Vec::new()
    };
    let (command, joined) = command(&manner, arguments)?;
    let complete = |spec| SandboxSpec {
        environment: planned.into_iter().collect(),
        ..spec
    };
    let sandbox = create_sandbox(&context, &shape, complete).await?;
    let receipt = manner.receipt.as_deref();
    if shape.trace {
        return run_traced(&sandbox, &command, joined, receipt).await;
    }
    run_in(&context, &sandbox, &command, joined, receipt).await
}

/// Runs a command and tells how long its start and its end took.
async fn run_traced(
    sandbox: &Sandbox,
    command: &Command,
    joined: Joined,
    receipt: Option<&Path>,
) -> Result<u8, Failure> {
    let begun = std::time::Instant::now();
    let process = sandbox.start(command).await;
    let process = process.map_err(|error| Failure::of_start(&error))?;
    let started = begun.elapsed();
    let (exit, account) = streams::join(process, joined).await?;
    let ended = begun.elapsed() - started;
    for (name, duration) in [("first spawn", started), ("exit", ended)] {
        let milliseconds = duration.as_secs_f64() * 1000.0;
        crate::output::talk(format_args!("trace: {milliseconds:>8.1} ms  {name}"));
    }
    keep(receipt, account)?;
    Ok(exit.exit_code())
}

/// Runs a command and passes its end on.
pub(super) async fn run_in(
    context: &Context,
    sandbox: &Sandbox,
    command: &Command,
    joined: Joined,
    receipt: Option<&Path>,
) -> Result<u8, Failure> {
    if context.json {
        let result = collect(sandbox, command, joined).await?;
        streams::result_json(&result)?;
        let exit_code = result.exit_code();
        keep(receipt, result.run)?;
        return Ok(exit_code);
    }
    let process = sandbox
        .start(command)
        .await
        .map_err(|error| Failure::of_start(&error))?;
    let (exit, account) = streams::join(process, joined).await?;
    keep(receipt, account)?;
    Ok(exit.exit_code())
}

async fn collect(
    sandbox: &Sandbox,
    command: &Command,
    joined: Joined,
) -> Result<CommandResult, Failure> {
    let mut input = Vec::new();
    if joined.standard_input && !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        let read = std::io::stdin().lock().read_to_end(&mut input);
        read.map_err(|error| Failure::host_io("failed to read standard input", &error))?;
    }
    let result = sandbox.run_with_input(command, &input).await;
    result.map_err(|error| Failure::of_start(&error))
}
