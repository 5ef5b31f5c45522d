//! `mvmctl receipt`, and the receipts of runs.

use std::path::Path;

use mvm_contract::{
    Digest,
    audit::EventKind,
    canonical::Document,
    dsse::{Envelope, MAX_ENVELOPE_BYTES},
    receipt,
    trust::{KeyRole, TRUST_ROOTS_VERSION, TrustRoots, TrustedKey},
};
use mvm_runtime::{RunAccount, keys};
use serde_json::{Value, json};

use super::{Context, audit, plan::flatten, read, trust::write_new};
use crate::{arguments::Receipts, failure::Failure, output, table};

pub(super) fn receipts(context: &Context, verb: Receipts) -> Result<u8, Failure> {
    match verb {
        Receipts::Show { file } => show(context, &file)?,
        Receipts::Verify { file, key } => verify(context, &file, key.as_deref())?,
    }
    Ok(0)
}

/// Writes the receipt of a run that has ended, if one was asked for; without one, tells that the
/// run was not recorded, where that is so.
pub(super) fn keep(path: Option<&Path>, account: RunAccount) -> Result<(), Failure> {
    match (path, account.receipt, account.audit_id) {
        (Some(path), Some(receipt), _) => write_new(path, &receipt),
        (Some(_), None, Err(error)) => Err(Failure::new(&*error)),
        (None, _, Err(error)) => {
            for cause in mvm_runtime::causes(&*error) {
                output::talk(format_args!("warning: the run is not recorded: {cause}"));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn show(context: &Context, file: &Path) -> Result<(), Failure> {
    let statement = payload(&read(file)?).ok_or_else(|| {
        Failure::invalid(
            format!("`{}` is not a receipt", file.display()),
            "make one: `mvmctl run --receipt FILE -- COMMAND`",
        )
    })?;
    let said = statement["predicate"].clone();
    if context.json {
        return output::json(&said);
    }
    let mut rows = Vec::new();
    flatten("", &said, &mut rows);
    table::print(["FIELD", "VALUE"], &rows)
}

fn payload(bytes: &[u8]) -> Option<Value> {
    let envelope = Envelope::read(bytes).ok()?;
    let payload = envelope.unverified_payload();
    let document = Document::read(payload, MAX_ENVELOPE_BYTES).ok()?;
    document.decode().ok()
}

fn verify(context: &Context, file: &Path, key: Option<&Path>) -> Result<(), Failure> {
    let bytes = read(file)?;
    let roots = match key {
        Some(path) => only(path)?,
        None => keys::trust_roots(context.runtime.home())?,
    };
    let verified = receipt::verify(&bytes, &roots).map_err(|flaw| {
        Failure::invalid(
            format!("`{}` proves nothing: {}", file.display(), flaw.as_str()),
            "see which keys are believed here: `mvmctl key list`",
        )
    })?;
    let digest = Digest::of(&bytes);
    let recorded = match key {
        // Another host's log is not here.
        Some(_) => None,
        None => recorded(context, digest)?,
    };
    let signer = roots.key(verified.key).map(|key| key.name.clone());
    if context.json {
        return output::json(&json!({
            "run_id": verified.predicate.run,
            "key": verified.key,
            "signer": signer,
            "audit_id": recorded,
        }));
    }
    let signer = signer.unwrap_or_default();
    let run = &verified.predicate.run;
    match recorded {
        Some(place) => output::data(format_args!(
            "{run} signed by `{signer}`, recorded at {place}"
        )),
        None => output::data(format_args!("{run} signed by `{signer}`")),
    }
}

/// One key, given by a file.
fn only(path: &Path) -> Result<TrustRoots, Failure> {
    let public_key = keys::read_public_key(&read(path)?).ok_or(keys::KeyStoreError::NotAKey {
        path: path.to_owned(),
    })?;
    Ok(TrustRoots {
        version: TRUST_ROOTS_VERSION,
        keys: vec![TrustedKey {
            name: path.display().to_string(),
            role: KeyRole::Record,
            public_key,
            not_before: 0,
            not_after: None,
            revoked_at: None,
        }],
    })
}

/// Where this host's log tells of a receipt.
fn recorded(context: &Context, receipt: Digest) -> Result<Option<String>, Failure> {
    let found = audit::records(context)?.into_iter().find(|record| {
        record.event.kind == EventKind::RunEnded && record.event.receipt_digest == Some(receipt)
    });
    Ok(found.map(|record| format!("{}/{}", record.log.as_str(), record.sequence)))
}
