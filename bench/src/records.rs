//! What many recorded sandboxes cost whoever lists them or makes another.
//!
//! One sandbox is created and stopped, and its folder copied under new identifiers. Two directories,
//! of few and of many, take turns as `sandboxes/`: neither rename touches what is in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mvm::SandboxId;

use crate::{
    bench::{Bench, Outcome, run},
    samples::Samples,
};

const FEW: usize = 10;
/// Listing takes a few milliseconds, changing places a few seconds.
const LISTS: usize = 5;
const RECORD: &str = "sandbox.json";
const LOCK: &str = "lock";

/// A number of records, and what was measured with them.
struct Crowd {
    count: usize,
    folder: PathBuf,
    list: Samples,
    create: Samples,
}

pub(crate) async fn measure(bench: &mut Bench) -> Outcome<()> {
    bench.keep_spare(true).await?;
    bench.rest()?;
    let id = run(bench.command_without_spare(&["create"]))?.stdout;
    run(bench.command(&["stop", &id]))?;
    // What is listed must have ended, and been recorded.
    let state: serde_json::Value =
        serde_json::from_str(&run(bench.command(&["inspect", &id]))?.stdout)?;
    if state["state"] != "stopped" {
        return Err(format!("the sandbox to copy is {}", state["state"]).into());
    }
    let sandboxes = bench.runtime.home().sandboxes();
    let pattern = sandboxes.join(&id);
    let mut crowds = Vec::new();
    for count in [FEW, bench.sizes.records] {
        let folder = bench.home.path().join(format!("sandboxes-{count}"));
        fs::create_dir(&folder)?;
        for number in 0..count {
            copy(&pattern, &folder, number)?;
        }
        crowds.push(Crowd {
            count,
            folder,
            list: Samples::default(),
            create: Samples::default(),
        });
    }
    run(bench.command(&["destroy", &id]))?;

    for _ in 0..bench.sizes.starts.div_ceil(2) {
        for crowd in &mut crowds {
            bench.rest()?;
            fs::remove_dir(&sandboxes)?;
            fs::rename(&crowd.folder, &sandboxes)?;
            let measured = crowd.take(bench);
            // Also when something failed: what follows finds its own folder.
            fs::rename(&sandboxes, &crowd.folder)?;
            fs::create_dir(&sandboxes)?;
            measured?;
        }
    }

    let name = |what: &str, count: usize| format!("mvmctl {what}, {count} recorded");
    for Crowd {
        count,
        list,
        create,
        ..
    } in crowds
    {
        bench.report.add(&name("list", count), list);
        bench
            .report
            .add(&name("create with a spare", count), create);
    }
    let many = bench.sizes.records;
    for what in ["list", "create with a spare"] {
        let ratio = format!("{what}: {many} recorded over {FEW}");
        let (measured, peer) = (name(what, many), name(what, FEW));
        bench.report.compare(&ratio, &measured, &peer, 1.2);
    }
    Ok(())
}

impl Crowd {
    fn take(&mut self, bench: &mut Bench) -> Outcome<()> {
        // The first after the directory changed is not measured.
        let listed = run(bench.command(&["list"]))?.stdout.lines().count();
        if listed != self.count + 1 {
            return Err(format!("{listed} lines for {} sandboxes and a head", self.count).into());
        }
        for _ in 0..LISTS {
            self.list.time(|| run(bench.command(&["list"])));
        }
        bench.rest()?;
        if let Some(written) = self.create.time(|| run(bench.command(&["create"]))) {
            run(bench.command(&["destroy", &written.stdout]))?;
        }
        // Its successor is made while this directory is in its place.
        bench.rest()
    }
}

/// Copies a stopped sandbox under an identifier of its own. Its disk, which nothing here reads, is
/// the same file.
fn copy(pattern: &Path, parent: &Path, number: usize) -> Outcome<()> {
    let id = SandboxId::from_random((1 << 100) + number as u128);
    let folder = parent.join(id.as_str());
    fs::create_dir(&folder)?;
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(pattern.join(RECORD))?)?;
    record["id"] = id.as_str().into();
    fs::write(folder.join(RECORD), serde_json::to_vec_pretty(&record)?)?;
    fs::write(folder.join(LOCK), [])?;
    for name in ["disk.img", "guest.log", "machine.log"] {
        fs::hard_link(pattern.join(name), folder.join(name))?;
    }
    Ok(())
}
