//! `nix:FLAKE#ATTRIBUTE`: a package of a flake, built by the real `nix`, as a root filesystem.
//!
//! `nix` works in a store of mvm's own, so that it needs neither root nor a daemon, and nothing of
//! the host's store gets into an image unseen. It builds in its sandbox or not at all. What it
//! built is not taken at its word: every path of the closure is read and hashed again in the form
//! of a NAR, and those bytes go into the image.

mod archive;
mod closure;
mod error;
mod lock;
mod program;
mod reference;
mod tree;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use archive::ArchiveError;
pub(crate) use closure::Closure;
pub use closure::ClosurePath;
pub use error::NixError;
pub use lock::{FlakeLock, ReadLockError};
pub use program::RunNixError;
pub use reference::{Flake, NixReference};
pub(crate) use reference::{is_attribute, is_flake};
pub(crate) use tree::Packed;

use crate::materialize::MaterializeOptions;
use crate::store::{RecordName, Store};
use closure::{digest_of, store_path};
use mvm_contract::{Digest, canonical};
use program::{Nix, physical};

/// How `nix` is run.
#[derive(Debug, Clone, Copy)]
pub struct NixOptions<'a> {
    /// Where it works: its store, its caches and its logs. Made when it is needed.
    pub directory: &'a Path,
    /// Whether it may not use the network.
    pub offline: bool,
    /// The longest that one run of it may take.
    pub time_limit: Duration,
}

/// Where an image made by `nix` comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NixProvenance {
    /// The flake that was built: its directory, or what `nix` locked the reference to.
    pub flake: String,
    /// Which of its outputs.
    pub attribute: String,
    /// Digest of the NAR of the flake's own files.
    pub flake_nar_hash: Digest,
    /// What its inputs are locked to.
    pub lock: FlakeLock,
    /// The derivation: `/nix/store/HASH-NAME.drv`.
    pub derivation: String,
    /// The store path whose tree is the image's root.
    pub output: String,
    /// The closure, in the order of its paths.
    pub closure: Vec<ClosurePath>,
}

/// A built closure, not yet packed.
pub(crate) struct Resolved {
    pub closure: Closure,
    pub provenance: NixProvenance,
}

/// A flake that `nix` can be given.
struct Located {
    /// As `nix` takes it.
    url: String,
    /// As a message names it.
    name: String,
    nar_hash: Digest,
    lock: FlakeLock,
}

/// Builds what `reference` names, or knows from the store's records what it gives.
///
/// A pin and a lock are checked before anything is fetched or built.
pub(crate) fn resolve(
    store: &Store,
    reference: &NixReference,
    options: &MaterializeOptions<'_>,
) -> Result<Resolved, NixError> {
    let directory = match &reference.flake {
        Flake::Directory(directory) => Some(check_directory(directory, reference.pin, options)?),
        Flake::Fetched(_) => None,
    };
    if let Some((_, nar_hash)) = directory
        && let Some(resolved) = resolved_before(store, nar_hash, &reference.attribute)?
    {
        return Ok(resolved);
    }
    let log = prepare(options.nix.directory, reference)?;
    let name = match &directory {
        Some((path, _)) => path.display().to_string(),
        None => reference.to_string(),
    };
    let nix = Nix::new(&options.nix, options.progress, log)
        .map_err(|source| evaluate_failed(&name, source))?;
    let located = match (&directory, &reference.flake) {
        (Some((path, nar_hash)), _) => locate_directory(&nix, path, *nar_hash, reference)?,
        (None, Flake::Fetched(flake)) => locate_fetched(&nix, flake, options)?,
        (None, Flake::Directory(_)) => unreachable!("a directory was checked above"),
    };
    let resolved = build(&nix, located, reference, options)?;
    options.progress.finish();
    let key = record_name(resolved.provenance.flake_nar_hash, &reference.attribute)?;
    store
        .save_record(&key, &resolved.provenance)
        .map_err(NixError::Store)?;
    Ok(resolved)
}

/// Packs what was resolved.
pub(crate) fn pack(
    store: &Store,
    resolved: &Resolved,
    options: &MaterializeOptions<'_>,
) -> Result<Packed, NixError> {
    options.progress.stage("checking the closure", None);
    let (directory, limits) = (options.nix.directory, &options.limits);
    let packed = tree::pack(
        &resolved.closure,
        directory,
        store,
        limits,
        options.progress,
    )?;
    options.progress.finish();
    Ok(packed)
}

/// The flake's directory without symlinks, and the digest of its NAR, which is the pin's.
fn check_directory(
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
    let digest = archive::archive(&path, &options.limits, &mut archive::Nothing);
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

/// What a flake with these bytes gave, if all that it takes in was locked then.
fn resolved_before(
    store: &Store,
    nar_hash: Digest,
    attribute: &str,
) -> Result<Option<Resolved>, NixError> {
    let key = record_name(nar_hash, attribute)?;
    let provenance = store
        .load_record::<NixProvenance>(&key)
        .map_err(NixError::Store)?;
    Ok(provenance
        .filter(|provenance| !matches!(provenance.lock, FlakeLock::Unlocked { .. }))
        .map(|provenance| Resolved {
            closure: Closure {
                output: provenance.output.clone(),
                paths: provenance.closure.clone(),
            },
            provenance,
        }))
}

fn record_name(nar_hash: Digest, attribute: &str) -> Result<RecordName, NixError> {
    let key = canonical::to_bytes(&(nar_hash, attribute)).expect("texts can be written");
    RecordName::new("nix", Digest::of(&key).hex().as_str()).map_err(NixError::Store)
}

/// Makes the place that `nix` works in, and returns the path of the log.
fn prepare(directory: &Path, reference: &NixReference) -> Result<PathBuf, NixError> {
    let logs = directory.join("log");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&logs)
        .map_err(|source| NixError::CreateDirectory {
            path: logs.clone(),
            source,
        })?;
    let name = Digest::of(reference.to_string().as_bytes()).hex();
    Ok(logs.join(format!("{}.log", &name[..32])))
}

