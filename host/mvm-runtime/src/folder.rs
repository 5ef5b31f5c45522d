//! Folders that belong to a process: locked while it lives, gone when it did not finish.
//!
//! A maker holds an exclusive lock (`flock(2)`) on `lock` in its folder for as long as it lives,
//! however it dies; whoever can take that lock owns what is left.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{home::Home, random};

pub(crate) const LOCK_NAME: &str = "lock";
/// The lock before it is locked.
const UNLOCKED_NAME: &str = ".lock.new";

/// A folder could not be made, locked, moved or removed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} `{}`", path.display())]
pub struct FolderError {
    /// What was being done.
    pub doing: &'static str,
    /// The folder or file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl FolderError {
    pub(crate) fn new<'a>(
        doing: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> FolderError + use<'a> {
        move |source| FolderError {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

/// The held lock of a folder.
#[derive(Debug)]
pub(crate) struct FolderLock(#[expect(dead_code, reason = "held, never read")] File);

impl FolderLock {
    /// Takes the lock of a folder; `None` when another process holds it or there is no folder.
    pub(crate) fn try_take(folder: &Path) -> Result<Option<Self>, FolderError> {
        let path = folder.join(LOCK_NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(FolderError::new("open", &path)(error)),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(FolderError::new("lock", &path)(error)),
        }
    }

    /// Whether a living process holds the lock of a folder.
    pub(crate) fn is_held(folder: &Path) -> bool {
        folder.join(LOCK_NAME).exists() && matches!(Self::try_take(folder), Ok(None))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// A new folder, locked, and removed when it is dropped before it was [kept](Self::keep).
#[derive(Debug)]
pub(crate) struct LockedFolder {
    path: PathBuf,
    lock: Option<FolderLock>,
}

impl LockedFolder {
    /// Makes a folder (mode 0700) that is not there yet.
    pub(crate) fn create(parent: &Path, name: &str) -> Result<Self, FolderError> {
        let path = parent.join(name);
        let making = File::open(parent).map_err(FolderError::new("open", parent))?;
        making
            .lock_shared()
            .map_err(FolderError::new("lock", parent))?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(FolderError::new("create", &path))?;
        // Locked before it has its name: nobody ever sees an unlocked lock of a living maker.
        let unnamed = path.join(UNLOCKED_NAME);
        let open = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unnamed);
        let file = open.map_err(FolderError::new("create", &unnamed))?;
        file.lock().map_err(FolderError::new("lock", &unnamed))?;
        fs::rename(&unnamed, path.join(LOCK_NAME)).map_err(FolderError::new("rename", &unnamed))?;
        drop(making);
        Ok(Self {
            path,
            lock: Some(FolderLock(file)),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the folder another name in one step; what is there must be an empty folder or nothing.
    pub(crate) fn rename(&mut self, to: &Path) -> Result<(), FolderError> {
        fs::rename(&self.path, to).map_err(FolderError::new("publish", &self.path))?;
        self.path = to.to_owned();
        Ok(())
    }

    /// Lets the folder stay, and gives its lock.
    pub(crate) fn keep(mut self) -> FolderLock {
        self.lock
            .take()
            .expect("taken only here, where the folder is consumed")
    }
}

impl Drop for LockedFolder {
    fn drop(&mut self) {
        if self.lock.is_some() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// For a folder whose maker died before it had locked it: while what is given lives, no other
/// folder is made beside it. Makers share a lock of the parent until theirs is locked.
pub(crate) fn died_unlocked(folder: &Path) -> Option<File> {
    let parent = File::open(folder.parent()?).ok()?;
    parent.try_lock().ok()?;
    let mut entries = fs::read_dir(folder).ok()?;
    let is_new = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name() == UNLOCKED_NAME)
    };
    entries.all(is_new).then_some(parent)
}

/// Removes a folder such that nobody ever sees a part of it. One that is gone is no error.
pub(crate) fn discard(home: &Home, folder: &Path) -> Result<(), FolderError> {
    let failed = || FolderError::new("remove", folder);
    let bits = random::bits().map_err(failed())?;
    let doomed = home.staging().join(format!("{bits:032x}.removed"));
    match fs::rename(folder, &doomed) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed()(error)),
    }
    fs::remove_dir_all(&doomed).map_err(FolderError::new("remove", &doomed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_whose_maker_died_before_it_was_locked_is_known() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("one");
        fs::create_dir(&path).unwrap();
        drop(died_unlocked(&path).unwrap());
        fs::write(path.join(UNLOCKED_NAME), "").unwrap();
        let alone = died_unlocked(&path).unwrap();
        assert!(died_unlocked(&path).is_none(), "one at a time");
        drop(alone);
        let making = File::open(root.path()).unwrap();
        making.lock_shared().unwrap();
        assert!(died_unlocked(&path).is_none(), "its maker may live");
        drop(making);
        fs::rename(path.join(UNLOCKED_NAME), path.join(LOCK_NAME)).unwrap();
        assert!(died_unlocked(&path).is_none(), "it was locked");
        fs::write(root.path().join("file"), "").unwrap();
        assert!(died_unlocked(&root.path().join("file")).is_none());
    }

    #[test]
    fn a_folder_is_its_makers_until_it_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        let folder = LockedFolder::create(root.path(), "one").unwrap();
        let path = folder.path().to_owned();
        assert!(FolderLock::is_held(&path));
        assert!(FolderLock::try_take(&path).unwrap().is_none());
        assert!(LockedFolder::create(root.path(), "one").is_err());
        drop(folder);
        assert!(!path.exists() && !FolderLock::is_held(&path));
        let mut folder = LockedFolder::create(root.path(), "two").unwrap();
        folder.rename(&root.path().join("three")).unwrap();
        drop(folder.keep());
        assert!(
            FolderLock::try_take(&root.path().join("three"))
                .unwrap()
                .is_some()
        );
    }
}
