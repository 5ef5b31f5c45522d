//! `mvmctl`: the command line of mvm.
//!
//! Data goes to standard output, talk to standard error. The exit code is the command's own where
//! a command ran, and otherwise one of `mvm_contract::exit_status`.

mod arguments;
mod command;
mod failure;
mod output;
mod progress;
mod streams;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;
use mvm_contract::exit_status;

use arguments::Arguments;

fn main() -> ExitCode {
    // A supervisor must act before anything starts a thread.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == "supervise")
    {
        return mvm_runtime::supervise();
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let json = std::env::args_os()
                .take_while(|word| word != "--")
                .any(|word| word == "--json");
            return output::usage(&error, json);
        }
    };
    let json = arguments.json;
    let mut builder = match &arguments.command {
        // One client does not wait for what another one has it read.
        arguments::Verb::Serve(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::talk(format_args!("error: failed to start: {error}"));
            return ExitCode::from(exit_status::FAILED);
        }
    };
    let code = match runtime.block_on(command::dispatch(arguments)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output::failure(&failure, json);
            ExitCode::from(failure.exit_code())
        }
    };
    // A read of standard input that never returns must not hold the exit up.
    runtime.shutdown_background();
    code
}
