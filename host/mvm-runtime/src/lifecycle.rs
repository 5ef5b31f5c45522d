//! Pausing, saving and forking sandboxes.

use std::path::Path;

use futures::stream::{self, StreamExt as _};
use mvm_contract::{
    Coded, ErrorCode, LifecycleState, SandboxId, SandboxName, SnapshotId, SpecError,
    plan::LaunchPath,
};

use crate::{
    Progress, Runtime, Sandbox,
    client::{AgentStream, ClientError},
    control::{self, ControlOperation},
    keys,
    launch::{self, CreateError},
    lease::{LaunchNews, LaunchRequest, Order, Origin, Stopwatch, WakeRequest},
    plan::{self, OWN_VALIDITY_SECONDS},
    random,
    record::{SandboxRecord, now_ms},
    registry::{self, RegistryError, SetTtlError},
    snapshot::{self, ListedSnapshot, SnapshotError, SnapshotRecord},
};

/// Children of a fork that are made at the same time.
const CHILDREN_AT_ONCE: usize = 4;
/// While the supervisor of a sandbox that went cold ends, the sandbox is busy.
const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
const BUSY_ATTEMPTS: u32 = 60;

/// Why a sandbox could not be paused, saved, forked or brought back.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// Its supervisor refused or cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The sandbox does not exist, or the state directory cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The snapshot cannot be made, found or used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The sandbox cannot be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// It is in a state in which this cannot be done.
    #[error("sandbox `{id}` is {state}")]
    State {
        /// The sandbox.
        id: SandboxId,
        /// Its state.
        state: LifecycleState,
    },
    /// A name for several.
    #[error("one name cannot be given to {count} sandboxes")]
    OneName {
        /// How many.
        count: u32,
    },
}

impl Coded for LifecycleError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Client(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::Snapshot(error) => error.code(),
            Self::Create(error) => error.code(),
            Self::State { .. } => ErrorCode::SandboxUnavailable,
            Self::OneName { .. } => ErrorCode::InvalidArgument,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            Self::Create(error) => error.hint(),
            Self::State { id, state } if *state == LifecycleState::Cold => {
                Some(format!("bring it back first: `mvmctl resume {id}`"))
            }
            Self::State { id, .. } => Some(format!("see why with `mvmctl inspect {id}`")),
            Self::OneName { .. } => Some("leave the name out".to_owned()),
        }
    }
}

/// How a snapshot is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// A name to find it by.
    pub name: Option<SandboxName>,
    /// Save the whole memory, although the pages the sandbox changed would do.
    pub stream: bool,
}

/// What a sandbox that goes on from a snapshot gets of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// A name to find it by.
    pub name: Option<SandboxName>,
    /// It is destroyed so many seconds after it was made.
    pub ttl_seconds: Option<u64>,
}

impl Sandbox {
    /// Takes the guest's processors away. Its memory stays, and what it was doing goes on where it
    /// was at [`resume`](Self::resume).
    pub async fn pause(&self) -> Result<(), LifecycleError> {
        self.must_be_live()?;
        self.control(ControlOperation::Pause(control::Pause {}))
            .await?;
        Ok(())
    }

    /// Lets a paused or cold sandbox go on. Returns when its agent answers; the guest's clock is
    /// right then.
    pub async fn resume(&self) -> Result<(), LifecycleError> {
        let record = self.current()?;
        match record.state {
            LifecycleState::Running => Ok(()),
            LifecycleState::Paused => {
                let resume = ControlOperation::Resume(control::Resume {});
                Ok(self.control(resume).await?)
            }
            LifecycleState::Cold => self.wake(record).await,
            state => Err(LifecycleError::State {
                id: record.id,
                state,
            }),
        }
    }

    /// Saves the guest to disk and frees its memory. Connections to it end; its processes go on at
    /// [`resume`](Self::resume), and can be attached to again.
    pub async fn cool(&self) -> Result<(), LifecycleError> {
        if self.current()?.state == LifecycleState::Cold {
            return Ok(());
        }
        self.must_be_live()?;
        self.control(ControlOperation::Cool(control::Cool {}))
            .await?;
        Ok(())
    }

