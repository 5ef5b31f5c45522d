//! `nix:FLAKE#ATTRIBUTE`: a package of a flake, built by the real `nix`, as a root filesystem.
//!
//! `nix` works in a store of mvm's own, so that it needs neither root nor a daemon, and nothing of
//! the host's store gets into an image unseen. It builds in its sandbox or not at all. What it
//! built is not taken at its word: every path of the closure is read and hashed again in the form
//! of a NAR, and those bytes go into the image.

mod archive;
mod closure;
mod error;
mod failure;
mod layer;
mod locate;
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
use closure::store_path;
use failure::{build_failed, evaluate_failed};
use locate::{Located, check_directory, locate_directory, locate_fetched};
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

/// Builds what `reference` names, or knows from the store's records what it gives.
///
/// A pin and a lock are checked before anything is fetched or built.
pub(crate) fn resolve(
    store: &Store,
    reference: &NixReference,
    options: &MaterializeOptions<'_>,
) -> Result<Resolved, NixError> {
    let directory = find_directory(reference, options)?;
    if let Some((_, nar_hash)) = directory
        && let Some(resolved) = resolved_before(store, nar_hash, &reference.attribute)?
    {
        return Ok(resolved);
    }
    resolve_anew(store, reference, directory, options)
}

/// What was resolved, once all of it is there: `nix` is asked again where its store is gone.
pub(crate) fn complete(
    store: &Store,
    reference: &NixReference,
    resolved: Resolved,
    options: &MaterializeOptions<'_>,
) -> Result<Resolved, NixError> {
    let is_there = |path: &ClosurePath| {
        physical(options.nix.directory, &path.path)
            .symlink_metadata()
            .is_ok()
    };
    if resolved.closure.paths.iter().all(is_there) {
        return Ok(resolved);
    }
    let directory = find_directory(reference, options)?;
    resolve_anew(store, reference, directory, options)
}

/// The flake's directory, where it is in one, without symlinks, and the digest of its NAR.
fn find_directory(
    reference: &NixReference,
    options: &MaterializeOptions<'_>,
) -> Result<Option<(PathBuf, Digest)>, NixError> {
    match &reference.flake {
        Flake::Directory(directory) => check_directory(directory, reference.pin, options).map(Some),
        Flake::Fetched(_) => Ok(None),
    }
}

fn resolve_anew(
    store: &Store,
    reference: &NixReference,
    directory: Option<(PathBuf, Digest)>,
    options: &MaterializeOptions<'_>,
) -> Result<Resolved, NixError> {
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

/// The closure as an image of one layer, to put others above.
pub(crate) fn resolve_layer(
    store: &Store,
    reference: &NixReference,
    options: &MaterializeOptions<'_>,
) -> Result<crate::oci::Resolved, NixError> {
    let resolved = resolve(store, reference, options)?;
    let resolved = complete(store, reference, resolved, options)?;
    let packed = pack(store, &resolved, options)?;
    let layer = layer::layer(&packed, store)?;
    Ok(crate::oci::Resolved {
        manifest: resolved.closure.manifest(),
        config: packed.config,
        layers: vec![layer],
    })
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
