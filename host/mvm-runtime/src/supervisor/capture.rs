//! Saving a running sandbox, which goes on afterwards or ends.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Instant,
};

use mvm_contract::{Coded, ErrorCode, SandboxName, SnapshotId};
use mvm_vmm::{ControlError, SaveError};

use super::{
    Running,
    guest::{FrozenGuest, GreetError, GuestIdentity},
    start::{DISK_NAME, greeted_channel},
};
use crate::{
    disk::{self, DiskDeltaError, DiskError},
    fault,
    record::now_ms,
    snapshot::{
        self, HostKey, HostKeyError, SnapshotError,
        manifest::{DISK, DiskBase, Manifest, PAGES, STATE, SavedMemory},
    },
    template::{Template, TemplateError},
};

/// Why a sandbox could not be saved. It goes on.
#[derive(Debug, thiserror::Error)]
pub(super) enum CaptureError {
    #[error(transparent)]
    Room(#[from] DiskError),
    #[error("the guest does not answer on its other port")]
    Waiting(#[source] GreetError),
    #[error("the guest could not be made to stand still")]
    Freeze(#[source] GreetError),
    #[error("the microVM could not be stopped")]
    Pause(#[source] ControlError),
    #[error("the microVM could not be saved")]
    Machine(#[from] SaveError),
    #[error("the disk could not be saved")]
    Disk(#[from] DiskDeltaError),
    #[error("the sandbox does not go on after it was saved")]
    GoOn(#[source] ControlError),
    #[error("the guest does not go on after it was saved")]
    Thaw(#[source] GreetError),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    #[error("failed to {doing} `{}`", path.display())]
    File {
        doing: &'static str,
        path: std::path::PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Coded for CaptureError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Template(error) => error.code(),
            Self::Snapshot(error) => error.code(),
            _ => ErrorCode::SandboxUnavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Room(error) => error.hint(),
            Self::Template(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            _ => None,
        }
    }
}

/// What is to be saved, and where.
pub(super) struct CaptureOrder<'a> {
    pub(super) id: SnapshotId,
    pub(super) name: Option<SandboxName>,
    /// Made, locked and removed by the caller.
    pub(super) folder: &'a Path,
    /// Save the whole memory as a stream, although pages would do.
    pub(super) stream: bool,
}

/// What the guest does after it was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    GoesOn,
    /// It stays frozen and paused: it is going to be ended.
    StandsStill,
}

impl Running {
    /// Saves this sandbox into a folder. When that fails, the guest goes on as it does when it
    /// succeeds.
    pub(super) async fn capture(
        &mut self,
        order: CaptureOrder<'_>,
        afterwards: Afterwards,
    ) -> Result<Manifest, CaptureError> {
        disk::check_free(&self.home)?;
        if let Some(template) = &self.template {
            // It is what the saved pages will be put over: were it gone, they would be nothing.
            template.check()?;
        }
        let key = HostKey::load(&self.home)?;
        let method = self.memory_method(order.stream);
        fault::point("snapshot.begun");
        self.await_on_other_port().await?;
        let begun = Instant::now();
        let frozen = self.guest.freeze().await.map_err(CaptureError::Freeze)?;
        fault::point("snapshot.frozen");
        let saved = self.save(order.folder, method).await;
        let stays = afterwards == Afterwards::StandsStill && saved.is_ok();
        if !stays {
            self.let_go_on(frozen).await?;
        }
        let pause = begun.elapsed();
        let memory = saved?;
        fault::point("snapshot.saved");
        // Not while the guest stands still.
        let compressed = snapshot::compress_pages(order.folder);
        let manifest = Manifest {
            version: Manifest::VERSION,
            id: order.id,
            name: order.name,
            created_at_ms: now_ms(),
            sandbox: self.record.id.clone(),
            spec: self.record.spec.clone(),
            defaults: self.record.defaults.clone(),
            software: self.record.software.clone(),
            image_digest: self.record.image_digest.clone(),
            image_path: self.record.image_path.clone(),
            machine: self.facts.clone(),
            memory,
            disk_base: self.disk_base(),
            port: self.port.other(),
            connection_key: hex::encode(self.guest.key()),
            pause_microseconds: u64::try_from(pause.as_micros()).unwrap_or(u64::MAX),
            files: Vec::new(),
        };
        let sealed = compressed.and_then(|()| manifest.seal(order.folder, &key));
        if sealed.is_err() && stays {
            // The frozen guest's stream is gone with the saved one: a new greeting thaws it.
            self.machine.resume().await.map_err(CaptureError::GoOn)?;
            self.renew().await.map_err(CaptureError::Thaw)?;
        }
        fault::point("snapshot.sealed");
        Ok(sealed?)
    }

    /// What goes on from a snapshot is spoken to on the other port, where the agent has greeted: once
    /// in a sandbox's life, since an agent can miss that a host went and came back at once.
    async fn await_on_other_port(&mut self) -> Result<(), CaptureError> {
        if self.waiting.is_none() {
            tokio::time::sleep_until(self.other_port_free).await;
            let channel = greeted_channel(&mut self.machine, self.port.other()).await;
            self.waiting = Some(channel.map_err(CaptureError::Waiting)?);
        }
        Ok(())
    }

    /// How the memory is saved, and why not as pages.
    fn memory_method(&self, stream: bool) -> Result<Template, String> {
        let Some(template) = self.template.clone() else {
            return Err("it was not forked from a template".to_owned());
        };
        if stream {
            return Err("it was asked for".to_owned());
        }
        match self.machine.probe_private_pages(&template.memory()) {
            Ok(()) => Ok(template),
            Err(error) => Err(crate::lease::causes(&error).join(": ")),
        }
    }

    async fn save(
        &mut self,
        folder: &Path,
        method: Result<Template, String>,
    ) -> Result<SavedMemory, CaptureError> {
        self.machine.pause().await.map_err(CaptureError::Pause)?;
        fault::point("snapshot.paused");
        let state = create(&folder.join(STATE))?;
        let memory = match method {
            Ok(template) => {
                self.machine.save_devices(&state).await?;
                let mut pages = create(&folder.join(PAGES))?;
                let memory = template.memory();
                let count = self.machine.save_private_pages(&memory, &mut pages)?;
                SavedMemory::Delta {
                    template: template.key,
                    template_memory: template.manifest.memory.digest,
                    pages: count.data,
                    zero_pages: count.zeros,
                }
            }
            Err(reason) => {
                self.machine.save_stream(&state).await?;
                SavedMemory::Stream { reason }
            }
        };
        fault::point("snapshot.memory");
        let path = self.home.sandbox(&self.record.id).join(DISK_NAME);
        let disk = File::open(&path).map_err(file("open", &path))?;
        let base = match &self.template {
            Some(template) => {
                let path = template.disk();
                File::open(&path).map_err(file("open", &path))?
            }
            None => snapshot::zeros(folder, self.disk_bytes())?,
        };
        let mut delta = create(&folder.join(DISK))?;
        disk::write_delta(&base, &disk, &mut delta)?;
        fault::point("snapshot.disk");
        Ok(memory)
    }

    /// Lets the guest go on: time first, and last its processes.
    async fn let_go_on(&mut self, frozen: FrozenGuest) -> Result<(), CaptureError> {
        self.machine.resume().await.map_err(CaptureError::GoOn)?;
        self.renew().await.map_err(CaptureError::Thaw)?;
        drop(frozen);
        Ok(())
    }

    /// Sets the guest's clock and thaws it, its identity being as it is.
    pub(super) async fn renew(&mut self) -> Result<(), GreetError> {
        self.guest.introduce(false, GuestIdentity::default()).await
    }

    fn disk_bytes(&self) -> u64 {
        u64::from(self.record.spec.resources.disk_mib) << 20
    }

    fn disk_base(&self) -> DiskBase {
        match &self.template {
            Some(template) => DiskBase::Template {
                template: template.key.clone(),
                template_disk: template.manifest.disk.digest,
            },
            None => DiskBase::Zeros {
                bytes: self.disk_bytes(),
            },
        }
    }
}

fn create(path: &Path) -> Result<File, CaptureError> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path).map_err(file("create", path))
}

fn file<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> CaptureError + use<'a> {
    move |source| CaptureError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}
