//! Taking content out of a store while others may need it.
//!
//! Who is about to use content [holds](Store::hold) the store, from before the content is looked up
//! until what uses it can be seen by others. Who removes content [clears](Store::clear) it: that
//! works only while nobody holds it, and nobody begins to until it is done.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::{RecordName, Store, StoreError};
use mvm_contract::Digest;

const LOCK: &str = "in-use.lock";

/// Keeps content from being removed, until it is dropped or its process dies.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "held, never read")] File);

/// The right to remove content, until it is dropped or its process dies.
#[derive(Debug)]
pub struct Clearing(#[expect(dead_code, reason = "held, never read")] File);

impl Store {
    /// Keeps all content from being removed; any number may. Waits for who removes some.
    pub fn hold(&self) -> Result<Hold, StoreError> {
        let path = self.root.join(LOCK);
        let file = open(&path)?;
        let locked = file.lock_shared();
        locked.map_err(|source| StoreError::Lock { path, source })?;
        Ok(Hold(file))
    }

    /// Takes the right to remove content; `None` when others hold it for longer than `patience`.
    pub fn clear(&self, patience: Duration) -> Result<Option<Clearing>, StoreError> {
        let path = self.root.join(LOCK);
        let file = open(&path)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Clearing(file))),
                Err(TryLockError::WouldBlock) if begun.elapsed() < patience => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err(StoreError::Lock { path, source }),
            }
        }
    }

    /// Removes content. Its seal goes first: what is left of a removal that broke off is not
    /// believed.
    pub fn remove(&self, digest: &Digest, _clearing: &Clearing) -> Result<(), StoreError> {
        let _publishing = self.lock("publish")?;
        for path in [self.seal_path(digest), self.blob_path(digest)] {
            remove_file(&path)?;
        }
        Ok(())
    }

    /// Removes a record.
    pub fn remove_record(&self, name: &RecordName, _clearing: &Clearing) -> Result<(), StoreError> {
        remove_file(&self.record_path(name))
    }

    /// The records in a folder that can be read as `T`, with their keys.
    pub fn records<T: DeserializeOwned>(
        &self,
        folder: &str,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let mut found = Vec::new();
        for file in list(&self.root.join("records").join(folder))? {
            let Some(key) = file.strip_suffix(".json") else {
                continue;
            };
            let Ok(name) = RecordName::new(folder, key) else {
                continue;
            };
            if let Some(record) = self.load_record(&name)? {
                found.push((key.to_owned(), record));
            }
        }
        Ok(found)
    }

    /// The digests of all content.
    pub fn contents(&self) -> Result<Vec<Digest>, StoreError> {
        let names = list(&self.root.join("blobs/sha256"))?;
        let digest = |name: &String| format!("sha256:{name}").parse().ok();
        Ok(names.iter().filter_map(digest).collect())
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(|source| StoreError::Lock {
        path: path.into(),
        source,
    })
}

fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StoreError::Remove {
            path: path.into(),
            source,
        }),
        _ => Ok(()),
    }
}

/// The names in a directory, in order.
fn list(directory: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |source| StoreError::Read {
        path: directory.into(),
        source,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn nothing_is_removed_while_somebody_holds_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (one, other) = (store.hold().unwrap(), store.hold().unwrap());
        assert!(store.clear(Duration::ZERO).unwrap().is_none());
        drop(one);
        assert!(store.clear(Duration::ZERO).unwrap().is_none());
        drop(other);
        let clearing = store.clear(Duration::ZERO).unwrap().unwrap();

        let (sender, receiver) = std::sync::mpsc::channel();
        let waiting = store.clone();
        let waiter = thread::spawn(move || {
            let hold = waiting.hold().unwrap();
            sender.send(()).unwrap();
            hold
        });
        assert!(receiver.recv_timeout(Duration::from_millis(200)).is_err());
        drop(clearing);
        receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(store.clear(Duration::ZERO).unwrap().is_none());
        drop(waiter.join().unwrap());
        assert!(store.clear(Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn what_is_removed_is_gone_with_its_seal_and_again_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut staging = store.begin().unwrap();
        staging.write_all(b"content").unwrap();
        let digest = store.publish(staging).unwrap().digest;
        let name = RecordName::new("folder", "key").unwrap();
        store.save_record(&name, &1).unwrap();
        assert_eq!(store.contents().unwrap(), [digest]);
        assert_eq!(
            store.records::<u32>("folder").unwrap(),
            [("key".to_owned(), 1)]
        );

        let clearing = store.clear(Duration::ZERO).unwrap().unwrap();
        for _ in 0..2 {
            store.remove(&digest, &clearing).unwrap();
            store.remove_record(&name, &clearing).unwrap();
        }
        assert!(store.entry(&digest).unwrap().is_none());
        assert!(!store.seal_path(&digest).exists());
        assert!(store.contents().unwrap().is_empty());
        assert!(store.records::<u32>("folder").unwrap().is_empty());
    }
}
