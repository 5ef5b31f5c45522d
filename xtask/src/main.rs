//! Checks of this repository that Cargo and clippy do not make.
//!
//! `cargo xtask check` enforces the rules in [`check`]; `make check` runs it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]

mod check;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask check";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("check"), None) => check::run(),
        (Some("--help" | "help"), None) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