/// Names of the inputs of a `flake.nix`, those that only its function names among them.
const INPUTS: &str = "flake: builtins.attrNames ((flake.inputs or {}) \
     // builtins.removeAttrs (builtins.functionArgs flake.outputs) [ \"self\" ])";

/// Looks at what the flake takes in, with neither network nor any file outside it.
fn locate_directory(
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
    nodes: std::collections::BTreeMap<String, LocksNode>,
}

#[derive(Deserialize)]
struct LocksNode {
    #[serde(default)]
    inputs: std::collections::BTreeMap<String, serde_json::Value>,
}

/// Lets `nix` fetch a flake and lock its reference: what is built is what was looked at.
fn locate_fetched(
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuildResult {
    drv_path: Option<String>,
    outputs: std::collections::BTreeMap<String, String>,
}

fn build(
    nix: &Nix<'_>,
    located: Located,
    reference: &NixReference,
    options: &MaterializeOptions<'_>,
) -> Result<Resolved, NixError> {
    options.progress.stage("building with nix", None);
    let attribute = &reference.attribute;
    let installable = format!("{}#{attribute}", located.url);
    #[rustfmt::skip]
    let mut arguments = vec![
        "--no-link", "--json", "--print-build-logs", "--show-trace", "--no-write-lock-file",
    ];
    if !matches!(located.lock, FlakeLock::Unlocked { .. }) {
        // There is nothing to look up: a lock that turns out not to be one is refused.
        arguments.extend([
            "--no-update-lock-file",
            "--option",
            "use-registries",
            "false",
        ]);
    }
    arguments.push(&installable);
    let answer = nix
        .run(&["build"], &arguments)
        .map_err(|source| build_failed(&located.name, attribute, source))?;
    let results: Vec<BuildResult> =
        serde_json::from_slice(&answer).map_err(|source| NixError::Answer {
            question: "build",
            source,
        })?;
    let no_output = || NixError::NoOutput {
        attribute: attribute.clone(),
    };
    let [result] = results.as_slice() else {
        return Err(no_output());
    };
    let output = store_path(result.outputs.get("out").ok_or_else(no_output)?)?;
    let derivation = store_path(result.drv_path.as_deref().ok_or_else(no_output)?)?;
    let answer = nix
        .run(&["path-info"], &["--recursive", "--json", output])
        .map_err(|source| NixError::ListClosure {
            path: output.into(),
            source,
        })?;
    let closure = Closure::read(output, &answer, &options.limits)?;
    Ok(Resolved {
        provenance: NixProvenance {
            flake: located.name,
            attribute: attribute.clone(),
            flake_nar_hash: located.nar_hash,
            lock: located.lock,
            derivation: derivation.into(),
            output: output.into(),
            closure: closure.paths.clone(),
        },
        closure,
    })
}

fn evaluate_failed(flake: &str, source: RunNixError) -> NixError {
    if let Some(error) = fetch_failed(flake, &source) {
        return error;
    }
    NixError::Evaluate {
        flake: flake.into(),
        source,
    }
}

fn build_failed(flake: &str, attribute: &str, source: RunNixError) -> NixError {
    if let Some(error) = fetch_failed(flake, &source) {
        return error;
    }
    let (flake, attribute) = (flake.into(), attribute.into());
    match &source {
        RunNixError::Failed { tail, .. } if tail.contains("does not provide attribute") => {
            NixError::NoSuchAttribute {
                flake,
                attribute,
                source,
            }
        }
        _ => NixError::Build {
            flake,
            attribute,
            source,
        },
    }
}

/// What cannot be fetched, if that is why `nix` failed: in its own words, which name the host.
fn fetch_failed(flake: &str, source: &RunNixError) -> Option<NixError> {
    const COMPLAINTS: [&str; 5] = [
        "unable to download",
        "unable to access",
        "Could not resolve host",
        "Couldn't resolve host",
        "in the flake registries",
    ];
    let RunNixError::Failed { tail, .. } = source else {
        return None;
    };
    let complaint = tail.lines().find(|line| {
        // What only slows it down is a warning. What a builder says has its name before it.
        let own = line.starts_with("error: ") || line.starts_with("fatal: ");
        own && COMPLAINTS.iter().any(|complaint| line.contains(complaint))
    })?;
    let input = tail.lines().find_map(|line| {
        let (_, input) = line.split_once("while updating the flake input '")?;
        input.split_once('\'').map(|(input, _)| input.to_owned())
    });
    Some(NixError::Fetch {
        flake: flake.into(),
        input,
        complaint: complaint.into(),
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
