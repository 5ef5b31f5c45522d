//! Which sandboxes there are: reading the state directory, and clearing what the dead left.
//!
//! A sandbox's supervisor holds an exclusive lock (`flock(2)`) on `lock` in its folder for as
//! long as it lives, however it dies. Whoever can take that lock owns what is left: a leased
//! sandbox is removed, a detached one that should run is marked failed. A folder is filled in
//! `staging/` before it appears in `sandboxes/`, and goes back there before it is removed, so
//! a folder that can be seen is whole.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use mvm_contract::{Coded, ErrorCode, IdentityError, LifecycleState, SandboxId, SandboxName};

use crate::{
    admission::{self, AdmissionError},
    folder::{FolderError, FolderLock, LOCK_NAME, LockedFolder, died_unlocked, discard},
    home::Home,
    record::{Ownership, RecordError, SandboxRecord},
    snapshot::{self, COLD},
};

/// What is in `staging/` without a lock is younger than this when its maker still lives.
const STAGING_GRACE: Duration = Duration::from_secs(60);

/// Why the state directory could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No such sandbox.
    #[error("there is no sandbox `{sandbox}`")]
    NotFound {
        /// What was looked for.
        sandbox: String,
    },
    /// Neither a name nor an identifier.
    #[error("`{sandbox}` is neither a name nor an identifier of a sandbox")]
    Identity {
        /// What was looked for.
        sandbox: String,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// The name is in use.
    #[error("the name `{name}` is taken by sandbox `{id}`")]
    NameTaken {
        /// The name.
        name: SandboxName,
        /// Who has it.
        id: String,
    },
    /// A record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A sandbox's folder cannot be made, locked or moved.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file operation failed.
    #[error("failed to {doing} `{}`", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something could not be removed.
    #[error("failed to remove `{}`", path.display())]
    Remove {
        /// What is left behind.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Coded for RegistryError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::Identity { .. } | Self::NameTaken { .. } => ErrorCode::InvalidArgument,
            Self::Record(_) | Self::Folder(_) | Self::Io { .. } => ErrorCode::SandboxUnavailable,
            Self::Remove { .. } => ErrorCode::CleanupFailed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } | Self::Identity { .. } => {
                Some("see what there is with `mvmctl list`".to_owned())
            }
            Self::NameTaken { name, .. } => {
                Some(format!("choose another name, or `mvmctl destroy {name}`"))
            }
            Self::Remove { path, .. } => Some(format!("remove `{}` by hand", path.display())),
            Self::Record(_) => Some("remove the sandbox with `mvmctl destroy`".to_owned()),
            Self::Folder(_) | Self::Io { .. } => None,
        }
    }
}

fn io_error<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> RegistryError + use<'a> {
    move |source| RegistryError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// Makes a new sandbox's folder visible, and its name.
pub(crate) fn publish(
    home: &Home,
    mut folder: LockedFolder,
    record: &SandboxRecord,
) -> Result<FolderLock, RegistryError> {
    folder.rename(&home.sandbox(&record.id))?;
    if let Some(name) = &record.spec.name {
        // One that is refused its name goes with `folder`.
        claim_name(home, name, &record.id)?;
    }
    Ok(folder.keep())
}

/// A sandbox whose record cannot be read.
#[derive(Debug)]
pub struct UnreadableSandbox {
    /// Its identifier.
    pub id: SandboxId,
    /// Why.
    pub error: RegistryError,
}

/// Every sandbox, the oldest first. What the dead left is cleared on the way.
pub(crate) fn list(
    home: &Home,
) -> Result<Vec<Result<SandboxRecord, UnreadableSandbox>>, RegistryError> {
    clear_abandoned(home)?;
    let directory = home.sandboxes();
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory).map_err(io_error("list", &directory))? {
        let entry = entry.map_err(io_error("list", &directory))?;
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<SandboxId>().ok())
        else {
            continue;
        };
        match observe(home, &id) {
            Ok(Some(record)) => found.push(Ok(record)),
            Ok(None) => {}
            Err(error) => found.push(Err(UnreadableSandbox { id, error })),
        }
    }
    found.sort_by_cached_key(|sandbox| match sandbox {
        Ok(record) => (record.created_at_ms, record.id.clone()),
        Err(unreadable) => (0, unreadable.id.clone()),
    });
    Ok(found)
}

