//! `mvmctl plan`.

use std::path::Path;

use mvm_contract::{
    Digest, SandboxSpec,
    canonical::{self, Document},
    dsse::{self, Envelope, MAX_ENVELOPE_BYTES, PLAN_TYPE},
    plan::Plan,
};
use mvm_runtime::{keys, verify_plan};
use serde_json::{Value, json};

use super::{Context, emit, read, spec_of};
use crate::{
    arguments::{CreatePlan, Plans},
    failure::Failure,
    output,
    progress::{Display, WORK_PATIENCE},
    table,
};

pub(super) fn plans(context: &Context, verb: Plans) -> Result<u8, Failure> {
    match verb {
        Plans::Create(options) => create(context, *options)?,
        Plans::Inspect { file } => show(context, &read(&file)?)?,
        Plans::Verify { file } => verified(context, &read(&file)?)?,
        Plans::Sign { file, key, out } => {
            let envelope = sign(context, &file, key.as_deref())?;
            emit(out.as_deref(), &envelope)?;
        }
        Plans::Diff { one, other } => {
            let (one, other) = (payload(&read(&one)?)?, payload(&read(&other)?)?);
            return diff(context, &one, &other);
        }
    }
    Ok(0)
}

fn create(context: &Context, options: CreatePlan) -> Result<(), Failure> {
    let CreatePlan {
        sandbox,
        path,
        valid,
        out,
    } = options;
    if !sandbox.shape.cp.is_empty() || sandbox.shape.boot_console || sandbox.shape.plan.is_some() {
        return Err(Failure::invalid(
            "a plan holds no file, console or other plan",
            "leave `--cp`, `--boot-console` and `--plan` out",
        ));
    }
    let spec = SandboxSpec {
        name: sandbox.name,
        environment: sandbox.env.into_iter().collect(),
        working_directory: sandbox.workdir,
        user: sandbox.user,
        ttl_seconds: sandbox.ttl.map(|ttl| ttl.as_secs().max(1)),
        ..spec_of(&sandbox.shape)
    };
    let display = Display::new(context.quiet, WORK_PATIENCE);
    let runtime = context.runtime.clone().with_profile(sandbox.shape.profile);
    let envelope = runtime.sign_plan(&spec, path, valid.as_secs().max(1), &display)?;
    emit(out.as_deref(), &envelope)
}

/// Shows the plan in an envelope.
pub(super) fn show(context: &Context, bytes: &[u8]) -> Result<(), Failure> {
    let envelope = envelope(bytes)?;
    let plan = payload(bytes)?;
    let digest = Digest::of(envelope.unverified_payload());
    let head = json!({ "digest": digest, "key": envelope.key_id(), "plan": plan });
    if context.json {
        return output::json(&head);
    }
    let mut rows = vec![
        ["digest".to_owned(), digest.to_string()],
        ["key".to_owned(), envelope.key_id().to_string()],
    ];
    flatten("", &plan, &mut rows);
    let rows: Vec<_> = rows
        .into_iter()
        .map(|[field, value]| {
            let rules = effect(&field).to_owned();
            [field, value, rules]
        })
        .collect();
    table::print(["FIELD", "VALUE", "WHAT IT DOES"], &rows)
}

/// What a field of a plan does, and by which rules (`RULES.md`) it is judged.
fn effect(field: &str) -> &'static str {
    match field.split('.').next().unwrap_or_default() {
        "digest" => "names the plan in the audit log and in receipts",
        "key" => "signed it; must be believed for plans (A-006 to A-011)",
        "version" => "the form of the plan (A-017)",
        "kind" => "`run` is refused: not enforced yet",
        "image" => "the root filesystem, as it was published (A-037 to A-039, A-055, A-056)",
        "kernel_digest" | "initramfs_digest" => "what boots, as it was published (A-040 to A-042)",
        "agent_version" => "the guest's agent (A-043)",
        "workload_digest" => "refused: not enforced yet (A-064)",
        "resources" => "given to the microVM, within the ceilings (A-049 to A-051)",
        "network" => "no network; grants are refused (A-060)",
        "ingress" => "refused: not enforced yet (A-061)",
        "secrets" => "refused: not enforced yet (A-062)",
        "mounts" => "refused: not enforced yet (A-063)",
        "environment" => "digests of the values that commands get (A-058)",
        "working_directory" | "user" => "of commands that name none",
        "name" => "the sandbox's name and hostname",
        "ttl_seconds" => "its supervisor destroys it then (A-052)",
        "limits" => "ends a start or a command that takes longer (A-053)",
        "origin" => "the one way it is launched (A-044, A-045, A-059)",
        "profile" => "the built-in policy (A-046)",
        "host" => "the one host that may launch it (A-036)",
        "principal" => "on whose behalf (A-048)",
        "validity" => "when it may be admitted (A-033, A-034, A-054)",
        "nonce" => "makes it usable once (A-035)",
        _ => "",
    }
}

