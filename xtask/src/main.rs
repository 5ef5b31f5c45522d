//! Checks of this repository that Cargo and clippy do not make.
//!
//! `cargo xtask check` enforces the rules in [`check`]; `make check` runs it. `cargo xtask matrix`
//! writes a page of the documentation from test results.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]

mod check;
mod matrix;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask (check | matrix [--check] RESULTS)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["check"] => check::run(),
        ["matrix", "--check", results] => matrix::run(results, true),
        ["matrix", results] => matrix::run(results, false),
        ["--help" | "help"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