/// The sandbox of a name or identifier, as it is now.
pub(crate) fn find(home: &Home, sandbox: &str) -> Result<SandboxRecord, RegistryError> {
    let id = resolve(home, sandbox)?;
    observe(home, &id)?.ok_or_else(|| RegistryError::NotFound {
        sandbox: sandbox.to_owned(),
    })
}

/// The identifier of a name or identifier.
pub(crate) fn resolve(home: &Home, sandbox: &str) -> Result<SandboxId, RegistryError> {
    if let Ok(id) = sandbox.parse::<SandboxId>() {
        return Ok(id);
    }
    let name = sandbox
        .parse::<SandboxName>()
        .map_err(|source| RegistryError::Identity {
            sandbox: sandbox.to_owned(),
            source,
        })?;
    name_target(home, &name)?.ok_or_else(|| RegistryError::NotFound {
        sandbox: sandbox.to_owned(),
    })
}

/// The record of a sandbox as it is now; `None` when there is none. Takes over from a dead
/// supervisor.
fn observe(home: &Home, id: &SandboxId) -> Result<Option<SandboxRecord>, RegistryError> {
    let folder = home.sandbox(id);
    let Some(lock) = FolderLock::try_take(&folder)? else {
        return match SandboxRecord::read(&folder) {
            Ok(record) => Ok(Some(record)),
            Err(RecordError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        };
    };
    let mut record = SandboxRecord::read(&folder)?;
    if record.ownership == Ownership::Leased || record.has_expired() {
        remove_folder(home, id, &lock)?;
        return Ok(None);
    }
    let is_saved = snapshot::is_complete(&folder.join(COLD));
    let (state, reason) = match record.state {
        // It was saved, and its supervisor ended before it said so; or it ended while it came
        // back, which changes nothing of what was saved.
        _ if record.state.is_live() && is_saved => (LifecycleState::Cold, None),
        _ if record.state.is_live() => {
            let reason = "its supervisor ended unexpectedly".to_owned();
            (LifecycleState::Failed, Some(reason))
        }
        state => (state, record.reason.clone()),
    };
    if (state, &reason) != (record.state, &record.reason) {
        (record.state, record.reason) = (state, reason);
        record.write(&folder)?;
    }
    Ok(Some(record))
}

/// Removes a sandbox that no supervisor holds; `false` when one does.
pub(crate) fn remove_dead(home: &Home, id: &SandboxId) -> Result<bool, RegistryError> {
    match FolderLock::try_take(&home.sandbox(id))? {
        Some(lock) => remove_folder(home, id, &lock).map(|()| true),
        None => Ok(false),
    }
}

/// Why the end of a sandbox without a supervisor could not be set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetTtlError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Admission(#[from] AdmissionError),
}

/// Sets the end of a sandbox that no supervisor holds; `false` when one does.
pub(crate) fn set_dead_ttl(
    home: &Home,
    id: &SandboxId,
    seconds: Option<u64>,
) -> Result<bool, SetTtlError> {
    let folder = home.sandbox(id);
    if !folder.exists() {
        let sandbox = id.to_string();
        return Err(RegistryError::NotFound { sandbox }.into());
    }
    let Some(_lock) = FolderLock::try_take(&folder).map_err(RegistryError::from)? else {
        return Ok(false);
    };
    let mut record = SandboxRecord::read(&folder).map_err(RegistryError::from)?;
    admission::permit_ttl(home, &record, seconds)?;
    record.set_ttl(seconds);
    record.write(&folder).map_err(RegistryError::from)?;
    Ok(true)
}

/// Removes a sandbox's folder and name. The lock shows that nobody else does.
pub(crate) fn remove_folder(
    home: &Home,
    id: &SandboxId,
    _lock: &FolderLock,
) -> Result<(), RegistryError> {
    release_name(home, id)?;
    discard(home, &home.sandbox(id))
        .map_err(|FolderError { path, source, .. }| RegistryError::Remove { path, source })
}

