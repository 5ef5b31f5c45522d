//! Calls of a function: the first, which makes its image's template, and those that fork it; and the
//! same for a function whose workers are kept warm.

use std::{fs, path::Path};

use crate::{
    bench::{Bench, Outcome, run},
    samples::Samples,
};

/// A function whose module takes a while to load, as those of real programs do.
const APP: &str = r#"
import argparse, asyncio, dataclasses, decimal, email.message, http.client, json, logging, sqlite3, unittest
import mvm

mvm.workload(id="calls")

@mvm.app(name="cold", image="debian:python")
def double(n: int) -> int:
    return n * 2

@mvm.app(name="warm", image="debian:python", warm=mvm.warm_process(max_calls_per_worker=100, max_memory_mib=128))
def double_warm(n: int) -> int:
    return n * 2
"#;

pub(crate) async fn measure(bench: &mut Bench) -> Outcome<()> {
    bench.keep_spare(false).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("app.py");
    fs::write(&file, APP)?;
    for (app, kind) in [("cold", "a function"), ("warm", "a warm function")] {
        let (mut first, mut later) = <(Samples, Samples)>::default();
        call(bench, app, &file, &mut first)?;
        for _ in 0..bench.sizes.starts {
            call(bench, app, &file, &mut later)?;
        }
        let (first_name, later_name) = (
            format!("mvmctl invoke: {kind}, the first time (build, template)"),
            format!("mvmctl invoke: {kind}, afterwards"),
        );
        bench.report.add(&first_name, first);
        bench.report.add(&later_name, later);
        let ratio = bench.report.median(&later_name) / bench.report.median(&first_name);
        let figure = format!("{kind}: a later call over the first");
        bench.report.figure(&figure, ratio, "x");
    }
    Ok(())
}

fn call(bench: &mut Bench, app: &str, file: &Path, samples: &mut Samples) -> Outcome<()> {
    bench.rest()?;
    let file = file.display().to_string();
    let command = bench.command_without_spare(&["invoke", app, "[21]", "--from", &file]);
    samples.time(|| -> Outcome<()> {
        let written = run(command)?;
        if written.stdout == "42" {
            return Ok(());
        }
        Err(format!("`{}` is not 42", written.stdout).into())
    });
    Ok(())
}
