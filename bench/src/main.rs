//! Measurements, with peers in the same run: subject and peer take turns, so that a machine whose
//! speed drifts changes both. Raw samples go to a JSON file, and all times to a picture.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints a table"
)]

mod admission;
mod bench;
mod bench_home;
mod calls;
mod cold;
mod compile;
mod density;
mod exec;
mod guests;
mod phases;
mod plot;
mod processor;
mod python;
mod qemu_alone;
mod records;
mod report;
mod runsc;
mod samples;
mod snapshots;
mod starts;
mod states;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use mvm_runtime::{MVM_SPARES, MVM_TEMPLATES};

use crate::{
    bench::{Bench, Outcome, Sizes},
    bench_home::BenchHome,
    runsc::Runsc,
};

/// Measure mvm on this machine.
#[derive(Debug, Parser)]
struct Options {
    /// Measure only this; may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<Part>,
    /// Starts measured of each kind.
    #[arg(long, default_value_t = 30)]
    starts: usize,
    /// Cold starts, and starts by phases, measured of each kind.
    #[arg(long, default_value_t = 10)]
    cold_starts: usize,
    /// Rounds of 20 starts at once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Sandboxes alive at once.
    #[arg(long, default_value_t = 50)]
    forks: usize,
    /// Snapshots, restores and pauses measured of each kind.
    #[arg(long, default_value_t = 10)]
    snapshots: usize,
    /// Commands measured in a running sandbox.
    #[arg(long, default_value_t = 200)]
    commands: usize,
    /// A few of everything: to see that it works, not what comes out.
    #[arg(long)]
    quick: bool,
    /// Where the raw samples go.
    #[arg(long, default_value = "target/bench.json")]
    out: PathBuf,
    /// Where the picture goes.
    #[arg(long, default_value = "target/bench.svg")]
    plot: PathBuf,
    /// A state directory for this run, made from `MVM_HOME` and removed at the end.
    #[arg(long, default_value = "target/bench-home")]
    home: PathBuf,
    /// The `mvmctl` to measure.
    #[arg(long, default_value = "target/release/mvmctl")]
    mvmctl: PathBuf,
}

/// What is measured, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// `mvmctl run -- true` with a spare and by a fork, beside runsc.
    Starts,
    /// 20 starts at once, beside runsc.
    Together,
    /// Create and run from a client that already runs.
    Client,
    /// What starts consist of.
    Phases,
    /// Cold starts beside QEMU alone.
    Cold,
    /// Commands and files in a running sandbox.
    Exec,
    /// Admission, over short and long audit logs.
    Admission,
    /// Many forks alive at once.
    Density,
    /// Snapshots and what goes on from them.
    Snapshots,
    /// Pausing, and saving to disk.
    States,
    /// `list` and `create` beside many recorded sandboxes.
    Records,
    /// The compiler, beside a parser and a type checker.
    Compile,
    /// The first call of a function and further ones.
    Calls,
}

impl Options {
    fn sizes(&self) -> Sizes {
        let most = |number: usize, quick: usize| {
            if self.quick {
                number.min(quick)
            } else {
                number
            }
        };
        Sizes {
            starts: most(self.starts, 3),
            cold_starts: most(self.cold_starts, 2),
            rounds: most(self.rounds, 1),
            forks: most(self.forks, 5),
            snapshots: most(self.snapshots, 2),
            commands: most(self.commands, 20),
            records: most(1000, 100),
            audit_records: most(100_000, 1000),
        }
    }

    fn parts(&self) -> Vec<Part> {
        let all = Part::value_variants().iter().copied();
        all.filter(|part| self.only.is_empty() || self.only.contains(part))
            .collect()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    for variable in [MVM_SPARES, MVM_TEMPLATES] {
        if std::env::var_os(variable).is_some() {
            return Err(format!("unset `{variable}`: it changes what is measured").into());
        }
    }
    let mvmctl = options.mvmctl.canonicalize()?;
    for path in [&options.out, &options.plot] {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    }
    let home = BenchHome::fill(&options.home, &mvmctl)?;
    let mut bench = Bench::new(&mvmctl, home, options.sizes())?;
    let processors = std::thread::available_parallelism()?;
    bench.report.fact("processors", processors);

    let mut failed = false;
    let parts = options.parts();
    let beside_peer = [Part::Starts, Part::Together];
    let peer = if parts.iter().any(|part| beside_peer.contains(part)) {
        starts::peer(&mut bench)
    } else {
        None
    };
    for part in parts {
        eprintln!("measuring: {part:?}");
        if let Err(error) = measure(part, &mut bench, peer.as_ref()).await {
            failed = true;
            eprintln!("failed: {part:?}: {error}");
            bench
                .report
                .remark(format!("{part:?} ended early: {error}"));
        }
        // A run that is interrupted leaves what it has.
        bench.report.write(&options.out)?;
    }
    bench.remark_unrest();
    bench.report.write(&options.out)?;
    plot::draw(&bench.report, &options.plot)?;
    println!("{}", bench.report);
    let (out, plot) = (options.out.display(), options.plot.display());
    eprintln!("raw samples: {out}; picture: {plot}");
    Ok(ExitCode::from(u8::from(failed)))
}

async fn measure(part: Part, bench: &mut Bench, peer: Option<&Runsc>) -> Outcome<()> {
    match part {
        Part::Starts => starts::one(bench, peer).await,
        Part::Together => starts::together(bench, peer).await,
        Part::Client => starts::client(bench).await,
        Part::Phases => phases::measure(bench).await,
        Part::Cold => cold::measure(bench).await,
        Part::Exec => exec::measure(bench).await,
        Part::Admission => admission::measure(bench).await,
        Part::Density => density::measure(bench).await,
        Part::Snapshots => snapshots::measure(bench).await,
        Part::States => states::measure(bench).await,
        Part::Records => records::measure(bench).await,
        Part::Compile => compile::measure(bench),
        Part::Calls => calls::measure(bench).await,
    }
}
