//! How many spares are kept of what.

use std::{fs, io, path::PathBuf};

use mvm_contract::{Coded, ErrorCode, Resources};
use mvm_image::Digest;
use serde::{Deserialize, Serialize};

use crate::{durable, home::Home};

/// The environment variable that turns spares off when it is `off`: none is claimed, none is made.
pub const MVM_SPARES: &str = "MVM_SPARES";
/// How long a spare waits to be claimed.
pub const DEFAULT_IDLE_SECONDS: u64 = 600;
/// Kept of what nobody has decided on.
const DEFAULT_SIZE: u32 = 1;

/// How many spares there are to be, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolSettings {
    pub(crate) size: u32,
    pub(crate) idle_seconds: u64,
}

/// What spares are kept of, as it was asked for. Settings belong to it, and not to a template: an
/// image that is built anew has another template and the same pool. They are read when something
/// is decided by them, so that no process acts by what was decided before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolName {
    pub(crate) image: String,
    pub(crate) resources: Resources,
}

/// What somebody decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolFile {
    pub(crate) pool: PoolName,
    pub(crate) settings: PoolSettings,
}

/// Why the settings of a pool could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} `{}`", path.display())]
pub struct PoolError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Coded for PoolError {
    fn code(&self) -> ErrorCode {
        ErrorCode::SandboxUnavailable
    }
}

fn failed(doing: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> PoolError {
    move |source| PoolError {
        doing,
        path,
        source,
    }
}

fn path(home: &Home, pool: &PoolName) -> PathBuf {
    let addressed = serde_json::to_vec(pool).unwrap_or_default();
    let name = &Digest::of(&addressed).hex()[..32];
    home.pools().join(format!("{name}.json"))
}

/// The settings of a pool; none is kept where spares are turned off.
pub(crate) fn load(home: &Home, pool: &PoolName) -> Result<PoolSettings, PoolError> {
    if std::env::var_os(MVM_SPARES).is_some_and(|value| value == "off") {
        return Ok(PoolSettings {
            size: 0,
            idle_seconds: DEFAULT_IDLE_SECONDS,
        });
    }
    let path = path(home, pool);
    match fs::read(&path) {
        Ok(bytes) => parse(&bytes)
            .map(|file| file.settings)
            .map_err(failed("read", path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(PoolSettings {
            size: DEFAULT_SIZE,
            idle_seconds: DEFAULT_IDLE_SECONDS,
        }),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Records what somebody decided.
pub(crate) fn store(home: &Home, file: &PoolFile) -> Result<(), PoolError> {
    let path = path(home, &file.pool);
    let bytes = serde_json::to_vec_pretty(file).map_err(io::Error::from);
    bytes
        .and_then(|bytes| durable::replace(&path, &bytes))
        .map_err(failed("write", path))
}

/// Everything that was decided.
pub(crate) fn all(home: &Home) -> Result<Vec<PoolFile>, PoolError> {
    let directory = home.pools();
    let mut found = Vec::new();
    let entries = fs::read_dir(&directory).map_err(failed("list", directory))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let read = fs::read(&path).and_then(|bytes| parse(&bytes));
            found.push(read.map_err(failed("read", path))?);
        }
    }
    Ok(found)
}

fn parse(bytes: &[u8]) -> io::Result<PoolFile> {
    Ok(serde_json::from_slice(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decided_for_one_shape_is_not_so_for_another() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::open(root.path()).unwrap();
        let resources = Resources::default();
        let name = |image: &str, resources: &Resources| PoolName {
            image: image.to_owned(),
            resources: *resources,
        };
        let size =
            |image: &str, resources: &Resources| load(&home, &name(image, resources)).unwrap().size;
        assert_eq!(size("debian:python", &resources), DEFAULT_SIZE);
        let settings = PoolSettings {
            size: 3,
            idle_seconds: 5,
        };
        let file = PoolFile {
            pool: name("debian:python", &resources),
            settings,
        };
        store(&home, &file).unwrap();
        assert_eq!(size("debian:python", &resources), 3);
        let larger = Resources {
            memory_mib: 512,
            ..resources
        };
        assert_eq!(size("debian:python", &larger), DEFAULT_SIZE);
        assert_eq!(all(&home).unwrap(), [file]);
    }
}
