//! Commands and files in a running sandbox, and the program by itself.

use std::time::Instant;

use mvm::{Command, Sandbox};

use crate::{
    bench::{Bench, Outcome, run},
    python::PythonSdk,
    samples::Samples,
};

const EXEC: &str = "exec true, SDK";
const PYTHON: &str = "exec true, Python SDK over its private server";
const HELP: &str = "mvmctl --help";
const FILE_BYTES: usize = 64 << 20;
/// A whole program run for each costs more time than a measurement needs.
const PROGRAM_RUNS: usize = 30;

pub(crate) async fn measure(bench: &mut Bench) -> Outcome<()> {
    bench.keep_spare(false).await?;
    let builder = Sandbox::builder()
        .home(bench.home.path())
        .supervisor(&bench.mvmctl);
    let sandbox = builder.create().await?;
    let truth = Command::new(["true"]);
    bench.rest()?;
    let mut first = Samples::default();
    let begun = Instant::now();
    let ran = sandbox.run(&truth).await;
    first.take(begun, ran);
    let (mut samples, mut by_python) = <(Samples, Samples)>::default();
    let mut python = PythonSdk::start(bench, sandbox.id().as_str())?;
    if let Some(python) = &mut python {
        // Its first one starts its server.
        python.run_true()?;
    }
    for _ in 0..bench.sizes.commands {
        let begun = Instant::now();
        let ran = sandbox.run(&truth).await;
        samples.take(begun, ran);
        if let Some(python) = &mut python
            && let Some(milliseconds) = by_python.count(python.run_true())
        {
            by_python.values.push(milliseconds);
        }
    }
    drop(python);
    let (mut exec, mut help) = <(Samples, Samples)>::default();
    let id = sandbox.id().to_string();
    for _ in 0..PROGRAM_RUNS.min(bench.sizes.commands) {
        exec.time(|| run(bench.command(&["exec", &id, "--", "true"])));
        help.time(|| run(bench.command(&["--help"])));
    }
    let report = &mut bench.report;
    report.add("exec true, SDK: the first in a sandbox", first);
    report.add(EXEC, samples);
    report.limit_median(EXEC, 8.0);
    if !by_python.values.is_empty() {
        let over = by_python.median() - report.median(EXEC);
        report.add(PYTHON, by_python);
        report.figure(
            "what the Python SDK and its server add to a command",
            over,
            "ms",
        );
    }
    report.add("mvmctl exec ID -- true", exec);
    report.add(HELP, help);
    report.limit_median(HELP, 10.0);

    let content = vec![0x5a; FILE_BYTES];
    let rate = |begun: Instant| FILE_BYTES as f64 / 1e6 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    sandbox.write_file("/root/content", &content).await?;
    report.figure("write a file of 64 MiB", rate(begun), "MB/s");
    let begun = Instant::now();
    let back = sandbox.read_file("/root/content").await?;
    report.figure("read a file of 64 MiB", rate(begun), "MB/s");
    if back != content {
        return Err("the file came back changed".into());
    }
    sandbox.destroy().await?;
    Ok(())
}
