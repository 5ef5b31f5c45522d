//! Sandboxes on this host: their creation, their life, and talking to them.
//!
//! There is no daemon. The state directory ([`Home`]) is the truth; each sandbox has one
//! supervisor process ([`supervise`]) that owns its microVM and holds the lock that makes it
//! live; whoever uses a sandbox ([`Sandbox`]) talks to its supervisor over a Unix socket.
//!
//! The main path: [`Runtime::create`] → `launch` (resolve; claim a spare, or start a supervisor) →
//! `supervisor::creation` (fork the image's template, give it its identity) → [`Sandbox::start`] →
//! `client` (one stream of `mvm-wire` per operation).

#![forbid(unsafe_code)]

mod admission;
mod audit;
mod client;
mod collected_output;
mod command;
mod control;
mod disk;
pub mod doctor;
pub mod durable;
mod fault;
mod folder;
mod home;
mod images;
pub mod keys;
mod launch;
mod lease;
mod lifecycle;
mod logs;
mod machine_facts;
mod plan;
mod pool;
mod random;
mod record;
mod registry;
mod run;
mod sandbox;
pub mod setup;
mod snapshot;
pub mod socket;
mod sparse_file;
mod supervisor;
mod template;
mod usage;

use std::{collections::BTreeMap, path::PathBuf};

use mvm_contract::{
    SandboxSpec,
    plan::{LaunchPath, Profile},
};

pub use admission::{AdmissionError, AdmissionRecord, CommandTerms, verify_plan};
pub use audit::{
    AuditError, AuditId, Segment as AuditSegment, rotate as rotate_audit_log,
    seal as seal_audit_log, segments as audit_segments,
};
pub use client::{
    AgentFailure, ClientError, ExitStatus, FileEntry, FileKind, FileReader, FileStatus, HostTarget,
    OutputStream, Process, ProcessEvent, ProcessExit, ProcessInput, ProcessSummary,
    TransferProgress, TransferSummary, WriteOptions,
};
pub use collected_output::CollectedOutput;
pub use command::{Command, CommandDefaults, CommandParts, DEFAULT_GRACE};
pub use disk::DiskError;
pub use folder::FolderError;
pub use home::{Home, HomeError, MVM_HOME};
pub use images::{ImageError, ImageRecord, ImageUser, RemovedImage};
pub use launch::{CreateError, LaunchError, MVM_TEMPLATES};
pub use lease::{Phase, causes};
pub use lifecycle::{LifecycleError, RestoreOptions, SnapshotOptions};
pub use logs::{LogReader, LogSource};
pub use mvm_image::{
    Digest, Progress, Silent,
    catalog::{CatalogImage, ExportFormat, Freed},
    registry::{MVM_INSECURE_REGISTRIES, PullPolicy, RegistryOptions},
};
pub use plan::{GuestSoftware, PlanError};
pub use pool::{DEFAULT_IDLE_SECONDS, MVM_SPARES, PoolError, PoolRecord};
pub use record::{Ownership, RecordError, SandboxRecord, StartOrigin};
pub use registry::{RegistryError, UnreadableSandbox};
pub use run::{RecordRunError, RunAccount};
pub use sandbox::{CommandResult, DEFAULT_OUTPUT_LIMIT, EndError, Ended, Sandbox};
pub use snapshot::{HostKeyError, ListedSnapshot, SnapshotError, SnapshotRecord};
pub use sparse_file::SparseFileError;
pub use supervisor::supervise;
pub use template::{TemplateError, TemplateOrder, TemplateRecord};
pub use usage::{HostSummary, Usage};

/// The environment variable that names the program whose `supervise` subcommand is a supervisor.
pub const SUPERVISOR_VARIABLE: &str = "MVM_SUPERVISOR";

/// The runtime over one state directory. Cheap to clone; holds nothing open.
#[derive(Debug, Clone)]
pub struct Runtime {
    home: Home,
    supervisor: SupervisorProgram,
    boot_console: bool,
    profile: Profile,
    registry: RegistryOptions,
}

/// How a supervisor process is started: a program that calls [`supervise`] first thing.
#[derive(Debug, Clone)]
pub struct SupervisorProgram {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl SupervisorProgram {
    /// `mvmctl supervise`, `mvmctl` being what [`SUPERVISOR_VARIABLE`] names, or the one on the
    /// `PATH`.
    #[must_use]
    pub fn installed() -> Self {
        let program = std::env::var_os(SUPERVISOR_VARIABLE).filter(|name| !name.is_empty());
        Self {
            program: program.map_or_else(|| PathBuf::from("mvmctl"), PathBuf::from),
            arguments: vec!["supervise".to_owned()],
        }
    }
}

impl Runtime {
    /// The runtime over the state directory that the environment names ([`Home::locate`]).
    pub fn from_environment(supervisor: SupervisorProgram) -> Result<Self, HomeError> {
        Ok(Self::new(Home::open(Home::locate()?)?, supervisor))
    }