fn verified(context: &Context, bytes: &[u8]) -> Result<(), Failure> {
    let verified = verify_plan(context.runtime.home(), bytes)?;
    if context.json {
        return output::json(&json!({
            "digest": verified.digest(),
            "key": verified.key(),
            "signer": verified.signer(),
        }));
    }
    output::data(format_args!(
        "{} signed by `{}`",
        verified.digest(),
        verified.signer()
    ))
}

fn sign(context: &Context, file: &Path, key: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let refused = |error: &dyn std::error::Error| {
        let text = format!("`{}` is not a plan: {error}", file.display());
        Failure::invalid(
            text,
            "see one: `mvmctl plan create | mvmctl plan inspect -`",
        )
    };
    let bytes = read(file)?;
    let document = Document::read(&bytes, MAX_ENVELOPE_BYTES).map_err(|error| refused(&error))?;
    let plan: Plan = document.decode().map_err(|error| refused(&error))?;
    plan.validate().map_err(|flaw| refused(&flaw))?;
    let signer = match key {
        Some(path) => {
            let path = path.to_owned();
            keys::read_private_key(&read(&path)?).ok_or(keys::KeyStoreError::NotAKey { path })?
        }
        None => keys::host_signer(context.runtime.home())?,
    };
    let bytes = canonical::to_bytes(&plan).map_err(|error| refused(&error))?;
    dsse::seal(PLAN_TYPE, &bytes, &signer).map_err(|error| refused(&error))
}

/// Prints the fields that differ; exit code 1 when there are any.
fn diff(context: &Context, one: &Value, other: &Value) -> Result<u8, Failure> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    flatten("", one, &mut left);
    flatten("", other, &mut right);
    let value = |rows: &[[String; 2]], name: &str| {
        let row = rows.iter().find(|[field, _]| field == name);
        row.map_or_else(|| "-".to_owned(), |[_, value]| value.clone())
    };
    let mut names: Vec<_> = left.iter().chain(&right).map(|[name, _]| name).collect();
    names.sort();
    names.dedup();
    let rows: Vec<_> = names
        .into_iter()
        .map(|name| [name.clone(), value(&left, name), value(&right, name)])
        .filter(|[_, one, other]| one != other)
        .collect();
    if context.json {
        output::json(&rows)?;
    } else if !rows.is_empty() {
        table::print(["FIELD", "ONE", "OTHER"], &rows)?;
    }
    Ok(u8::from(!rows.is_empty()))
}

fn envelope(bytes: &[u8]) -> Result<Envelope, Failure> {
    Envelope::read(bytes).map_err(|error| {
        let hint = "give a signed plan in its DSSE envelope";
        Failure::invalid(format!("this is no envelope: {error}"), hint)
    })
}

/// What an envelope holds, as JSON; nobody vouches for it.
fn payload(bytes: &[u8]) -> Result<Value, Failure> {
    let envelope = envelope(bytes)?;
    serde_json::from_slice(envelope.unverified_payload()).map_err(|error| {
        let hint = "give a signed plan in its DSSE envelope";
        Failure::invalid(format!("the envelope holds no JSON: {error}"), hint)
    })
}

pub(super) fn flatten(prefix: &str, value: &Value, rows: &mut Vec<[String; 2]>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                flatten(&name, value, rows);
            }
        }
        Value::String(text) => rows.push([prefix.to_owned(), output::printable(text)]),
        other => rows.push([prefix.to_owned(), output::printable(&other.to_string())]),
    }
}
