//! Time to interactive: from nothing to the end of the first command, one at a time and twenty at
//! once, beside `runsc`; and from a client that already runs.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use mvm_runtime::StartOrigin;

use crate::{
    bench::{Bench, Outcome, run},
    runsc::Runsc,
    samples::Samples,
};

const RUN: [&str; 3] = ["run", "--", "true"];
const SPARE: &str = "mvmctl run -- true: with a spare";
const FORK: &str = "mvmctl run -- true: by a fork";
const PEER: &str = "peer: runsc do true";
const TOGETHER: &str = "20 at once: mvmctl run -- true, one spare";
const TOGETHER_FROM_POOL: &str = "20 at once: mvmctl run -- true, a pool of 20";
const PEERS_TOGETHER: &str = "20 at once: peer: runsc do true";
const CLIENT: &str = "SDK: create, run true, with a spare";
const AT_ONCE: usize = 20;

/// The peer; without it, the report says why and lacks the ratios.
pub(crate) fn peer(bench: &mut Bench) -> Option<Runsc> {
    match Runsc::find() {
        Ok(runsc) => {
            bench.report.fact("peer", &runsc.version);
            Some(runsc)
        }
        Err(error) => {
            bench.report.remark(error.to_string());
            None
        }
    }
}

/// One at a time: with a spare, by a fork, the peer, in turn.
pub(crate) async fn one(bench: &mut Bench, peer: Option<&Runsc>) -> Outcome<()> {
    bench.keep_spare(true).await?;
    let (mut spare, mut fork, mut runsc) = <(Samples, Samples, Samples)>::default();
    for _ in 0..bench.sizes.starts {
        bench.rest()?;
        spare.time(|| run(bench.command(&RUN)));
        bench.rest()?;
        fork.time(|| run(bench.command_without_spare(&RUN)));
        if let Some(peer) = peer {
            bench.rest()?;
            runsc.time(|| run(peer.command()));
        }
    }
    let report = &mut bench.report;
    report.add(SPARE, spare);
    report.add(FORK, fork);
    if peer.is_some() {
        report.add(PEER, runsc);
        report.compare("start with a spare over runsc", SPARE, PEER, 0.25);
        report.compare("start by a fork over runsc", FORK, PEER, 1.2);
    }
    Ok(())
}

/// Twenty at once, from the first start to the last exit, in turn.
pub(crate) async fn together(bench: &mut Bench, peer: Option<&Runsc>) -> Outcome<()> {
    let (mut ours, mut pooled, mut theirs) = <(Samples, Samples, Samples)>::default();
    let mut failed = [0, 0, 0];
    for _ in 0..bench.sizes.rounds {
        bench.keep_spares(1).await?;
        bench.rest()?;
        ours.time(|| all_at_once(|| bench.command(&RUN), &mut failed[0]));
        if let Some(peer) = peer {
            bench.rest()?;
            theirs.time(|| all_at_once(|| peer.command(), &mut failed[1]));
        }
        bench.keep_spares(AT_ONCE as u32).await?;
        bench.rest()?;
        pooled.time(|| all_at_once(|| bench.command(&RUN), &mut failed[2]));
        // What replaces them is not waited for.
        bench.keep_spares(0).await?;
    }
    let names = [TOGETHER, PEERS_TOGETHER, TOGETHER_FROM_POOL];
    for (name, failed) in names.into_iter().zip(failed) {
        if failed > 0 {
            let all = bench.sizes.rounds * AT_ONCE;
            let remark =
                format!("{name}: {failed} of {all} starts failed; a round with one has no time");
            bench.report.remark(remark);
        }
    }
    let report = &mut bench.report;
    report.add(TOGETHER, ours);
    report.add(TOGETHER_FROM_POOL, pooled);
    if peer.is_some() {
        report.add(PEERS_TOGETHER, theirs);
        report.compare(
            "20 starts at once over runsc, one spare",
            TOGETHER,
            PEERS_TOGETHER,
            1.5,
        );
        report.compare(
            "20 starts at once over runsc, a pool of 20",
            TOGETHER_FROM_POOL,
            PEERS_TOGETHER,
            1.5,
        );
    }
    Ok(())
}

/// Starts many, waits for all; a round in which one fails is a failure, and each is counted.
fn all_at_once(command: impl Fn() -> Command, failures: &mut usize) -> Outcome<()> {
    let mut running = Vec::new();
    for _ in 0..AT_ONCE {
        let mut command = command();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        running.push(command.spawn()?);
    }
    let mut failed = 0;
    for mut child in running {
        failed += usize::from(!child.wait()?.success());
    }
    *failures += failed;
    if failed > 0 {
        return Err(format!("{failed} of {AT_ONCE} failed").into());
    }
    Ok(())
}

/// From a client that already runs: from the call to the end of the first command.
pub(crate) async fn client(bench: &mut Bench) -> Outcome<()> {
    bench.keep_spare(true).await?;
    let truth = mvm::Command::new(["true"]);
    let mut samples = Samples::default();
    for _ in 0..bench.sizes.starts {
        bench.rest()?;
        let builder = mvm::Sandbox::builder()
            .home(bench.home.path())
            .supervisor(&bench.mvmctl);
        let begun = Instant::now();
        let ran = async {
            let sandbox = builder.create().await?;
            let result = sandbox.run(&truth).await?;
            Ok::<_, mvm::Error>((sandbox, result))
        }
        .await;
        let ended = begun.elapsed();
        let Some((sandbox, result)) = samples.count(ran) else {
            continue;
        };
        let origin = &sandbox.record().origin;
        if !result.success() || *origin != StartOrigin::Spare {
            samples.count(Err::<(), _>(format!("from {origin:?}: {result:?}")));
        } else {
            samples.push(ended);
        }
        sandbox.destroy().await?;
    }
    bench.report.add(CLIENT, samples);
    bench.report.limit_median(CLIENT, 25.0);
    Ok(())
}
