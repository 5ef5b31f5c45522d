//! What a start consists of, as `mvmctl run --trace` tells it.

use std::{process::Command, time::Instant};

use crate::{
    bench::{Bench, Outcome, run},
    report::{Phases, Series},
    samples::{Samples, milliseconds},
};

const TRACED: [&str; 4] = ["run", "--trace", "--", "true"];
/// The program's own start and end, and what `--trace` does not tell.
const REST: &str = "all else of the program";

pub(crate) async fn measure(bench: &mut Bench) -> Outcome<()> {
    bench.keep_spare(true).await?;
    let mut spare = Table::of("a start with a spare", "claim a spare");
    let mut fork = Table::of("a start by a fork", "check template");
    for _ in 0..bench.sizes.cold_starts {
        bench.rest()?;
        spare.run(bench.command(&TRACED));
        bench.rest()?;
        fork.run(bench.command_without_spare(&TRACED));
    }
    for table in [spare, fork] {
        if table.failures > 0 {
            let (of, failures) = (&table.phases.of, table.failures);
            bench
                .report
                .remark(format!("phases of {of}: {failures} runs failed"));
        }
        bench.report.phases.push(table.phases);
    }
    Ok(())
}

struct Table {
    phases: Phases,
    /// The phase that shows that the start was what it is taken for.
    mark: &'static str,
    failures: usize,
}

impl Table {
    fn of(name: &str, mark: &'static str) -> Self {
        Self {
            phases: Phases {
                of: name.to_owned(),
                phases: Vec::new(),
            },
            mark,
            failures: 0,
        }
    }

    fn run(&mut self, command: Command) {
        let begun = Instant::now();
        let written = run(command);
        let whole = milliseconds(begun.elapsed());
        let told = written.map(|written| parse(&written.stderr));
        match told {
            Ok(told) if told.iter().any(|(name, _)| name == self.mark) => {
                let accounted: f64 = told.iter().map(|(_, time)| time).sum();
                for (name, time) in told {
                    self.take(&name, time);
                }
                self.take(REST, whole - accounted);
            }
            Ok(_) => {
                eprintln!("failed: a start without the phase `{}`", self.mark);
                self.failures += 1;
            }
            Err(error) => {
                eprintln!("failed: {error}");
                self.failures += 1;
            }
        }
    }

    fn take(&mut self, name: &str, time: f64) {
        let phases = &mut self.phases.phases;
        let found = phases.iter_mut().find(|series| series.name == name);
        match found {
            Some(series) => series.samples.values.push(time),
            None => {
                let mut samples = Samples::default();
                samples.values.push(time);
                phases.push(Series {
                    name: name.to_owned(),
                    samples,
                });
            }
        }
    }
}

/// Lines `trace:     48.4 ms  start QEMU, load state`.
fn parse(text: &str) -> Vec<(String, f64)> {
    text.lines()
        .filter_map(|line| line.strip_prefix("trace:")?.split_once(" ms  "))
        .filter_map(|(time, name)| Some((name.to_owned(), time.trim().parse().ok()?)))
        .collect()
}
