//! `mvmctl audit`.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use mvm_contract::{
    Digest, RunId, SandboxId,
    audit::{Checkpoint, LogId, LogVerdict, Record, SignedRecord, verify_continuation, verify_log},
    trust::TrustRoots,
};
use mvm_runtime::{audit_segments, keys, rotate_audit_log, seal_audit_log};
use serde_json::json;

use super::{Context, read, trust::write_new};
use crate::{
    arguments::{Audits, Witness},
    failure::Failure,
    output, table,
};

pub(super) fn audits(context: &Context, verb: Audits) -> Result<u8, Failure> {
    let home = context.runtime.home();
    match verb {
        Audits::Verify { file, checkpoint } => return verify(context, file, checkpoint.as_deref()),
        Audits::Tail { count } => {
            let records = records(context)?;
            let skipped = records.len().saturating_sub(count);
            print(context, &records[skipped..])?;
        }
        Audits::Show { of } => show(context, &of)?,
        Audits::Checkpoint { witness } => {
            let note = seal_audit_log(home)?;
            testify(&witness, &note)?;
            output::bytes(&note)?;
        }
        Audits::Rotate { witness } => {
            let note = rotate_audit_log(home)?;
            testify(&witness, &note)?;
            output::bytes(&note)?;
        }
        Audits::Export { directory } => export(context, &directory)?,
    }
    Ok(0)
}

/// A log to verify, with the checkpoint beside it and the one that was kept elsewhere.
struct Segment {
    name: String,
    log: Vec<u8>,
    sealed: Option<Vec<u8>>,
    kept: Option<Vec<u8>>,
}

impl Segment {
    fn read(log: &Path, sealed: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self {
            name: log.display().to_string(),
            log: read(log)?,
            sealed: sealed.map(read).transpose()?,
            kept: None,
        })
    }

    fn identity(&self) -> Option<LogId> {
        let first = self.log.split(|byte| *byte == b'\n').next()?;
        Some(SignedRecord::read(first)?.record.log)
    }
}

fn verify(
    context: &Context,
    file: Option<PathBuf>,
    checkpoint: Option<&Path>,
) -> Result<u8, Failure> {
    let home = context.runtime.home();
    let mut segments = match file {
        Some(file) => vec![(file, None)],
        None => audit_segments(home)?
            .into_iter()
            .map(|segment| {
                let sealed = segment.checkpoint.exists().then_some(segment.checkpoint);
                (segment.log, sealed)
            })
            .collect(),
    };
    let kept = checkpoint.map(read).transpose()?;
    let roots = keys::trust_roots(home)?;
    let mut previous = None;
    let mut total = 0;
    let mut matched = kept.is_none();
    let is_alone = segments.len() == 1;
    let last = segments.pop();
    for (log, sealed) in segments {
        let mut segment = Segment::read(&log, sealed.as_deref())?;
        matched |= segment.take_checkpoint(kept.as_deref(), false);
        let verdict = segment.verdict(&roots, previous);
        let LogVerdict::Intact { records, last } = verdict else {
            return report(context, &segment.name, &verdict, total);
        };
        total += records;
        previous = Some(last);
    }
    let Some((log, sealed)) = last else {
        return Err(Failure::invalid(
            "this host has no audit log yet",
            "the first launch begins one",
        ));
    };
    let mut segment = Segment::read(&log, sealed.as_deref())?;
    matched |= segment.take_checkpoint(kept.as_deref(), is_alone);
    if !matched {
        return Err(Failure::invalid(
            "the checkpoint is of none of the logs that are here",
            "name the log it is of: `mvmctl audit verify FILE --checkpoint FILE`",
        ));
    }
    let verdict = segment.verdict(&roots, previous);
    report(context, &segment.name, &verdict, total)
}
impl Segment {
    /// Takes a checkpoint that was kept elsewhere, if it is of this log, or there is no other that
    /// it could be of.
    fn take_checkpoint(&mut self, kept: Option<&[u8]>, is_alone: bool) -> bool {
        let Some(note) = kept else { return false };
        let claimed = Checkpoint::claimed_log(note);
        let is_its = is_alone || (claimed.is_some() && claimed == self.identity());
        if is_its {
            self.kept = Some(note.to_vec());
        }
        is_its
    }

