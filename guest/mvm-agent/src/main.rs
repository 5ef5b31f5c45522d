//! `/init` of the guest.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        // The one thing it can be is a guest's first process.
        return ExitCode::FAILURE;
    }
    mvm_agent::run::run()
}
