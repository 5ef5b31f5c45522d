//! Sandbox disks: sparse copies of an empty ext4 file system.

mod delta;

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{home::Home, random};
use mvm_contract::{Coded, ErrorCode};

pub(crate) use delta::{DiskDeltaError, apply as apply_delta, write as write_delta};

/// Room that must be free on the host's file system before a sandbox is made: enough for its
/// folder, its disk's metadata and some writes, so that a full host refuses instead of failing
/// half-way.
const MINIMUM_FREE_MIB: u64 = 64;

/// Why a disk could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// `mke2fs` is not installed.
    #[error("`mke2fs` is not installed")]
    NoMke2fs,
    /// `mke2fs` failed.
    #[error("`mke2fs` failed: {said}")]
    Mke2fs {
        /// Its last line.
        said: String,
    },
    /// The host's file system is full.
    #[error("the file system of `{}` has {free_mib} MiB free; a sandbox needs at least {MINIMUM_FREE_MIB} MiB", path.display())]
    HostFull {
        /// A directory on it.
        path: PathBuf,
        /// What is free.
        free_mib: u64,
    },
    /// A file operation failed.
    #[error("failed to {doing} `{}`", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Coded for DiskError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NoMke2fs | Self::Mke2fs { .. } => ErrorCode::BackendUnsupported,
            Self::HostFull { .. } | Self::Io { .. } => ErrorCode::SandboxUnavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoMke2fs => Some("install it: `apt-get install e2fsprogs`".to_owned()),
            Self::HostFull { .. } => {
                Some("free some space, or put the state elsewhere with `MVM_HOME`".to_owned())
            }
            _ => None,
        }
    }
}

fn io_error<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> DiskError + use<'a> {
    move |source| DiskError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// The empty file system of a size, made on first use.
pub(crate) fn empty(home: &Home, size_mib: u32) -> Result<PathBuf, DiskError> {
    let path = home.disks().join(format!("ext4-{size_mib}.img"));
    if path.exists() {
        return Ok(path);
    }
    let bits = random::bits().map_err(io_error("choose a name beside", &path))?;
    let temporary = home.staging().join(format!("disk-{bits:032x}"));
    let made = format(&temporary, size_mib)
        .and_then(|()| fs::rename(&temporary, &path).map_err(io_error("publish", &path)));
    if made.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    made.map(|()| path)
}

fn format(path: &Path, size_mib: u32) -> Result<(), DiskError> {
    let mut options = fs::OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    let file = file.map_err(io_error("create", path))?;
    file.set_len(u64::from(size_mib) << 20)
        .map_err(io_error("size", path))?;
    let output = Command::new(find_mke2fs().ok_or(DiskError::NoMke2fs)?)
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-b", "4096"])
        // The agent mounts without background initialisation; nothing else ever mounts it.
        .args([
            "-E",
            "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0",
        ])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(io_error("run `mke2fs` on", path))?;
    if !output.status.success() {
        return Err(DiskError::Mke2fs {
            said: last_line(&output.stderr).unwrap_or_else(|| "nothing".to_owned()),
        });
    }
    file.sync_all().map_err(io_error("sync", path))
}

/// The last line of some output that says something.
pub(crate) fn last_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().to_owned())
}

/// `mke2fs` lives in `/sbin`, which is on few users' `PATH`.
pub(crate) fn find_mke2fs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join("mke2fs"))
        .find(|program| program.is_file())
}

/// Refuses when the host's file system has little room left for an ordinary user.
pub(crate) fn check_free(home: &Home) -> Result<(), DiskError> {
    let path = home.root();
    let status = rustix::fs::statvfs(path)
        .map_err(|error| io_error("read the free space of", path)(error.into()))?;
    let free_mib = status.f_bavail.saturating_mul(status.f_frsize) >> 20;
    if free_mib < MINIMUM_FREE_MIB {
        return Err(DiskError::HostFull {
            path: path.to_owned(),
            free_mib,
        });
    }
    Ok(())
}
