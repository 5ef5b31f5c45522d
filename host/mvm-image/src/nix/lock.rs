//! `flake.lock`: whether it pins everything that a flake takes in (format version 7).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use mvm_contract::Digest;

/// Largest lock file, in bytes.
const MAX_LOCK: u64 = 4 << 20;

/// What is known of a flake's inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FlakeLock {
    /// It has no inputs, and needs no lock.
    NoInputs,
    /// Its `flake.lock` names a hash of each.
    Locked {
        /// Of `flake.lock`.
        digest: Digest,
    },
    /// What these inputs are can change.
    Unlocked {
        /// Their names; those of an input's inputs as `NODE/NAME`.
        inputs: Vec<String>,
    },
}

/// Why a `flake.lock` cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadLockError {
    /// It cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is too large.
    #[error("`{}` has more than {MAX_LOCK} bytes", path.display())]
    Size {
        /// The lock file.
        path: PathBuf,
    },
    /// It is not of the known form.
    #[error("`{}` is not a lock file", path.display())]
    Form {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// Its version is not known.
    #[error("`{}` is of version {version}, and 5 to 7 are known", path.display())]
    Version {
        /// The lock file.
        path: PathBuf,
        /// What it says.
        version: u64,
    },
}

#[derive(Deserialize)]
struct LockFile {
    version: u64,
    root: String,
    nodes: BTreeMap<String, LockNode>,
}

#[derive(Deserialize)]
struct LockNode {
    /// Names to a node, or to a path of inputs that is followed.
    #[serde(default)]
    inputs: BTreeMap<String, serde_json::Value>,
    locked: Option<Locked>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Locked {
    nar_hash: Option<String>,
}

/// Whether the lock file of the flake in `directory` covers `inputs`, those that its `flake.nix`
/// names, and theirs.
pub(super) fn read(directory: &Path, inputs: &[String]) -> Result<FlakeLock, ReadLockError> {
    if inputs.is_empty() {
        return Ok(FlakeLock::NoInputs);
    }
    let path = directory.join("flake.lock");
    let unlocked = |inputs| Ok(FlakeLock::Unlocked { inputs });
    let size = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return unlocked(inputs.into()),
        Err(source) => return Err(ReadLockError::Read { path, source }),
    };
    if size > MAX_LOCK {
        return Err(ReadLockError::Size { path });
    }
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(ReadLockError::Read { path, source }),
    };
    let lock: LockFile = match serde_json::from_slice(&bytes) {
        Ok(lock) => lock,
        Err(source) => return Err(ReadLockError::Form { path, source }),
    };
    if !(5..=7).contains(&lock.version) {
        let version = lock.version;
        return Err(ReadLockError::Version { path, version });
    }
    let open = open_inputs(&lock, inputs);
    if open.is_empty() {
        let digest = Digest::of(&bytes);
        Ok(FlakeLock::Locked { digest })
    } else {
        unlocked(open)
    }
}

/// Inputs without a hash, of all nodes that the root reaches.
fn open_inputs(lock: &LockFile, declared: &[String]) -> Vec<String> {
    let mut open = Vec::new();
    let root = lock.nodes.get(&lock.root);
    for name in declared {
        if root.is_none_or(|root| !root.inputs.contains_key(name)) {
            open.push(name.clone());
        }
    }
    let mut seen = BTreeSet::from([lock.root.as_str()]);
    let mut ahead = vec![lock.root.as_str()];
    while let Some(name) = ahead.pop() {
        let Some(node) = lock.nodes.get(name) else {
            continue;
        };
        for (input, target) in &node.inputs {
            // What is followed ends at a node that the root reaches otherwise.
            let Some(target) = target.as_str() else {
                continue;
            };
            let pinned = lock.nodes.get(target).is_some_and(|node| {
                let locked = node.locked.as_ref();
                locked.is_some_and(|locked| locked.nar_hash.is_some())
            });
            if !pinned {
                let at_root = name == lock.root;
                open.push(if at_root {
                    input.clone()
                } else {
                    format!("{name}/{input}")
                });
            }
            if seen.insert(target) {
                ahead.push(target);
            }
        }
    }
    open.sort();
    open.dedup();
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(lock: Option<&str>, inputs: &[&str]) -> Result<FlakeLock, ReadLockError> {
        let directory = tempfile::tempdir().unwrap();
        if let Some(lock) = lock {
            fs::write(directory.path().join("flake.lock"), lock).unwrap();
        }
        let inputs: Vec<_> = inputs.iter().map(|name| (*name).to_owned()).collect();
        read(directory.path(), &inputs)
    }

    const LOCK: &str = r#"{"version": 7, "root": "root", "nodes": {
        "root": {"inputs": {"a": "a", "b": ["a", "b"]}},
        "a": {"inputs": {"b": "b"}, "locked": {"narHash": "sha256-x"}, "original": {}},
        "b": {"locked": {"narHash": "sha256-y"}}}}"#;

    #[test]
    fn a_lock_covers_every_input_or_names_those_it_does_not() {
        assert_eq!(state(None, &[]).unwrap(), FlakeLock::NoInputs);
        let digest = Digest::of(LOCK.as_bytes());
        assert_eq!(
            state(Some(LOCK), &["a", "b"]).unwrap(),
            FlakeLock::Locked { digest }
        );
        let open = |lock: Option<&str>, inputs: &[&str]| match state(lock, inputs).unwrap() {
            FlakeLock::Unlocked { inputs } => inputs,
            other => panic!("{other:?}"),
        };
        assert_eq!(open(None, &["a"]), ["a"]);
        assert_eq!(open(Some(LOCK), &["a", "c"]), ["c"]);
        let unhashed = LOCK.replace(r#"{"narHash": "sha256-y"}"#, "{}");
        assert_eq!(open(Some(&unhashed), &["a"]), ["a/b"]);
        let missing = LOCK.replace(r#""b": {"locked""#, r#""c": {"locked""#);
        assert_eq!(open(Some(&missing), &["a"]), ["a/b"]);
    }

    #[test]
    fn what_is_no_lock_is_refused() {
        assert!(matches!(
            state(Some("{}"), &["a"]),
            Err(ReadLockError::Form { .. })
        ));
        let newer = LOCK.replace("7", "8");
        assert!(matches!(
            state(Some(&newer), &["a"]),
            Err(ReadLockError::Version { version: 8, .. })
        ));
    }
}