    /// The runtime over a state directory.
    #[must_use]
    pub fn new(home: Home, supervisor: SupervisorProgram) -> Self {
        Self {
            home,
            supervisor,
            boot_console: false,
            profile: Profile::default(),
            registry: RegistryOptions::from_environment(),
        }
    }

    /// Keep the kernel's boot messages of new sandboxes in their `console.log` (slower).
    #[must_use]
    pub fn with_boot_console(mut self, keep: bool) -> Self {
        self.boot_console = keep;
        self
    }

    /// Launch under another built-in policy than `standard`.
    #[must_use]
    pub fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// The state directory.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Creates a sandbox; returns when its agent answers. It is destroyed when the returned value
    /// is dropped or this process ends, unless it is [detached](Sandbox::detach).
    pub async fn create(
        &self,
        spec: &SandboxSpec,
        progress: &(dyn Progress + Sync),
    ) -> Result<Sandbox, CreateError> {
        let launched = launch::launch(self, spec, progress).await?;
        Ok(Sandbox::launched(self.clone(), launched))
    }

    /// Creates a sandbox by a plan that was signed before, here or elsewhere. The values of its
    /// environment come beside it: it holds their digests.
    pub async fn create_by_plan(
        &self,
        envelope: &[u8],
        environment: BTreeMap<String, String>,
        progress: &(dyn Progress + Sync),
    ) -> Result<Sandbox, CreateError> {
        let launched = launch::launch_by_plan(self, envelope, environment, progress).await?;
        Ok(Sandbox::launched(self.clone(), launched))
    }

    /// A plan of what would be launched, signed with this host's key: valid for so many seconds,
    /// and once. The image is made ready for it, nothing starts.
    pub fn sign_plan(
        &self,
        spec: &SandboxSpec,
        path: LaunchPath,
        validity_seconds: u64,
        progress: &(dyn Progress + Sync),
    ) -> Result<Vec<u8>, CreateError> {
        launch::sign_plan(self, spec, path, validity_seconds, progress)
    }

    /// Whether a sandbox would be admitted, and the plan it would be launched by. The image is
    /// made ready for it; nothing starts, and the plan is not spent.
    pub fn dry_run(
        &self,
        spec: &SandboxSpec,
        progress: &(dyn Progress + Sync),
    ) -> Result<Vec<u8>, CreateError> {
        launch::dry_run(self, spec, progress)
    }

    /// Makes an image ready, or finds it so; nothing starts. What the policy of this host refuses
    /// by its name is refused before its registry is asked.
    pub fn prepare_image(
        &self,
        source: &str,
        progress: &(dyn Progress + Sync),
    ) -> Result<mvm_image::Image, CreateError> {
        launch::screen(self, source)?;
        launch::screen(self, source)?;
        launch::materialize(self, source, progress)
    }

    /// Does something with the image store and the ways images are made ready, for an image that
    /// the host's policy does not forbid: that is seen before anybody is asked for it.
    ///
    /// # Errors
    ///
    /// What the policy forbids, that the store cannot be opened, and what `act` gives.
    pub fn with_images<T, E: From<CreateError>>(
        &self,
        source: &str,
        progress: &dyn Progress,
        act: impl FnOnce(&mvm_image::Store, &mvm_image::MaterializeOptions<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        launch::screen(self, source)?;
        launch::with_images(self, progress, act)
    }

    /// Why a sandbox is to boot instead of being forked; nothing when it is forked.
    fn why_boot(&self) -> Option<String> {
        if self.boot_console {
            return Some("its boot messages are kept".to_owned());
        }
        let off = std::env::var_os(MVM_TEMPLATES).is_some_and(|value| value == "off");
        off.then(|| format!("`{MVM_TEMPLATES}` is `off`"))
    }

    /// The sandbox of a name or identifier. Its owner and end stay what they are.
    pub fn connect(&self, sandbox: &str) -> Result<Sandbox, RegistryError> {
        Ok(Sandbox::found(
            self.clone(),
            registry::find(&self.home, sandbox)?,
        ))
    }

    /// Every sandbox, the oldest first. What dead processes left is cleared on the way.
    pub fn list(&self) -> Result<Vec<Result<SandboxRecord, UnreadableSandbox>>, RegistryError> {
        registry::list(&self.home)
    }

    /// Removes a sandbox whose record cannot be read and that nobody holds.
    pub fn remove_unreadable(&self, sandbox: &str) -> Result<bool, RegistryError> {
        let id = registry::resolve(&self.home, sandbox)?;
        registry::remove_dead(&self.home, &id)
    }
}
