//! How a sandbox's guest comes to run: it boots, is forked from a template, or goes on from a
//! snapshot.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use mvm_contract::{Coded, Digest, ErrorCode, Resources};
use mvm_vmm::{
    ChannelError, ControlError, EmptyMachine, GuestMemory, Host, JailOptions, KernelSpec, Machine,
    MachineSpec, Port, RestoreError, SavedMachine, SavedMemory, StartError,
};

use mvm_wire::session;
use tokio::{net::UnixStream, time::Instant};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use super::guest::{Acquaintance, ConnectionKey, GreetError, Guest, GuestIdentity};
use crate::{
    disk::DiskError,
    home::Home,
    lease::{KernelFiles, Stopwatch},
    snapshot::{self, SnapshotError, manifest::Manifest},
    sparse_file::{self, SparseFileError},
    template::{Template, TemplateError},
};

/// From QEMU's start to the agent's answer; many times what a loaded host needs.
const BOOT_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a child's agent still finds its parent's connection open.
const OLD_CONNECTION: Duration = Duration::from_millis(150);
/// How long the other port of a restored guest is left alone: the end of its parent's connection
/// has been noticed then.
const OTHER_PORT_QUIET: Duration = Duration::from_millis(600);
/// How long a guest that runs may take to greet.
const GREETING_LIMIT: Duration = Duration::from_secs(10);
pub(super) const DISK_NAME: &str = "disk.img";
/// QEMU's own words.
pub(crate) const MACHINE_LOG: &str = "machine.log";
/// The kernel's and the agent's words.
pub(crate) const GUEST_LOG: &str = "guest.log";
const CONSOLE_LOG: &str = "console.log";

