//! `mvmctl snapshot`, `fork` and `restore`.

use mvm_runtime::{RestoreOptions, SnapshotOptions, SnapshotRecord};

use super::{Context, report_sandbox, trace};
use crate::{
    arguments::{Fork, Restore, Restored, Snapshots},
    failure::Failure,
    output,
    progress::{Display, WORK_PATIENCE},
    table,
};

pub(super) async fn snapshots(context: &Context, verb: Snapshots) -> Result<u8, Failure> {
    let runtime = &context.runtime;
    match verb {
        Snapshots::Create(options) => {
            let sandbox = runtime.connect(&options.sandbox)?;
            let options = SnapshotOptions {
                name: options.name,
                stream: options.stream,
            };
            report(context, &sandbox.snapshot(&options).await?)?;
        }
        Snapshots::List => list(context)?,
        Snapshots::Inspect(options) => output::json(&runtime.snapshot(&options.snapshot)?)?,
        Snapshots::Remove(options) => {
            for snapshot in options.snapshots {
                let id = runtime.remove_snapshot(&snapshot)?;
                if context.json {
                    output::json(&serde_json::json!({ "snapshot": id, "state": "removed" }))?;
                } else {
                    output::data(id)?;
                }
            }
        }
        Snapshots::Export(options) => {
            let display = Display::new(context.quiet, WORK_PATIENCE);
            mvm_runtime::Progress::stage(&display, "exporting the snapshot", None);
            let id = runtime.export_snapshot(&options.snapshot, &options.file)?;
            mvm_runtime::Progress::finish(&display);
            if context.json {
                let file = options.file;
                output::json(&serde_json::json!({ "snapshot": id, "file": file }))?;
            } else {
                output::data(options.file.display())?;
            }
        }
        Snapshots::Import(options) => {
            let display = Display::new(context.quiet, WORK_PATIENCE);
            mvm_runtime::Progress::stage(&display, "importing the snapshot", None);
            let record = runtime.import_snapshot(&options.file)?;
            mvm_runtime::Progress::finish(&display);
            report(context, &record)?;
        }
    }
    Ok(0)
}

fn report(context: &Context, record: &SnapshotRecord) -> Result<(), Failure> {
    if let Some(reason) = &record.reason
        && !context.quiet
    {
        output::talk(format_args!(
            "note: all memory was saved, not only what changed: {reason}"
        ));
    }
    if context.json {
        output::json(record)
    } else {
        output::data(&record.id)
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let mut records = Vec::new();
    for listed in context.runtime.snapshots()? {
        match listed.record {
            Ok(record) => records.push(record),
            // Shown beside the others: one that is refused hides no other.
            Err(error) => output::failure(&error.into(), context.json),
        }
    }
    if context.json {
        return output::json(&records);
    }
    let rows: Vec<_> = records
        .iter()
        .map(|record| {
            [
                record.id.to_string(),
                table::or_dash(record.name.as_ref()),
                record.sandbox.to_string(),
                record.image.clone(),
                record.method.clone(),
                table::mebibytes(record.bytes),
                format!("{:.0}ms", record.pause_ms),
                table::age(record.created_at_ms),
            ]
        })
        .collect();
    let head = [
        "ID", "NAME", "SANDBOX", "IMAGE", "METHOD", "SIZE", "PAUSE", "AGE",
    ];
    table::print(head, &rows)
}

impl From<Restored> for RestoreOptions {
    fn from(options: Restored) -> Self {
        Self {
            name: options.name,
            ttl_seconds: options.ttl.map(|ttl| ttl.as_secs().max(1)),
        }
    }
}

pub(super) async fn restore(context: &Context, options: Restore) -> Result<u8, Failure> {
    let display = Display::new(context.quiet, WORK_PATIENCE);
    let restored = options.restored.into();
    let sandbox = context
        .runtime
        .restore(&options.snapshot, &restored, &display);
    let sandbox = sandbox.await?;
    if options.trace {
        trace(sandbox.start_phases());
    }
    report_sandbox(context, sandbox).await?;
    Ok(0)
}

/// Each child has its own outcome: those that were made are reported, and the first failure is
/// the command's.
pub(super) async fn fork(context: &Context, options: Fork) -> Result<u8, Failure> {
    let display = Display::new(context.quiet, WORK_PATIENCE);
    let restored = options.restored.into();
    let children = context
        .runtime
        .fork(&options.source, options.count, &restored, &display);
    let mut failed = None;
    for child in children.await? {
        let reported = match child {
            Ok(sandbox) => report_sandbox(context, sandbox).await,
            Err(error) => Err(error.into()),
        };
        if let Err(failure) = reported
            && let Some(earlier) = failed.replace(failure)
        {
            output::failure(&earlier, context.json);
        }
    }
    failed.map_or(Ok(0), Err)
}
