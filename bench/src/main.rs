//! Measurements, each beside a peer in the same run: the two take turns, so that a machine whose
//! speed drifts changes both. Raw samples go to a JSON file.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints a table"
)]

mod exec;
mod qemu_alone;
mod samples;
mod start;

use std::{error::Error, path::PathBuf};

use clap::Parser;

use crate::samples::Report;

/// Measure mvm on this machine.
#[derive(Debug, Parser)]
struct Options {
    /// Starts measured of each kind.
    #[arg(long, default_value_t = 15)]
    starts: usize,
    /// Commands measured in a running sandbox.
    #[arg(long, default_value_t = 200)]
    commands: usize,
    /// Where the raw samples go.
    #[arg(long, default_value = "target/bench.json")]
    out: PathBuf,
    /// The `mvmctl` to measure.
    #[arg(long, default_value = "target/release/mvmctl")]
    mvmctl: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mvmctl = options.mvmctl.canonicalize()?;
    let mut report = Report::new();
    start::measure(&mvmctl, options.starts, &mut report)?;
    exec::measure(&mvmctl, options.commands, &mut report).await?;
    println!("{report}");
    report.write(&options.out)?;
    eprintln!("raw samples: {}", options.out.display());
    Ok(())
}
