//! Commands and files in a running sandbox.

use std::{error::Error, path::Path, time::Instant};

use mvm::{Command, Sandbox};

use crate::{
    samples::{Report, Samples},
    start::run,
};

const FILE_BYTES: usize = 64 << 20;
/// A whole program run for each costs more time than a measurement needs.
const PROGRAM_RUNS: usize = 30;

pub(crate) async fn measure(
    mvmctl: &Path,
    commands: usize,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::builder().supervisor(mvmctl).create().await?;
    let truth = Command::new(["true"]);
    let begun = Instant::now();
    let first = sandbox.run(&truth).await;
    let mut samples = Samples::default();
    samples.take(begun, first);
    report.add("exec true: the first in a sandbox (SDK)", samples);

    let mut samples = Samples::default();
    for _ in 0..commands {
        let begun = Instant::now();
        let ended = sandbox.run(&truth).await;
        samples.take(begun, ended);
    }
    report.add("exec true: p50 at most 8 (SDK)", samples);

    let mut samples = Samples::default();
    let id = sandbox.id().to_string();
    for _ in 0..PROGRAM_RUNS {
        samples.time(|| run(mvmctl, &["exec", &id, "--", "true"]));
    }
    report.add("exec true: mvmctl exec, whole program", samples);

    let content = vec![0x5a; FILE_BYTES];
    let begun = Instant::now();
    sandbox.write_file("/root/content", &content).await?;
    report.add_rate("write a file of 64 MiB", FILE_BYTES, begun.elapsed());
    let begun = Instant::now();
    let back = sandbox.read_file("/root/content").await?;
    report.add_rate("read a file of 64 MiB", FILE_BYTES, begun.elapsed());
    if back != content {
        return Err("the file came back changed".into());
    }
    sandbox.destroy().await?;
    Ok(())
}
