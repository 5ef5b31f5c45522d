//! Pausing a sandbox, saving it to disk, and its return.

use std::time::Instant;

use crate::{
    bench::{Bench, Outcome},
    guests,
    samples::Samples,
};

pub(crate) async fn measure(bench: &mut Bench) -> Outcome<()> {
    bench.keep_spare(false).await?;
    let sandbox = guests::create(bench).await?;
    guests::hold_noise(&sandbox).await?;
    let [mut pause, mut resume, mut cool, mut wake, mut answer] =
        [(); 5].map(|()| Samples::default());
    for _ in 0..bench.sizes.snapshots {
        bench.rest()?;
        let begun = Instant::now();
        let paused = sandbox.pause().await;
        pause.take(begun, paused);
        let begun = Instant::now();
        let resumed = sandbox.resume().await;
        resume.take(begun, resumed);
        resume.count(guests::answer(&sandbox).await);

        bench.rest()?;
        let begun = Instant::now();
        let cooled = sandbox.cool().await;
        cool.take(begun, cooled);
        bench.rest()?;
        let begun = Instant::now();
        let woken = sandbox.resume().await;
        wake.take(begun, woken);
        let begun = Instant::now();
        let answered = guests::answer(&sandbox).await;
        answer.take(begun, answered);
    }
    guests::holds_noise(&sandbox).await?;
    sandbox.destroy().await?;
    let report = &mut bench.report;
    report.add("pause", pause);
    report.add("resume a paused one", resume);
    report.add("cold: save 10 MB of a process and all else", cool);
    report.add("resume a cold one", wake);
    report.add("resume a cold one: its first exec true", answer);
    Ok(())
}
