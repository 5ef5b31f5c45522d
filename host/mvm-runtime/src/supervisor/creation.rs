//! Making a sandbox: its folder, its disk, its microVM, its agent's first answer.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use mvm_contract::{Coded, ErrorCode, LifecycleState};
use mvm_vmm::{BootError, ChannelError, DetectError, Host, JailOptions, Machine, MachineSpec};

use super::{
    Running,
    guest::{GreetError, Guest},
};
use crate::{
    disk::{self, DiskError},
    home::{Home, HomeError},
    lease::LaunchRequest,
    record::{RecordError, SandboxRecord},
    registry::{RegistryError, StagedFolder},
};

/// From QEMU's start to the agent's answer; many times what a loaded host needs.
const BOOT_TIMEOUT: Duration = Duration::from_secs(90);
const DISK_NAME: &str = "disk.img";
/// QEMU's own words.
pub(crate) const MACHINE_LOG: &str = "machine.log";
/// The kernel's and the agent's words.
pub(crate) const GUEST_LOG: &str = "guest.log";
const CONSOLE_LOG: &str = "console.log";

/// Why a sandbox could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CreationError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("this host cannot run a microVM")]
    Detect(#[from] DetectError),
    #[error("failed to create the sandbox's disk")]
    Disk(#[from] DiskError),
    #[error("failed to create `{}`", path.display())]
    Log {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to start the microVM")]
    Boot(#[from] BootError),
    #[error("failed to connect to the guest")]
    Channel(#[from] ChannelError),
    #[error("the guest did not come up: its microVM ended ({exit}){said}")]
    Died { exit: String, said: String },
    #[error("the guest did not answer within {} s", BOOT_TIMEOUT.as_secs())]
    Silent,
    #[error("the guest's agent refused the connection")]
    Greet(#[from] GreetError),
    #[error("failed to open the sandbox's control socket")]
    Door {
        #[source]
        source: io::Error,
    },
}

impl Coded for CreationError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Home(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::Silent => ErrorCode::Timeout,
            Self::Detect(_) => ErrorCode::BackendUnsupported,
            _ => ErrorCode::SandboxUnavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Home(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Disk(error) => error.hint(),
            Self::Boot(error) => error.hint(),
            Self::Detect(error) => error.hint(),
            Self::Died { .. } | Self::Silent => {
                Some("check the host with `mvmctl doctor`".to_owned())
            }
            _ => None,
        }
    }
}

/// Removes a staged folder unless the sandbox came to be.
struct Discard(Option<PathBuf>);

impl Drop for Discard {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = fs::remove_dir_all(path);
        }
    }
}

pub(super) async fn create(request: LaunchRequest) -> Result<Running, CreationError> {
    let home = Home::open(&request.home)?;
    let host = Host::detect(&home.cache(), None)?;
    let staged = StagedFolder::create(&home, &request.id)?;
    let mut discard = Discard(Some(staged.path.clone()));
    let disk = staged.path.join(DISK_NAME);
    disk::copy_sparse(&request.empty_disk, &disk)?;
    let log = create_log(&staged.path.join(MACHINE_LOG))?;
    let boot_console = request.boot_console.then(|| staged.path.join(CONSOLE_LOG));
    let spec = MachineSpec {
        kernel: request.kernel,
        initramfs: request.initramfs,
        root_image: request.image_path,
        disk: Some(disk),
        memory_mib: request.spec.resources.memory_mib,
        vcpus: request.spec.resources.vcpus,
        kernel_arguments: Vec::new(),
        boot_console,
    };
    let jail = JailOptions {
        directory: staged.path.clone(),
        ..JailOptions::default()
    };
    let mut machine = Machine::boot(&host, &spec, &jail, log).await?;
    let hostname = match &request.spec.name {
        Some(name) => name.to_string(),
        None => request.id.to_string(),
    };
    let guest_log = create_log(&staged.path.join(GUEST_LOG))?;
    let guest = greet(&mut machine, hostname, guest_log, &staged.path).await?;
    let mut record = SandboxRecord::creating(
        request.id,
        request.spec,
        request.created_at_ms,
        request.image_digest,
        host.accelerator().isolation,
        machine.jail_report().clone(),
        request.defaults,
    );
    // The folder appears only now: a sandbox that can be seen runs.
    record.state = LifecycleState::Running;
    record.write(&staged.path)?;
    let (_, lock) = staged.publish(&home, &record)?;
    discard.0 = None;
    Ok(Running {
        home,
        record,
        lock,
        machine,
        guest,
    })
}

async fn greet(
    machine: &mut Machine,
    hostname: String,
    log: File,
    folder: &Path,
) -> Result<Guest, CreationError> {
    let channel = machine.open_channel().await?;
    let greeting = tokio::time::timeout(BOOT_TIMEOUT, Guest::greet(channel, hostname, log));
    tokio::select! {
        biased;
        exit = machine.wait() => Err(CreationError::Died {
            exit: super::told(&exit),
            said: last_words(&folder.join(MACHINE_LOG)),
        }),
        guest = greeting => Ok(guest.map_err(|_| CreationError::Silent)??),
    }
}

/// The end of QEMU's log, as a clause.
fn last_words(path: &Path) -> String {
    let log = fs::read(path).unwrap_or_default();
    let tail = &log[log.len().saturating_sub(500)..];
    let text = String::from_utf8_lossy(tail);
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("; it said: {}", line.trim()),
        None => String::new(),
    }
}

fn create_log(path: &Path) -> Result<File, CreationError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    options.open(path).map_err(|source| CreationError::Log {
        path: path.to_owned(),
        source,
    })
}
