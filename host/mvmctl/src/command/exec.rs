//! `mvmctl exec` and `mvmctl shell`.

use mvm_runtime::Command;

use super::{Context, command, receipt::keep, run::run_in};
use crate::{
    arguments::{Exec, Kill, Shell},
    failure::Failure,
    output,
    streams::{self, Joined},
    terminal,
};

/// The user's login shell would be bash where the image has it.
const LOGIN_SHELL: &str = "if command -v bash >/dev/null; then exec bash -l; else exec sh -l; fi";

pub(super) async fn exec(context: &Context, options: Exec) -> Result<u8, Failure> {
    let sandbox = context.runtime.connect(&options.sandbox)?;
    if let (Some(_), true) = (
        &options.manner.receipt,
        options.detach || options.attach.is_some(),
    ) {
        return Err(Failure::invalid(
            "a receipt is of a run that is seen from its beginning to its end",
            "leave `--receipt` out, or `--detach` and `--attach`",
        ));
    }
    if let Some(process_id) = options.attach {
        let joined = Joined {
            standard_input: !options.manner.no_stdin,
            terminal: false,
        };
        let process = sandbox
            .attach(process_id, 0, 0, joined.standard_input)
            .await?;
        let (exit, account) = streams::join(process, joined).await?;
        keep(None, account)?;
        return Ok(exit.exit_code());
    }
    if options.command.is_empty() {
        return Err(Failure::invalid(
            "no command is given",
            format!(
                "give it after `--`: `mvmctl exec {} -- COMMAND`",
                options.sandbox
            ),
        ));
    }
    let (command, joined) = command(&options.manner, options.command)?;
    if !options.detach {
        let receipt = options.manner.receipt.as_deref();
        return run_in(context, &sandbox, &command, joined, receipt).await;
    }
    let command = command.standard_input(false).detached();
    let process = sandbox
        .start(&command)
        .await
        .map_err(|error| Failure::of_start(&error))?;
    if context.json {
        let started = serde_json::json!({
            "id": process.id(),
            "pid": process.guest_pid(),
            "run_id": process.run_id(),
        });
        output::json(&started)?;
    } else {
        output::data(process.id())?;
    }
    Ok(0)
}

pub(super) async fn kill(context: &Context, options: &Kill) -> Result<u8, Failure> {
    let sandbox = context.runtime.connect(&options.sandbox)?;
    let group = !options.alone;
    sandbox
        .signal(options.process, options.signal, group)
        .await?;
    Ok(0)
}

pub(super) async fn shell(context: &Context, options: Shell) -> Result<u8, Failure> {
    let sandbox = context.runtime.connect(&options.sandbox)?;
    let mut command = Command::shell(LOGIN_SHELL).standard_input(true);
    if let Some(user) = options.user {
        command = command.user(user);
    }
    if let Some(path) = options.workdir {
        command = command.working_directory(path);
    }
    let interactive = terminal::is_interactive();
    if interactive {
        let (columns, rows) = terminal::size();
        command = command.terminal(columns, rows);
    }
    let process = sandbox
        .start(&command)
        .await
        .map_err(|error| Failure::of_start(&error))?;
    let joined = Joined {
        standard_input: true,
        terminal: interactive,
    };
    let (exit, account) = streams::join(process, joined).await?;
    keep(None, account)?;
    Ok(exit.exit_code())
}
