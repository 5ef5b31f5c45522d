//! `mvmctl key` and `policy`.

use std::{fs, path::Path};

use mvm_contract::{
    PublicKey,
    policy::{Bounds, HostPolicy},
    trust::{KeyStanding, TrustedKey},
};
use mvm_runtime::keys::{self, KeyStoreError};
use serde_json::{Value, json};

use super::{Context, now};
use crate::{
    arguments::{Keys, Policies},
    failure::Failure,
    output, table,
};

pub(super) fn keys(context: &Context, verb: Keys) -> Result<u8, Failure> {
    let home = context.runtime.home();
    match verb {
        Keys::Init => {
            let key = keys::host_signer(home)?.public_key();
            report(context, "key", &key.id())?;
        }
        Keys::List => list(context)?,
        Keys::Export { key, out } => {
            let pem = keys::write_public_key(&find(context, &key)?);
            super::emit(out.as_deref(), pem.as_bytes())?;
        }
        Keys::Trust { file, name, role } => {
            let text = super::read(&file)?;
            let public_key =
                keys::read_public_key(&text).ok_or(KeyStoreError::NotAKey { path: file })?;
            let key = TrustedKey {
                name,
                role,
                public_key,
                not_before: now(),
                not_after: None,
                revoked_at: None,
            };
            report(context, "trusted", &keys::trust(home, key)?)?;
        }
        Keys::Revoke { key } => report(context, "revoked", &keys::revoke(home, &key, now())?)?,
        Keys::Rotate => report(context, "key", &keys::rotate(home, now())?)?,
    }
    Ok(0)
}

fn list(context: &Context) -> Result<(), Failure> {
    let roots = keys::trust_roots(context.runtime.home())?;
    if context.json {
        return output::json(&roots.keys);
    }
    let row = |key: &TrustedKey| {
        let standing = match key.standing(now()) {
            KeyStanding::Valid => "valid",
            KeyStanding::NotYetValid => "not yet valid",
            KeyStanding::Expired => "expired",
            KeyStanding::Revoked => "revoked",
        };
        let role = format!("{:?}", key.role).to_lowercase();
        let id = key.public_key.id().to_string();
        [key.name.clone(), role, standing.to_owned(), id]
    };
    let rows: Vec<_> = roots.keys.iter().map(row).collect();
    table::print(["NAME", "ROLE", "STANDING", "KEY"], &rows)
}

fn find(context: &Context, key: &str) -> Result<PublicKey, Failure> {
    let roots = keys::trust_roots(context.runtime.home())?;
    let is_it = |it: &&TrustedKey| it.name == key || key.parse() == Ok(it.public_key.id());
    match roots.keys.iter().find(is_it) {
        Some(found) => Ok(found.public_key),
        None => Err(KeyStoreError::NotFound {
            key: key.to_owned(),
        }
        .into()),
    }
}

fn report(context: &Context, what: &str, key: &mvm_contract::KeyId) -> Result<(), Failure> {
    if context.json {
        output::json(&json!({ what: key }))
    } else {
        output::data(key)
    }
}

pub(super) fn policies(context: &Context, verb: Policies) -> Result<u8, Failure> {
    match verb {
        Policies::Show => output::json(&keys::host_policy(context.runtime.home())?)?,
        Policies::Explain { profile } => {
            let policy = keys::host_policy(context.runtime.home())?;
            let bounds = policy.bounds_for(profile);
            if context.json {
                output::json(&bounds)?;
            } else {
                explain(&Bounds::of_profile(profile), &policy.bounds, &bounds)?;
            }
        }
        Policies::Validate { file } => {
            validate(&file)?;
            output::data("valid")?;
        }
    }
    Ok(0)
}

fn validate(path: &Path) -> Result<(), Failure> {
    let refused = |source| KeyStoreError::Policy {
        path: path.to_owned(),
        source,
    };
    HostPolicy::read(&super::read(path)?).map_err(refused)?;
    Ok(())
}

/// Each bound that is in force, and who sets it. A bound that is not there bounds nothing.
fn explain(profile: &Bounds, host: &Bounds, both: &Bounds) -> Result<(), Failure> {
    let fields = |bounds: &Bounds| match serde_json::to_value(bounds) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (profile, host) = (fields(profile), fields(host));
    let row = |(name, value): (String, Value)| {
        let set_by = match (profile.get(&name), host.get(&name)) {
            (Some(one), _) if *one == value => "profile",
            (_, Some(other)) if *other == value => "host policy",
            _ => "both",
        };
        [name, value.to_string(), set_by.to_owned()]
    };
    let rows: Vec<_> = fields(both).into_iter().map(row).collect();
    table::print(["BOUND", "VALUE", "SET BY"], &rows)
}

/// Writes to a file that is not there yet.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = fs::File::create_new(path).and_then(|mut file| {
        std::io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    });
    written
        .map_err(|error| Failure::host_io(format!("failed to write `{}`", path.display()), &error))
}
