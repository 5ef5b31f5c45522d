//! What admission costs, over a short audit log and a long one, beside the bare write and sync of a
//! line of the log.
//!
//! Two directories take turns as `audit/`. The long log is made by signing records one after another,
//! as the writer does; its index is made by the first admission over it, which is not measured with
//! the others.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use mvm_contract::audit::{Chain, Event, EventKind, LogId};
use mvm_runtime::{Phase, StartOrigin, keys};

use crate::{
    bench::{Bench, Outcome},
    samples::Samples,
};

const FEW: usize = 10;
/// The phase of a start that is its admission.
const PHASE: &str = "admission";
const PEER: &str = "peer: 1 KiB appended and synced";

/// A log of so many records, and what was measured over it.
struct Log {
    records: usize,
    folder: PathBuf,
    admission: Samples,
    create: Samples,
}

pub(crate) async fn measure(bench: &mut Bench) -> Outcome<()> {
    bench.keep_spare(true).await?;
    let audit = bench.runtime.home().audit();
    let many = bench.sizes.audit_records;
    let mut logs = Vec::new();
    for records in [FEW, many] {
        let folder = bench.home.path().join(format!("audit-{records}"));
        fs::create_dir(&folder)?;
        write_log(bench, &folder, records)?;
        logs.push(Log {
            records,
            folder,
            admission: Samples::default(),
            create: Samples::default(),
        });
    }
    let own = bench.home.path().join("audit-own");
    bench.rest()?;
    fs::rename(&audit, &own)?;
    let mut peer = Samples::default();
    for round in 0..=bench.sizes.starts {
        for log in &mut logs {
            fs::rename(&log.folder, &audit)?;
            let measured = log.take(bench, round > 0).await;
            // Its end is recorded after its user was told.
            bench.rest()?;
            fs::rename(&audit, &log.folder)?;
            measured?;
        }
        append_and_sync(bench, &mut peer)?;
    }
    fs::rename(&own, &audit)?;

    let name = |what: &str, records: usize| format!("{what}, log of {records} records");
    let (admission, create) = ("admission", "SDK: create with a spare");
    let report = &mut bench.report;
    report.add(PEER, peer);
    for log in logs {
        report.add(&name(admission, log.records), log.admission);
        report.add(&name(create, log.records), log.create);
    }
    report.limit_median(&name(admission, FEW), 5.0);
    report.limit_median(&name(admission, many), 5.0);
    let (measured, few) = (name(create, many), name(create, FEW));
    let ratio = format!("create over a log of {many} records over one of {FEW}");
    report.compare(&ratio, &measured, &few, 1.1);
    Ok(())
}

impl Log {
    async fn take(&mut self, bench: &mut Bench, measured: bool) -> Outcome<()> {
        bench.rest()?;
        let builder = mvm::Sandbox::builder()
            .home(bench.home.path())
            .supervisor(&bench.mvmctl);
        let begun = Instant::now();
        let created = builder.create().await;
        let ended = begun.elapsed();
        let sandbox = match (created, measured) {
            (Ok(sandbox), _) => sandbox,
            (Err(error), false) => return Err(error.into()),
            (failed, true) => {
                self.create.count(failed);
                return Ok(());
            }
        };
        let phases = sandbox.start_phases();
        let admission = phases.iter().find(|phase| phase.name == PHASE);
        match admission.map(|phase: &Phase| phase.milliseconds) {
            _ if !measured => {}
            Some(time) if sandbox.record().origin == StartOrigin::Spare => {
                self.create.push(ended);
                self.admission.values.push(time);
            }
            _ => {
                let origin = &sandbox.record().origin;
                self.create.count(Err::<(), _>(format!("from {origin:?}")));
            }
        }
        sandbox.destroy().await?;
        Ok(())
    }
}

/// Writes a log of so many admissions, each signed.
fn write_log(bench: &Bench, folder: &Path, records: usize) -> Outcome<()> {
    let key = keys::host_signer(bench.runtime.home())?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now_ms = u64::try_from(now.as_millis())?;
    let mut chain = Chain::start(LogId::from_random(records as u128), None);
    let mut file = BufWriter::new(File::create(folder.join("log-000001.jsonl"))?);
    for number in 0..records {
        let mut event = Event::new(EventKind::PlanAdmitted);
        event.principal = Some("user:0".to_owned());
        event.nonce = Some(format!("{number:032x}"));
        event.nonce_expires = Some(now_ms / 1000 + 60);
        let (line, next) = chain.append(event, now_ms, &key)?;
        file.write_all(&line)?;
        chain = next;
    }
    file.into_inner()?.sync_all()?;
    Ok(())
}

/// What the disk costs whoever waits for it, where the log is.
fn append_and_sync(bench: &mut Bench, samples: &mut Samples) -> Outcome<()> {
    bench.rest()?;
    let path = bench.home.path().join("appended");
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).open(&path)?;
    samples.time(|| {
        file.write_all(&[b'x'; 1024])?;
        file.sync_data()
    });
    Ok(())
}
