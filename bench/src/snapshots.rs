//! Snapshots of a sandbox in which a process changed 10 MB: what they cost, and what it costs to go
//! on from them, by the pages that differ from the template and by all memory, in turn.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Instant};

use mvm_image::Silent;
use mvm_runtime::{RestoreOptions, Sandbox, SnapshotOptions};

use crate::{
    bench::{Bench, Outcome},
    guests,
    samples::Samples,
};

const CREATE: &str = "SDK: create by a fork of the template";

/// One way to save memory, and what was measured of it.
struct Method {
    name: &'static str,
    stream: bool,
    pause: Samples,
    whole: Samples,
    size: Samples,
    restore: Samples,
    answer: Samples,
}

impl Method {
    fn new(name: &'static str, stream: bool) -> Self {
        Self {
            name,
            stream,
            pause: Samples::default(),
            whole: Samples::default(),
            size: Samples::of("MB"),
            restore: Samples::default(),
            answer: Samples::default(),
        }
    }

    /// Saves a sandbox, and makes one that goes on from that.
    async fn go_round(&mut self, bench: &mut Bench, sandbox: &Sandbox) -> Outcome<()> {
        bench.rest()?;
        let options = SnapshotOptions {
            name: None,
            stream: self.stream,
        };
        let begun = Instant::now();
        let saved = sandbox.snapshot(&options).await;
        let Some(record) = self.whole.take(begun, saved) else {
            return Ok(());
        };
        self.pause.values.push(record.pause_ms);
        let folder = bench.runtime.home().snapshot(&record.id);
        self.size.values.push(bytes_on_disk(&folder)? as f64 / 1e6);

        bench.rest()?;
        let (id, options) = (record.id.as_str(), RestoreOptions::default());
        let begun = Instant::now();
        let restored = bench.runtime.restore(id, &options, &Silent).await;
        if let Some(restored) = self.restore.take(begun, restored) {
            let answered = guests::answer(&restored).await;
            self.answer.take(begun, answered);
            self.answer.count(guests::holds_noise(&restored).await);
            restored.destroy().await?;
        }
        bench.runtime.remove_snapshot(id)?;
        Ok(())
    }
}

pub(crate) async fn measure(bench: &mut Bench) -> Outcome<()> {
    bench.keep_spare(false).await?;
    let parent = guests::create(bench).await?;
    guests::hold_noise(&parent).await?;
    let mut methods = [Method::new("delta", false), Method::new("stream", true)];
    let (mut create, mut answer) = <(Samples, Samples)>::default();
    for _ in 0..bench.sizes.snapshots {
        for method in &mut methods {
            method.go_round(bench, &parent).await?;
        }
        bench.rest()?;
        let begun = Instant::now();
        let created = guests::create(bench).await;
        if let Some(created) = create.take(begun, created) {
            let answered = guests::answer(&created).await;
            answer.take(begun, answered);
            created.destroy().await?;
        }
    }
    guests::holds_noise(&parent).await?;
    parent.destroy().await?;

    let report = &mut bench.report;
    report.add(CREATE, create);
    report.add(&format!("{CREATE}, to the end of true"), answer);
    for method in methods {
        let of = |what: &str| format!("snapshot by {}: {what}", method.name);
        report.add(&of("the guest stands still"), method.pause);
        report.add(&of("from the call to its end"), method.whole);
        report.add(&of("restore, SDK"), method.restore);
        report.add(&of("restore, to the end of true"), method.answer);
        report.add(&of("size on disk"), method.size);
        if !method.stream {
            report.limit_median(&of("the guest stands still"), 60.0);
            report.limit_median(&of("size on disk"), 15.0);
            let name = "restore of a delta over a fork of the template";
            report.compare(name, &of("restore, SDK"), CREATE, 1.3);
        }
    }
    Ok(())
}

/// What the files of a folder take, holes left out.
fn bytes_on_disk(folder: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        // `st_blocks` counts 512 bytes, whatever the file system's blocks are.
        bytes += entry?.metadata()?.blocks() * 512;
    }
    Ok(bytes)
}