    /// Lets it live for so many seconds from now, or, without them, until it is destroyed.
    pub async fn set_ttl(&self, seconds: Option<u64>) -> Result<(), LifecycleError> {
        if seconds == Some(0) {
            return Err(CreateError::Spec(SpecError::ZeroTtl).into());
        }
        for _ in 0..BUSY_ATTEMPTS {
            let order = ControlOperation::SetTtl(control::SetTtl { seconds });
            match self.control(order).await {
                Ok(()) => return Ok(()),
                Err(error @ ClientError::Refused { .. }) => return Err(error.into()),
                Err(_) => {}
            }
            match registry::set_dead_ttl(self.home(), self.id(), seconds) {
                Ok(true) => return Ok(()),
                Ok(false) => tokio::time::sleep(BUSY_PAUSE).await,
                Err(SetTtlError::Registry(error)) => return Err(error.into()),
                Err(SetTtlError::Admission(error)) => {
                    return Err(CreateError::Admission(error).into());
                }
            }
        }
        let record = self.current()?;
        Err(LifecycleError::State {
            id: record.id,
            state: record.state,
        })
    }

    /// Saves the sandbox, with its processes and files, while it goes on.
    pub async fn snapshot(
        &self,
        options: &SnapshotOptions,
    ) -> Result<SnapshotRecord, LifecycleError> {
        let home = self.home();
        let (id, staged) = self.capture(options).await?;
        snapshot::publish(home, staged, &id, options.name.as_ref())?;
        Ok(snapshot::read(home, &home.snapshot(&id))?)
    }

    /// Saves the sandbox into a staged folder.
    async fn capture(
        &self,
        options: &SnapshotOptions,
    ) -> Result<(SnapshotId, crate::folder::LockedFolder), LifecycleError> {
        self.must_be_live()?;
        let id = snapshot::new_id()?;
        let staged = snapshot::stage(self.home(), &id)?;
        let order = control::Snapshot {
            id: id.to_string(),
            name: options
                .name
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            stream: options.stream,
        };
        self.control(ControlOperation::Snapshot(order)).await?;
        Ok((id, staged))
    }

    /// Its record as it is now.
    fn current(&self) -> Result<SandboxRecord, RegistryError> {
        registry::find(self.home(), self.id().as_str())
    }

    fn must_be_live(&self) -> Result<(), LifecycleError> {
        let record = self.current()?;
        if record.state.is_live() {
            return Ok(());
        }
        Err(LifecycleError::State {
            id: record.id,
            state: record.state,
        })
    }

    async fn control(&self, operation: ControlOperation) -> Result<(), ClientError> {
        AgentStream::control(&self.folder(), self.id().as_str(), operation).await
    }

