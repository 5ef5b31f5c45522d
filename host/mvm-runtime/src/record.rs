//! What the state directory says of one sandbox.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use mvm_contract::{LifecycleState, SandboxId, SandboxSpec, SnapshotId};
use mvm_vmm::{JailReport, accelerator::Isolation};
use serde::{Deserialize, Serialize};

use crate::{
    admission::{AdmissionRecord, Admitted},
    command::CommandDefaults,
    durable,
    lease::LaunchRequest,
    plan::GuestSoftware,
};

/// The version of [`SandboxRecord`] this code writes and reads.
const RECORD_VERSION: u32 = 3;
const FILE_NAME: &str = "sandbox.json";

/// Everything recorded of a sandbox; written by its supervisor alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxRecord {
    version: u32,
    /// Its identifier.
    pub id: SandboxId,
    /// What was asked for.
    pub spec: SandboxSpec,
    /// Where it is in its life.
    pub state: LifecycleState,
    /// Why it is in that state, when it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was created, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// Who ends it.
    pub ownership: Ownership,
    /// When it ends by itself, milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// Where its guest came from.
    pub origin: StartOrigin,
    /// The template its memory and disk are changes of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The plan it was last launched by.
    pub admission: AdmissionRecord,
    /// What its guest was booted with.
    pub software: GuestSoftware,
    /// Digest of its root filesystem.
    pub image_digest: String,
    /// Its root filesystem.
    pub image_path: PathBuf,
    /// Whether the host's processor or an emulator separates the guest from the host.
    pub isolation: Isolation,
    /// What stands between the hypervisor and the host.
    pub jail: JailReport,
    /// What a command gets that names nothing else.
    pub defaults: CommandDefaults,
    /// Process identifier of its supervisor, for people: liveness is the lock.
    pub supervisor_pid: u32,
}

/// Where a sandbox's guest came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub enum StartOrigin {
    /// It booted.
    Boot {
        /// Why it was not forked.
        reason: String,
    },
    /// It was forked from a template when it was asked for.
    Template,
    /// It was forked beforehand, and claimed.
    Spare,
    /// It goes on from a snapshot.
    Snapshot {
        /// The snapshot.
        snapshot: SnapshotId,
    },
}

/// Who ends a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ownership {
    /// The process that created it: the sandbox is destroyed when that process ends or lets go.
    Leased,
    /// Nobody: it lives until it is destroyed or its time to live passes.
    Detached,
}

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not a record of this version.
    #[error("`{}` is not a sandbox record of this version", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The record has another version.
    #[error("`{}` has record version {found}; this version reads {RECORD_VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// The file cannot be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl SandboxRecord {
    /// The record of a sandbox that runs.
    pub(crate) fn running(
        request: LaunchRequest,
        admitted: &Admitted,
        origin: StartOrigin,
        template: Option<String>,
        isolation: Isolation,
        jail: JailReport,
    ) -> Self {
        let ttl = request.spec.ttl_seconds;
        let expires_at_ms = ttl.map(|ttl| {
            let ttl_ms = ttl.saturating_mul(1000);
            request.created_at_ms.saturating_add(ttl_ms)
        });
        Self {
            version: RECORD_VERSION,
            id: request.id,
            spec: request.spec,
            state: LifecycleState::Running,
            reason: None,
            created_at_ms: request.created_at_ms,
            ownership: Ownership::Leased,
            expires_at_ms,
            origin,
            template,
            admission: admitted.record(),
            software: request.software,
            image_digest: request.image_digest,
            image_path: request.image_path,
            isolation,
            jail,
            defaults: request.defaults,
            supervisor_pid: std::process::id(),
        }
    }

    /// Lets it live for so many seconds from now, or without an end.
    pub(crate) fn set_ttl(&mut self, seconds: Option<u64>) {
        let end = |seconds: u64| now_ms().saturating_add(seconds.saturating_mul(1000));
        self.expires_at_ms = seconds.map(end);
    }

    /// What is left of its time to live; nothing when that has no end.
    pub(crate) fn time_left(&self) -> Option<std::time::Duration> {
        let end = self.expires_at_ms?;
        Some(std::time::Duration::from_millis(
            end.saturating_sub(now_ms()),
        ))
    }

    /// Whether its time to live has passed.
    pub(crate) fn has_expired(&self) -> bool {
        self.time_left().is_some_and(|left| left.is_zero())
    }

    /// Reads the record in a sandbox's folder.
    pub fn read(folder: &Path) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let path = folder.join(FILE_NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(RecordError::Read { path, source }),
        };
        match serde_json::from_slice::<Version>(&bytes) {
            Ok(Version {
                version: RECORD_VERSION,
            }) => {}
            Ok(Version { version }) => {
                return Err(RecordError::Version {
                    path,
                    found: version,
                });
            }
            Err(source) => return Err(RecordError::Malformed { path, source }),
        }
        serde_json::from_slice(&bytes).map_err(|source| RecordError::Malformed { path, source })
    }

    /// Writes the record into a sandbox's folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), RecordError> {
        let path = folder.join(FILE_NAME);
        let bytes = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        match bytes.and_then(|bytes| durable::replace(&path, &bytes)) {
            Ok(()) => Ok(()),
            Err(source) => Err(RecordError::Write { path, source }),
        }
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, crate::command::milliseconds)
}