    fn verdict(&self, roots: &TrustRoots, previous: Option<Digest>) -> LogVerdict {
        let against = |checkpoint: Option<&[u8]>| match previous {
            Some(previous) => verify_continuation(&self.log, checkpoint, roots, previous),
            None => verify_log(&self.log, checkpoint, roots),
        };
        let sealed = self.sealed.as_deref();
        let Some(kept) = &self.kept else {
            return against(sealed);
        };
        match against(Some(kept)) {
            // It was kept before the newest was made: that one says more.
            LogVerdict::Unsealed { .. } if sealed.is_some() => against(sealed),
            verdict => verdict,
        }
    }
}

/// Tells of the segment that decides; `before` records are in those before it.
fn report(context: &Context, log: &str, verdict: &LogVerdict, before: u64) -> Result<u8, Failure> {
    if context.json {
        output::json(&json!({
            "verdict": verdict.as_str(),
            "detail": told(verdict),
            "log": log,
            "records_before": before,
        }))?;
    } else if before > 0 {
        output::data(format_args!(
            "{} (after {before} records that are intact)",
            told(verdict)
        ))?;
    } else {
        output::data(told(verdict))?;
    }
    Ok(exit_code(verdict))
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
pub(super) fn records(context: &Context) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    for segment in audit_segments(context.runtime.home())? {
        let bytes = read(&segment.log)?;
        let lines = bytes.split(|byte| *byte == b'\n');
        let signed = lines.filter_map(SignedRecord::read);
        records.extend(signed.map(|signed| signed.record));
    }
    Ok(records)
}

fn show(context: &Context, of: &str) -> Result<(), Failure> {
    let mut records = records(context)?;
    if let Ok(run) = of.parse::<RunId>() {
        records.retain(|record| record.event.run.as_ref() == Some(&run));
    } else {
        // Sandboxes that are gone are known by their identifiers alone.
        let found = context.runtime.connect(of);
        let id = found.map_or(of.to_owned(), |found| found.id().to_string());
        records.retain(|record| {
            let of = record.event.sandbox.as_ref().map(SandboxId::as_str);
            of == Some(id.as_str())
        });
    }
    print(context, &records)
}

/// Shows a checkpoint to those who were asked for.
fn testify(witness: &Witness, note: &[u8]) -> Result<(), Failure> {
    if let Some(path) = &witness.witness {
        let appended = fs::OpenOptions::new().append(true).create(true).open(path);
        let appended = appended.and_then(|mut file| {
            file.write_all(note)?;
            file.sync_all()
        });
        appended.map_err(|error| {
            Failure::host_io(format!("failed to write `{}`", path.display()), &error)
        })?;
    }
    if let Some(command) = &witness.witness_command {
        let failed = |error: &std::io::Error| {
            Failure::host_io(format!("failed to run the witness `{command}`"), error)
        };
        // What it says is talk: the checkpoint alone is data.
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(std::io::stderr())
            .spawn()
            .map_err(|error| failed(&error))?;
        if let Some(mut input) = child.stdin.take() {
            // One that does not read it says by its exit code what it makes of that.
            let _ = input.write_all(note);
        }
        let status = child.wait().map_err(|error| failed(&error))?;
        if !status.success() {
            return Err(Failure::invalid(
                format!("the witness `{command}` did not take the checkpoint ({status})"),
                "the log is sealed; show its checkpoint again: `mvmctl audit checkpoint`",
            ));
        }
    }
    Ok(())
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
    let home = context.runtime.home();
    for segment in audit_segments(home)? {
        for file in [&segment.log, &segment.checkpoint] {
            if let (true, Some(name)) = (file.exists(), file.file_name()) {
                write_new(&directory.join(name), &read(file)?)?;
            }
        }
    }
    let roots = keys::trust_roots(home)?;
    let roots = serde_json::to_vec_pretty(&roots).unwrap_or_default();
    write_new(&directory.join("trusted.json"), &roots)
}