/// Why a guest did not come to run.
#[derive(Debug, thiserror::Error)]
pub(super) enum GuestStartError {
    #[error("the check of the snapshot did not end")]
    CheckEnded,
    #[error("the snapshot is not the one that was admitted")]
    OtherSnapshot,
    #[error("failed to create the sandbox's disk")]
    Disk(#[from] DiskError),
    #[error("failed to create the sandbox's disk")]
    CopyDisk(#[from] SparseFileError),
    #[error("failed to create `{}`", path.display())]
    Log {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to start the microVM")]
    Boot(#[from] StartError),
    #[error("failed to make the microVM go on from what was saved{said}")]
    Restore {
        said: String,
        #[source]
        source: RestoreError,
    },
    #[error("failed to let the microVM run")]
    Resume(#[from] ControlError),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the key of the agent's connection cannot be read")]
    ConnectionKey,
    #[error("failed to connect to the guest")]
    Channel(#[from] ChannelError),
    #[error("the guest did not come up: its microVM ended ({exit}){said}")]
    Died { exit: String, said: String },
    #[error("the guest did not answer within {} s", BOOT_TIMEOUT.as_secs())]
    Silent,
    #[error("the guest did not answer within the {} s of its plan", limit.as_secs())]
    Late { limit: Duration },
    #[error("the guest's agent refused the connection")]
    Greet(#[from] GreetError),
}

impl Coded for GuestStartError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Silent | Self::Late { .. } => ErrorCode::Timeout,
            Self::OtherSnapshot => ErrorCode::AdmissionFailed,
            Self::Template(error) => error.code(),
            Self::Snapshot(error) => error.code(),
            Self::Disk(error) => error.code(),
            _ => ErrorCode::SandboxUnavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::Boot(error) => error.hint(),
            Self::Restore { source, .. } => source.hint(),
            Self::Template(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            Self::Late { .. } => Some("make a plan with a longer `start_seconds`".to_owned()),
            Self::Died { .. } | Self::Silent => {
                Some("check the host with `mvmctl doctor`".to_owned())
            }
            _ => None,
        }
    }
}

/// Where a sandbox is made, and what of.
pub(super) struct Place<'a> {
    pub(super) home: &'a Home,
    pub(super) host: &'a Host,
    pub(super) folder: &'a Path,
    pub(super) image: &'a Path,
    pub(super) resources: &'a Resources,
}

/// A guest that runs.
pub(super) struct Started {
    pub(super) machine: Machine,
    pub(super) guest: Guest,
    pub(super) port: Port,
    /// From when on the other port can be connected to.
    pub(super) other_port_free: Instant,
    /// What its memory and disk are changes of.
    pub(super) template: Option<Template>,
}

impl Place<'_> {
    pub(super) fn disk(&self) -> PathBuf {
        self.folder.join(DISK_NAME)
    }

    /// Boots a guest.
    pub(super) async fn boot(
        &self,
        kernel: &KernelFiles,
        boot_console: bool,
        memory: GuestMemory<'_>,
        identity: GuestIdentity,
        watch: &mut Stopwatch,
    ) -> Result<Started, GuestStartError> {
        sparse_file::copy(&kernel.empty_disk, &self.disk())?;
        let kernel = KernelSpec {
            kernel: kernel.kernel.clone(),
            initramfs: kernel.initramfs.clone(),
            arguments: Vec::new(),
            boot_console: boot_console.then(|| self.folder.join(CONSOLE_LOG)),
        };
        let log = create_log(&self.folder.join(MACHINE_LOG))?;
        let (spec, jail) = (self.spec(), self.jail());
        let machine = Machine::boot(self.host, &spec, &kernel, memory, &jail, log);
        let mut machine = machine.await?;
        watch.lap("start QEMU");
        let channel = machine.open_channel(Port::First).await?;
        let known = Acquaintance::None;
        let guest = self.greet(&mut machine, channel, known, identity, watch);
        let guest = guest.await?;
        Ok(Started {
            machine,
            guest,
            port: Port::First,
            other_port_free: Instant::now(),
            template: None,
        })
    }

    /// Forks a guest from a template.
    pub(super) async fn fork(
        &self,
        template: Template,
        identity: GuestIdentity,
        watch: &mut Stopwatch,
    ) -> Result<Started, GuestStartError> {
        sparse_file::copy(&template.disk(), &self.disk())?;
        watch.lap("copy disk");
        let path = template.state();
        let state = File::open(&path).map_err(TemplateError::io("open", &path))?;
        let memory = template.memory();
        let port = template.manifest.port;
        let saved = SavedMachine {
            state: &state,
            memory: SavedMemory::Delta {
                file: &memory,
                pages: None,
            },
            connected: &[port],
        };
        let key = connection_key(&template.manifest.connection_key)?;
        let known = Acquaintance::Greeted(key);
        let (spec, jail) = (self.spec(), self.jail());
        let log = create_log(&self.folder.join(MACHINE_LOG))?;
        let private = GuestMemory::Private(&memory);
        let empty = Machine::start_empty(self.host, &spec, private, &jail, log).await?;
        watch.lap("start QEMU");
        let gone_on = self.go_on(empty.load(saved), port, known, identity, watch);
        let (machine, guest) = gone_on.await?;
        Ok(Started {
            machine,
            guest,
            port,
            other_port_free: Instant::now(),
            template: Some(template),
        })
    }

    /// Makes a guest that goes on from the snapshot in a folder, which is checked before anything
    /// of it is used: its manifest is the one of this digest.
    pub(super) async fn restore(
        &self,
        folder: &Path,
        manifest_digest: Digest,
        identity: GuestIdentity,
        watch: &mut Stopwatch,
    ) -> Result<Started, GuestStartError> {
        let opened = snapshot::open(self.home, folder, self.host)?;
        let found = opened.manifest.digest();
        if found != manifest_digest {
            return Err(GuestStartError::OtherSnapshot);
        }
        let snapshot::Opened {
            manifest,
            template,
            mut disk,
        } = opened;
        snapshot::restore_disk(
            &manifest,
            template.as_ref(),
            &mut disk,
            &self.disk(),
            folder,
        )?;
        watch.lap("restore disk");
        let memory_file = template.as_ref().map(Template::memory);
        let parts = self.start_while_checking(&manifest, memory_file.as_deref(), folder);
        let (empty, snapshot::MachineParts { state, mut pages }) = parts.await?;
        watch.lap("start QEMU, check snapshot");
        let memory = match (&memory_file, &mut pages) {
            (Some(file), Some(pages)) => SavedMemory::Delta {
                file,
                pages: Some(pages),
            },
            _ => SavedMemory::Stream,
        };
        let saved = SavedMachine {
            state: &state,
            memory,
            // The connection its parent was spoken to over ends when the new one stands: its end
            // gives the agent work that nobody should wait for.
            connected: &[manifest.port, manifest.port.other()],
        };
        let port = manifest.port;
        let known = Acquaintance::Greeted(connection_key(&manifest.connection_key)?);
        let gone_on = self.go_on(empty.load(saved), port, known, identity, watch);
        let (machine, guest) = gone_on.await?;
        Ok(Started {
            machine,
            guest,
            port,
            other_port_free: Instant::now() + OTHER_PORT_QUIET,
            // Only what was saved over a template's memory is saved so again.
            template: template.filter(|_| pages.is_some()),
        })
    }

    /// Starts the QEMU of a snapshot, and meanwhile checks what it is to load. It has seen nothing
    /// of that when it is refused.
    async fn start_while_checking(
        &self,
        manifest: &Manifest,
        memory_file: Option<&Path>,
        folder: &Path,
    ) -> Result<(EmptyMachine, snapshot::MachineParts), GuestStartError> {
        let memory = match memory_file {
            Some(file) if manifest.has_pages() => GuestMemory::Private(file),
            _ => GuestMemory::Anonymous,
        };
        let log = create_log(&self.folder.join(MACHINE_LOG))?;
        let (spec, jail) = (self.spec(), self.jail());
        let starting = Machine::start_empty(self.host, &spec, memory, &jail, log);
        let checking = async {
            let (manifest, folder) = (manifest.clone(), folder.to_owned());
            // Begun when QEMU's process has been: that is forked while this one has one thread.
            let check = move || snapshot::open_machine(&manifest, &folder);
            tokio::task::spawn_blocking(check).await
        };
        let (empty, parts) = tokio::join!(biased; starting, checking);
        let parts = parts.map_err(|_| GuestStartError::CheckEnded)??;
        Ok((empty?, parts))
    }

    async fn go_on(
        &self,
        restoring: impl Future<Output = Result<(Machine, Vec<UnixStream>), RestoreError>>,
        port: Port,
        known: Acquaintance,
        identity: GuestIdentity,
        watch: &mut Stopwatch,
    ) -> Result<(Machine, Guest), GuestStartError> {
        let restored = restoring.await;
        let (mut machine, channels) = restored.map_err(|source| GuestStartError::Restore {
            said: last_words(&self.folder.join(MACHINE_LOG)),
            source,
        })?;
        watch.lap("load state");
        let mut channels = channels.into_iter();
        let channel = match channels.next() {
            Some(channel) => channel,
            None => machine.open_channel(port).await?,
        };
        machine.resume().await?;
        let guest = self.greet(&mut machine, channel, known, identity, watch);
        let guest = guest.await?;
        let old: Vec<UnixStream> = channels.collect();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(OLD_CONNECTION).await;
            drop(old);
        });
        Ok((machine, guest))
    }

    async fn greet(
        &self,
        machine: &mut Machine,
        channel: UnixStream,
        known: Acquaintance,
        identity: GuestIdentity,
        watch: &mut Stopwatch,
    ) -> Result<Guest, GuestStartError> {
        let log = create_log(&self.folder.join(GUEST_LOG))?;
        let greeting = Guest::greet(channel, known, identity, log, watch);
        let greeting = tokio::time::timeout(BOOT_TIMEOUT, greeting);
        tokio::select! {
            biased;
            exit = machine.wait() => Err(GuestStartError::Died {
                exit: super::told(&exit),
                said: last_words(&self.folder.join(MACHINE_LOG)),
            }),
            guest = greeting => Ok(guest.map_err(|_| GuestStartError::Silent)??),
        }
    }

    fn spec(&self) -> MachineSpec {
        MachineSpec {
            root_image: self.image.to_owned(),
            disk: Some(self.disk()),
            memory_mib: self.resources.memory_mib,
            vcpus: self.resources.vcpus,
        }
    }

    fn jail(&self) -> JailOptions {
        JailOptions {
            directory: self.folder.to_owned(),
            ..JailOptions::default()
        }
    }
}

/// A channel on which the agent has greeted and waits for its host's first words.
pub(super) async fn greeted_channel(
    machine: &mut Machine,
    port: Port,
) -> Result<UnixStream, GreetError> {
    let greeted = async {
        let mut channel = machine.open_channel(port).await?.compat();
        session::await_greeting(&mut channel).await?;
        Ok(channel.into_inner())
    };
    let limited = tokio::time::timeout(GREETING_LIMIT, greeted).await;
    limited.map_err(|_| GreetError::HungUp)?
}

fn connection_key(text: &str) -> Result<ConnectionKey, GuestStartError> {
    let bytes = hex::decode(text).unwrap_or_default();
    ConnectionKey::try_from(bytes).map_err(|_| GuestStartError::ConnectionKey)
}

/// The end of QEMU's log, as a clause.
fn last_words(path: &Path) -> String {
    let log = fs::read(path).unwrap_or_default();
    let tail = &log[log.len().saturating_sub(500)..];
    match crate::disk::last_line(tail) {
        Some(line) => format!("; it said: {line}"),
        None => String::new(),
    }
}

fn create_log(path: &Path) -> Result<File, GuestStartError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    options.open(path).map_err(|source| GuestStartError::Log {
        path: path.to_owned(),
        source,
    })
}
