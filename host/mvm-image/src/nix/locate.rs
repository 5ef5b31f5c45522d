//! Finding a flake, and what it takes in, before anything of it is built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::archive::{self, archive};
use super::closure::{digest_of, store_path};
use super::failure::evaluate_failed;
use super::lock::{self, FlakeLock};
use super::program::{Nix, physical};
use super::{NixError, NixReference};
use crate::materialize::MaterializeOptions;
use mvm_contract::Digest;

/// A flake that `nix` can be given.
pub(super) struct Located {
    /// As `nix` takes it.
    pub url: String,
    /// As a message names it.
    pub name: String,
    pub nar_hash: Digest,
    pub lock: FlakeLock,
}

/// The flake's directory without symlinks, and the digest of its NAR, which is the pin's.
pub(super) fn check_directory(
    directory: &Path,
    pin: Option<Digest>,
    options: &MaterializeOptions<'_>,
) -> Result<(PathBuf, Digest), NixError> {
    let no_flake = |source| NixError::NoFlake {
        directory: directory.into(),
        source,
    };
    let path = directory.canonicalize().map_err(no_flake)?;
    path.join("flake.nix")
        .symlink_metadata()
        .map_err(no_flake)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._+-".contains(byte);
    if !path.as_os_str().as_encoded_bytes().iter().all(plain) {
        return Err(NixError::FlakePath { directory: path });
    }
    let digest = archive(&path, &options.limits, &mut archive::Nothing);
    let actual = digest.map_err(|source| NixError::ReadFlake {
        directory: path.clone(),
        source,
    })?;
    match pin {
        Some(expected) if expected != actual => Err(NixError::Pin {
            directory: path,
            expected,
            actual,
        }),
        _ => Ok((path, actual)),
    }
}

/// Names of the inputs of a `flake.nix`, those that only its function names among them.
const INPUTS: &str = "flake: builtins.attrNames ((flake.inputs or {}) \
     // builtins.removeAttrs (builtins.functionArgs flake.outputs) [ \"self\" ])";

/// Looks at what the flake takes in, with neither network nor any file outside it.
pub(super) fn locate_directory(
    nix: &Nix<'_>,
    path: &Path,
    nar_hash: Digest,
    reference: &NixReference,
) -> Result<Located, NixError> {
    let name = path.display().to_string();
    let file = format!("{name}/flake.nix");
    let allowed = format!("flake={name}");
    #[rustfmt::skip]
    let arguments = [
        "--offline", "--impure", "--json", "--option", "restrict-eval", "true",
        "-I", &allowed, "--file", &file, "--apply", INPUTS, "",
    ];
    let answer = nix
        .run(&["eval"], &arguments)
        .map_err(|source| evaluate_failed(&name, source))?;
    let inputs: Vec<String> =
        serde_json::from_slice(&answer).map_err(|source| NixError::Answer {
            question: "eval",
            source,
        })?;
    let lock = lock::read(path, &inputs).map_err(NixError::Lock)?;
    if let FlakeLock::Unlocked { inputs } = &lock
        && reference.pin.is_some()
    {
        return Err(NixError::UnlockedInputs {
            directory: path.into(),
            inputs: inputs.clone(),
        });
    }
    Ok(Located {
        // With the hash, `nix` refuses files that have changed since.
        url: format!(
            "path:{name}?narHash=sha256-{}",
            base64(nar_hash).replace('+', "%2B")
        ),
        name,
        nar_hash,
        lock,
    })
}

#[derive(Deserialize)]
struct Metadata {
    url: String,
    path: String,
    locked: LockedFlake,
    locks: Locks,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LockedFlake {
    nar_hash: Option<String>,
}

#[derive(Deserialize)]
struct Locks {
    root: String,
    nodes: BTreeMap<String, LocksNode>,
}

#[derive(Deserialize)]
struct LocksNode {
    #[serde(default)]
    inputs: BTreeMap<String, serde_json::Value>,
}

/// Lets `nix` fetch a flake and lock its reference: what is built is what was looked at.
pub(super) fn locate_fetched(
    nix: &Nix<'_>,
    flake: &str,
    options: &MaterializeOptions<'_>,
) -> Result<Located, NixError> {
    options.progress.stage("fetching the flake", None);
    let answer = nix
        .run(
            &["flake", "metadata"],
            &["--no-write-lock-file", "--show-trace", "--json", flake],
        )
        .map_err(|source| evaluate_failed(flake, source))?;
    let metadata: Metadata =
        serde_json::from_slice(&answer).map_err(|source| NixError::Answer {
            question: "flake metadata",
            source,
        })?;
    let path = store_path(&metadata.path)?;
    let hash = metadata.locked.nar_hash.unwrap_or_default();
    let nar_hash = digest_of(&hash).ok_or_else(|| NixError::NarHash {
        path: path.into(),
        hash: hash.clone(),
    })?;
    let root = metadata.locks.nodes.get(&metadata.locks.root);
    let inputs: Vec<_> = root.map_or(Vec::new(), |root| root.inputs.keys().cloned().collect());
    let source = physical(options.nix.directory, path);
    let lock = lock::read(&source, &inputs).map_err(NixError::Lock)?;
    Ok(Located {
        name: metadata.url.clone(),
        url: metadata.url,
        nar_hash,
        lock,
    })
}

/// The digest in the form of `narHash`, without its `sha256-`.
fn base64(digest: Digest) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(44);
    for chunk in digest.as_bytes().chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..=chunk.len() {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(char::from(ALPHABET[value as usize]));
        }
        text.extend(std::iter::repeat_n('=', 3 - chunk.len()));
    }
    text
}
