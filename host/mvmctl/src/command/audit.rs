//! `mvmctl audit`.

use std::{fs, path::Path};

use mvm_contract::{
    SandboxId,
    audit::{LogVerdict, Record, SignedRecord, verify_log},
};
use mvm_runtime::{audit_files, keys, seal_audit_log};
use serde_json::json;

use super::{Context, read, trust::write_new};
use crate::{arguments::Audits, failure::Failure, output, table};

pub(super) fn audits(context: &Context, verb: Audits) -> Result<u8, Failure> {
    match verb {
        Audits::Verify { file, checkpoint } => {
            return verify(context, file.as_deref(), checkpoint.as_deref());
        }
        Audits::Tail { count } => {
            let records = records(context)?;
            let skipped = records.len().saturating_sub(count);
            print(context, &records[skipped..])?;
        }
        Audits::Show { sandbox } => {
            let id = context.runtime.connect(&sandbox);
            let id = id.map_or(sandbox, |found| found.id().to_string());
            let mut records = records(context)?;
            records.retain(|record| {
                let of = record.event.sandbox.as_ref().map(SandboxId::as_str);
                of == Some(id.as_str())
            });
            print(context, &records)?;
        }
        Audits::Checkpoint => output::bytes(&seal_audit_log(context.runtime.home())?)?,
        Audits::Export { directory } => export(context, &directory)?,
    }
    Ok(0)
}

fn verify(
    context: &Context,
    file: Option<&Path>,
    checkpoint: Option<&Path>,
) -> Result<u8, Failure> {
    let [own, beside] = audit_files(context.runtime.home());
    let log = read(file.unwrap_or(&own))?;
    let note = match (checkpoint, file) {
        (Some(path), _) => Some(read(path)?),
        (None, None) if beside.exists() => Some(read(&beside)?),
        _ => None,
    };
    let roots = keys::trust_roots(context.runtime.home())?;
    let verdict = verify_log(&log, note.as_deref(), &roots);
    if context.json {
        output::json(&json!({ "verdict": verdict.as_str(), "detail": format!("{verdict:?}") }))?;
    } else {
        output::data(told(&verdict))?;
    }
    Ok(exit_code(&verdict))
}

fn told(verdict: &LogVerdict) -> String {
    match verdict {
        LogVerdict::Edited { line } => format!("edited: line {line} is not what was signed"),
        LogVerdict::Untrusted { line } => {
            format!("untrusted: line {line} is signed by a key that is not trusted for records")
        }
        LogVerdict::Forked { sequence } => format!("forked: two histories part at {sequence}"),
        LogVerdict::Reordered { line } => format!("reordered: line {line} is out of its place"),
        LogVerdict::Removed { sequence } => format!("removed: record {sequence} is missing"),
        LogVerdict::CheckpointInvalid => "checkpoint-invalid: it is not of this log".to_owned(),
        LogVerdict::Truncated { records, sealed } => {
            format!("truncated: {records} whole records, {sealed} were sealed")
        }
        LogVerdict::Unsealed { records, sealed } => {
            format!("unsealed: {records} records in order, {sealed} of them sealed")
        }
        LogVerdict::Intact { records, .. } => format!("intact: {records} records"),
    }
}

/// As `mvmctl audit verify --help` says.
fn exit_code(verdict: &LogVerdict) -> u8 {
    match verdict {
        LogVerdict::Intact { .. } => 0,
        LogVerdict::Edited { .. } => 10,
        LogVerdict::Untrusted { .. } => 11,
        LogVerdict::Forked { .. } => 12,
        LogVerdict::Reordered { .. } => 13,
        LogVerdict::Removed { .. } => 14,
        LogVerdict::CheckpointInvalid => 15,
        LogVerdict::Truncated { .. } => 16,
        LogVerdict::Unsealed { .. } => 17,
    }
}

/// The records of this host's log that can be read. Whether they are all is `verify`'s word.
fn records(context: &Context) -> Result<Vec<Record>, Failure> {
    let [log, _] = audit_files(context.runtime.home());
    let bytes = if log.exists() {
        read(&log)?
    } else {
        Vec::new()
    };
    let lines = bytes.split(|byte| *byte == b'\n');
    let signed = lines.filter_map(SignedRecord::read);
    Ok(signed.map(|signed| signed.record).collect())
}

fn print(context: &Context, records: &[Record]) -> Result<(), Failure> {
    if context.json {
        return output::json(&records);
    }
    let row = |record: &Record| {
        let event = &record.event;
        let kind = serde_json::to_value(event.kind).unwrap_or_default();
        [
            record.sequence.to_string(),
            table::age(record.time_ms),
            kind.as_str().unwrap_or_default().to_owned(),
            table::or_dash(event.sandbox.as_ref()),
            table::or_dash(event.rule.as_ref()),
            table::or_dash(event.plan_digest),
        ]
    };
    let rows: Vec<_> = records.iter().map(row).collect();
    table::print(["RECORD", "AGE", "EVENT", "SANDBOX", "RULE", "PLAN"], &rows)
}

fn export(context: &Context, directory: &Path) -> Result<(), Failure> {
    fs::create_dir(directory).map_err(|error| {
        Failure::host_io(
            format!("failed to create `{}`", directory.display()),
            &error,
        )
    })?;
    for file in audit_files(context.runtime.home()) {
        if let (true, Some(name)) = (file.exists(), file.file_name()) {
            write_new(&directory.join(name), &read(&file)?)?;
        }
    }
    Ok(())
}