/// Removes what dead processes left in `staging/` and `spares/`.
fn clear_abandoned(home: &Home) -> Result<(), RegistryError> {
    clear_folders(&home.staging())?;
    let spares = home.spares();
    for pool in fs::read_dir(&spares).map_err(io_error("list", &spares))? {
        let Ok(pool) = pool else { continue };
        clear_folders(&pool.path())?;
        // Only an empty one goes.
        let _ = fs::remove_dir(pool.path());
    }
    Ok(())
}

fn clear_folders(parent: &Path) -> Result<(), RegistryError> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("list", parent)(error)),
    };
    for entry in entries {
        let Ok(entry) = entry else { continue };
        let path = entry.path();
        let lock = FolderLock::try_take(&path)?;
        if lock.is_none()
            && !path.join(LOCK_NAME).exists()
            && let Some(_alone) = died_unlocked(&path)
        {
            remove_abandoned(&path);
            continue;
        }
        let abandoned = lock.is_some()
            || (!path.join(LOCK_NAME).exists()
                && entry
                    .metadata()
                    .and_then(|metadata| metadata.modified())
                    .is_ok_and(|modified| {
                        SystemTime::now()
                            .duration_since(modified)
                            .is_ok_and(|age| age > STAGING_GRACE)
                    }));
        if abandoned {
            remove_abandoned(&path);
        }
    }
    Ok(())
}

/// Removes what a dead process left. A supervisor may still write into the folder of a client that
/// died: under another name it is not found any more, and nothing is added while it is emptied.
fn remove_abandoned(path: &Path) {
    let doomed = path.with_extension("removed");
    let path = match fs::rename(path, &doomed) {
        Ok(()) => &doomed,
        Err(_) => path,
    };
    // Another process may be removing it too: what is gone is no error.
    let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
}

/// Whether a sandbox, a template or a snapshot is being made by a living process.
pub(crate) fn is_making(home: &Home) -> bool {
    let entries = fs::read_dir(home.staging()).into_iter().flatten().flatten();
    entries
        .into_iter()
        .any(|entry| FolderLock::is_held(&entry.path()))
}

/// Serialises changes of `names/`.
fn lock_names(home: &Home) -> Result<File, RegistryError> {
    let path = home.names().join(".lock");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(io_error("open", &path))?;
    file.lock().map_err(io_error("lock", &path))?;
    Ok(file)
}

fn name_target(home: &Home, name: &SandboxName) -> Result<Option<SandboxId>, RegistryError> {
    let link = home.names().join(name.as_str());
    match fs::read_link(&link) {
        Ok(target) => Ok(target.to_str().and_then(|target| target.parse().ok())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", &link)(error)),
    }
}

fn claim_name(home: &Home, name: &SandboxName, id: &SandboxId) -> Result<(), RegistryError> {
    let _names = lock_names(home)?;
    let link = home.names().join(name.as_str());
    if let Some(holder) = name_target(home, name)?
        && home.sandbox(&holder).exists()
    {
        return Err(RegistryError::NameTaken {
            name: name.clone(),
            id: holder.to_string(),
        });
    }
    // The name of a sandbox that is gone: its remover died in between.
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(id.as_str(), &link).map_err(io_error("create", &link))
}

fn release_name(home: &Home, id: &SandboxId) -> Result<(), RegistryError> {
    let Ok(SandboxRecord { spec, .. }) = SandboxRecord::read(&home.sandbox(id)) else {
        return Ok(());
    };
    let Some(name) = spec.name else { return Ok(()) };
    let _names = lock_names(home)?;
    if name_target(home, &name)?.as_ref() == Some(id) {
        let link = home.names().join(name.as_str());
        fs::remove_file(&link).map_err(|source| RegistryError::Remove { path: link, source })?;
    }
    Ok(())
}

/// Fails early when a name is in use; the supervisor's claim decides.
pub(crate) fn check_name_free(home: &Home, name: &SandboxName) -> Result<(), RegistryError> {
    match name_target(home, name)? {
        Some(holder) if observe(home, &holder)?.is_some() => Err(RegistryError::NameTaken {
            name: name.clone(),
            id: holder.to_string(),
        }),
        _ => Ok(()),
    }
}