    /// Brings a cold sandbox back: by its supervisor where its owner still holds it, and otherwise
    /// by a new one.
    async fn wake(&self, record: SandboxRecord) -> Result<(), LifecycleError> {
        for _ in 0..BUSY_ATTEMPTS {
            let resume = ControlOperation::Resume(control::Resume {});
            match self.control(resume).await {
                Ok(()) => return Ok(()),
                Err(error @ ClientError::Refused { .. }) => return Err(error.into()),
                // It has no supervisor, or one that ends just now.
                Err(_) => {}
            }
            if !crate::folder::FolderLock::is_held(&self.folder()) {
                return self.wake_by_new_supervisor(&record).await;
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
        Err(LifecycleError::State {
            id: record.id,
            state: record.state,
        })
    }

    async fn wake_by_new_supervisor(&self, record: &SandboxRecord) -> Result<(), LifecycleError> {
        let order = Order::Wake(WakeRequest {
            home: self.home().root().to_owned(),
            id: record.id.clone(),
        });
        let mut lease = launch::start_supervisor(self.runtime(), &order).await?;
        match lease.next_news().await? {
            LaunchNews::Ready { .. } => Ok(()),
            LaunchNews::Failed(failure) => {
                Err(CreateError::from(launch::LaunchError::from(failure)).into())
            }
            LaunchNews::Template | LaunchNews::Detached => Err(CreateError::SupervisorDied.into()),
        }
    }
}

impl Runtime {
    /// Every snapshot, the oldest first; one that is not what it was comes with what differs.
    pub fn snapshots(&self) -> Result<Vec<ListedSnapshot>, SnapshotError> {
        snapshot::list(&self.home)
    }

    /// The snapshot of a name or identifier.
    pub fn snapshot(&self, snapshot: &str) -> Result<SnapshotRecord, SnapshotError> {
        let (_, folder) = snapshot::find(&self.home, snapshot)?;
        snapshot::read(&self.home, &folder)
    }

    /// Removes a snapshot.
    pub fn remove_snapshot(&self, snapshot: &str) -> Result<SnapshotId, SnapshotError> {
        snapshot::remove(&self.home, snapshot)
    }

    /// Writes a snapshot, with the template it needs, to a file that is not there yet.
    pub fn export_snapshot(
        &self,
        snapshot: &str,
        target: &Path,
    ) -> Result<SnapshotId, SnapshotError> {
        snapshot::export(&self.home, snapshot, target)
    }

    /// Takes a snapshot in that this host exported.
    pub fn import_snapshot(&self, source: &Path) -> Result<SnapshotRecord, SnapshotError> {
        let id = snapshot::import(&self.home, source)?;
        snapshot::read(&self.home, &self.home.snapshot(&id))
    }

    /// Makes a sandbox that goes on from a snapshot.
    pub async fn restore(
        &self,
        snapshot: &str,
        options: &RestoreOptions,
        progress: &(dyn Progress + Sync),
    ) -> Result<Sandbox, LifecycleError> {
        let (_, folder) = snapshot::find(&self.home, snapshot)?;
        self.restore_folder(&folder, LaunchPath::Restore, options, progress)
            .await
    }

    /// Makes sandboxes that go on from a snapshot, or from a running sandbox, which goes on too.
    /// Each has its own outcome.
    pub async fn fork(
        &self,
        source: &str,
        count: u32,
        options: &RestoreOptions,
        progress: &(dyn Progress + Sync),
    ) -> Result<Vec<Result<Sandbox, LifecycleError>>, LifecycleError> {
        if options.name.is_some() && count != 1 {
            return Err(LifecycleError::OneName { count });
        }
        match snapshot::find(&self.home, source) {
            Ok((_, folder)) => Ok(self.fork_folder(&folder, count, options, progress).await),
            Err(SnapshotError::NotFound { .. } | SnapshotError::Identity { .. }) => {
                let parent = self.connect(source)?;
                progress.stage("saving the sandbox", None);
                let (_, staged) = parent.capture(&SnapshotOptions::default()).await?;
                // Its children have all they need of it once they run.
                Ok(self
                    .fork_folder(staged.path(), count, options, progress)
                    .await)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn fork_folder(
        &self,
        folder: &Path,
        count: u32,
        options: &RestoreOptions,
        progress: &(dyn Progress + Sync),
    ) -> Vec<Result<Sandbox, LifecycleError>> {
        progress.stage("forking", None);
        let children = stream::iter(0..count)
            .map(|_| async {
                let child = self
                    .restore_folder(folder, LaunchPath::Fork, options, &mvm_image::Silent)
                    .await;
                progress.advance(1);
                child
            })
            .buffered(CHILDREN_AT_ONCE)
            .collect()
            .await;
        progress.finish();
        children
    }

    async fn restore_folder(
        &self,
        folder: &Path,
        path: LaunchPath,
        options: &RestoreOptions,
        progress: &(dyn Progress + Sync),
    ) -> Result<Sandbox, LifecycleError> {
        let mut watch = Stopwatch::start();
        if options.ttl_seconds == Some(0) {
            return Err(CreateError::Spec(SpecError::ZeroTtl).into());
        }
        if let Some(name) = &options.name {
            registry::check_name_free(&self.home, name)?;
        }
        crate::disk::check_free(&self.home).map_err(CreateError::Disk)?;
        // Its image stays, whatever becomes of the snapshot, until the sandbox can be seen.
        let _hold = launch::hold_images(self)?;
        let manifest = snapshot::manifest_of(&self.home, folder)?;
        let digest = manifest.digest();
        let mut spec = manifest.spec;
        spec.name = options.name.clone();
        spec.ttl_seconds = options.ttl_seconds;
        let bits = random::bits().map_err(CreateError::Random)?;
        let mut request = LaunchRequest {
            home: self.home.root().to_owned(),
            id: SandboxId::from_random(bits),
            spec,
            created_at_ms: now_ms(),
            image_path: manifest.image_path,
            image_digest: manifest.image_digest,
            software: manifest.software,
            defaults: manifest.defaults,
            origin: Origin::Snapshot {
                folder: folder.to_owned(),
            },
            path,
            envelope: String::new(),
            pool: None,
        };
        let signer = keys::host_signer(&self.home).map_err(CreateError::Keys)?;
        let launch = request.launch(Some(digest));
        let policy = keys::host_policy(&self.home).map_err(CreateError::Keys)?;
        let limits = plan::limits_within(&policy.bounds_for(self.profile), None);
        let envelope = plan::propose(&launch, self.profile, limits, OWN_VALIDITY_SECONDS, &signer);
        request.envelope = envelope.map_err(CreateError::Plan)?;
        watch.lap("read snapshot");
        let launched = launch::start(self, request, watch, progress).await?;
        Ok(Sandbox::launched(self.clone(), launched))
    }
}
