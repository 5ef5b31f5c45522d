//! Describing a sandbox before it exists.

use std::{path::PathBuf, time::Duration};

use mvm_contract::{SandboxName, SandboxSpec, plan::Profile};
use mvm_runtime::{Home, Progress, Runtime, SupervisorProgram};

use crate::{Error, Sandbox};

/// A sandbox that is not created yet: of this process, or of the server in whose place it is.
#[derive(Debug, Clone, Default)]
pub struct SandboxBuilder<Place = ThisHost> {
    pub(crate) spec: SandboxSpec,
    pub(crate) profile: Profile,
    pub(crate) place: Place,
}

/// The place of sandboxes that this process makes itself.
#[derive(Debug, Clone, Default)]
pub struct ThisHost {
    home: Option<PathBuf>,
    supervisor: Option<PathBuf>,
}

/// Shows nothing.
pub(crate) struct Silent;

impl Progress for Silent {
    fn stage(&self, _stage: &str, _total: Option<u64>) {}
    fn advance(&self, _amount: u64) {}
    fn finish(&self) {}
}

impl<Place> SandboxBuilder<Place> {
    pub(crate) fn at(place: Place) -> Self {
        Self {
            spec: SandboxSpec::default(),
            profile: Profile::default(),
            place,
        }
    }

    /// Sets the image: `debian:NAME`, `oci:HOST/PATH[:TAG]`, `oci-layout:DIRECTORY[:REFERENCE]` or
    /// `oci-archive:FILE[:REFERENCE]`.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.spec.image = image.into();
        self
    }

    /// Sets a name to find it by.
    #[must_use]
    pub fn name(mut self, name: SandboxName) -> Self {
        self.spec.name = Some(name);
        self
    }

    /// Sets the number of virtual processors.
    #[must_use]
    pub fn vcpus(mut self, vcpus: u32) -> Self {
        self.spec.resources.vcpus = vcpus;
        self
    }

    /// Sets its memory, in MiB.
    #[must_use]
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.spec.resources.memory_mib = memory_mib;
        self
    }

    /// Sets the size of its own disk, in MiB.
    #[must_use]
    pub fn disk_mib(mut self, disk_mib: u32) -> Self {
        self.spec.resources.disk_mib = disk_mib;
        self
    }

    /// Sets a variable for all its commands.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.environment.insert(name.into(), value.into());
        self
    }

    /// Sets the working directory of commands that name none.
    #[must_use]
    pub fn working_directory(mut self, path: impl Into<String>) -> Self {
        self.spec.working_directory = Some(path.into());
        self
    }

    /// Sets the user of commands that name none.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.spec.user = Some(user.into());
        self
    }

    /// Destroys it when so much time has passed since its creation; rounded up to a second.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.spec.ttl_seconds = Some(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0));
        self
    }

    /// Launches it under another built-in policy than `standard`.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// What is asked for so far.
    #[must_use]
    pub fn spec(&self) -> &SandboxSpec {
        &self.spec
    }
}

impl SandboxBuilder {
    /// Keeps its state in this directory instead of the one the environment names.
    #[must_use]
    pub fn home(mut self, directory: impl Into<PathBuf>) -> Self {
        self.place.home = Some(directory.into());
        self
    }

    /// Starts its supervisor by this `mvmctl` instead of the one the environment names.
    #[must_use]
    pub fn supervisor(mut self, mvmctl: impl Into<PathBuf>) -> Self {
        self.place.supervisor = Some(mvmctl.into());
        self
    }

    /// Creates it; returns when its agent answers.
    pub async fn create(self) -> Result<Sandbox, Error> {
        self.create_with_progress(&Silent).await
    }

    /// Creates it and tells how that goes on.
    pub async fn create_with_progress(
        self,
        progress: &(dyn Progress + Sync),
    ) -> Result<Sandbox, Error> {
        let mut supervisor = SupervisorProgram::installed();
        if let Some(program) = self.place.supervisor {
            supervisor.program = program;
        }
        let runtime = match self.place.home {
            Some(home) => Runtime::new(Home::open(home)?, supervisor),
            None => Runtime::from_environment(supervisor)?,
        };
        let runtime = runtime.with_profile(self.profile);
        Ok(Sandbox(runtime.create(&self.spec, progress).await?))
    }
}
