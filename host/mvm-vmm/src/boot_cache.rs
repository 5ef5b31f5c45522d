//! Facts that hold until the host reboots, kept in a directory the caller names.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A cached fact could not be stored.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{path}`")]
pub struct CacheError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

#[derive(Serialize, Deserialize)]
struct Entry<T> {
    boot: String,
    key: String,
    fact: T,
}

/// Where facts are kept.
#[derive(Debug, Clone)]
pub(crate) struct BootCache {
    directory: PathBuf,
    boot: Option<String>,
}

impl BootCache {
    pub(crate) fn open(directory: &Path) -> BootCache {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        BootCache {
            directory: directory.to_owned(),
            boot: boot.map(|id| id.trim().to_owned()),
        }
    }

    /// The fact stored under `name` since the host started, if `key` is what it
    /// was then. A file that cannot be read or understood counts as absent.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str, key: &str) -> Option<T> {
        let text = fs::read(self.path(name)).ok()?;
        let entry: Entry<T> = serde_json::from_slice(&text).ok()?;
        (Some(&entry.boot) == self.boot.as_ref() && entry.key == key).then_some(entry.fact)
    }

    /// Stores a fact; a host without a boot id stores nothing.
    pub(crate) fn write<T: Serialize>(
        &self,
        name: &str,
        key: &str,
        fact: &T,
    ) -> Result<(), CacheError> {
        let Some(boot) = &self.boot else {
            return Ok(());
        };
        let path = self.path(name);
        let store = || -> io::Result<()> {
            fs::create_dir_all(&self.directory)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            let entry = Entry {
                boot: boot.clone(),
                key: key.to_owned(),
                fact,
            };
            serde_json::to_writer(&mut file, &entry)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            fs::File::open(&self.directory)?.sync_all()
        };
        store().map_err(|source| CacheError {
            path: path.clone(),
            source,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_found_again_under_its_key_only() {
        let directory = tempfile::tempdir().unwrap();
        let cache = BootCache::open(&directory.path().join("deep/cache"));
        assert_eq!(cache.read::<u64>("tsc", "a"), None);
        cache.write("tsc", "a", &7u64).unwrap();
        assert_eq!(cache.read::<u64>("tsc", "a"), Some(7));
        assert_eq!(cache.read::<u64>("tsc", "b"), None);
        let later = BootCache {
            boot: Some("another boot".to_owned()),
            ..cache.clone()
        };
        assert_eq!(later.read::<u64>("tsc", "a"), None);
        fs::write(cache.path("tsc"), "{\"boot\":").unwrap();
        assert_eq!(cache.read::<u64>("tsc", "a"), None);
    }
}
