//! Starting QEMU in its jail, up to its first answer.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::net::UnixStream;

use super::{Machine, StateFile};
use crate::accelerator::Accelerator;
use crate::channel::{AgentSocket, SocketError};
use crate::command_line::{Inherited, Origin, arguments};
use crate::host::Host;
use crate::jail::{
    Access, Confined, Grant, JailError, JailOptions, Layer, StandIn, above_standard_streams,
};
use crate::machine_spec::{GuestMemory, KernelSpec, MachineSpec, SpecError};
use crate::process::Process;
use crate::qmp::{Qmp, QmpError};

/// QEMU answers within 0.1 s here; a host that swaps takes longer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// What QEMU needs beside the guest's memory, in bytes: its own, the
/// translation cache, and the page cache of the images it reads.
const MEMORY_BESIDE_GUEST: u64 = 512 << 20;
/// QEMU's threads: one per processor and up to 64 for disk requests.
const THREADS_BESIDE_VCPUS: u32 = 96;
/// What saved state has beside the guest's memory, at most, in bytes.
const STATE_BESIDE_MEMORY: u64 = 64 << 20;

/// A machine that did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The specification is wrong.
    #[error("the machine's specification is refused")]
    Spec(#[source] SpecError),
    /// The control connection was not made.
    #[error("cannot make QEMU's control connection")]
    Control(#[source] io::Error),
    /// The agent's socket was not made.
    #[error("cannot make the channel to the agent")]
    Channel(#[source] SocketError),
    /// The file for the machine's state was not made.
    #[error("cannot make the file for the machine's state")]
    StateFile(#[source] io::Error),
    /// The boot console's file was not opened.
    #[error("cannot open the boot console `{path}`")]
    BootConsole {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The memory file cannot be opened in QEMU's place.
    #[error("cannot open the memory file in QEMU's place")]
    StandIn(#[source] io::Error),
    /// QEMU was not started in its jail.
    #[error("cannot start QEMU in its jail")]
    Jail(#[source] JailError),
    /// The process cannot be watched.
    #[error("cannot watch QEMU's process")]
    Watch(#[source] io::Error),
    /// QEMU ended before it answered.
    #[error("QEMU ended before the machine started ({status})")]
    Ended {
        /// How.
        status: ExitStatus,
    },
    /// QEMU did not answer in time.
    #[error("QEMU did not answer for {} s", limit.as_secs())]
    Silent {
        /// The time given.
        limit: Duration,
    },
    /// The control protocol failed.
    #[error("cannot talk to QEMU")]
    Qmp(#[source] QmpError),
}

impl StartError {
    /// A way out, when the user has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            StartError::Jail(error) => error.hint(),
            StartError::Ended { .. } => Some("QEMU's own message is in the machine's log".into()),
            _ => None,
        }
    }
}

impl Machine {
    /// Boots a guest. Returns when QEMU answers; the guest is booting then.
    ///
    /// QEMU's messages go to `log`. Must be called on a thread that lives as
    /// long as the machine should (the main thread), within a tokio runtime
    /// with I/O and time enabled.
    ///
    /// # Errors
    /// Nothing is left running after an error.
    pub async fn boot(
        host: &Host,
        spec: &MachineSpec,
        kernel: &KernelSpec,
        memory: GuestMemory<'_>,
        jail: &JailOptions,
        log: File,
    ) -> Result<Machine, StartError> {
        kernel.check().map_err(StartError::Spec)?;
        let origin = Origin::Kernel(kernel);
        let mut machine = Machine::start(host, spec, origin, memory, jail, log).await?;
        machine.resume().await.map_err(|error| match error {
            super::ControlError::Qmp(error) => StartError::Qmp(error),
            super::ControlError::Process(error) => StartError::Watch(error),
        })?;
        Ok(machine)
    }

    /// Starts QEMU; the guest does not run yet.
    pub(super) async fn start(
        host: &Host,
        spec: &MachineSpec,
        origin: Origin<'_>,
        memory: GuestMemory<'_>,
        jail: &JailOptions,
        log: File,
    ) -> Result<Machine, StartError> {
        spec.check(memory).map_err(StartError::Spec)?;
        let (qmp, qemu_qmp) = control_connection().map_err(StartError::Control)?;
        let (first, first_listener) = agent_socket(jail)?;
        let (second, second_listener) = agent_socket(jail)?;
        let log = above_standard_streams(log).map_err(StartError::Control)?;
        let console = open_console(origin)?;
        let state_file = tempfile::Builder::new()
            .prefix(".machine-state-")
            .tempfile_in(&jail.directory)
            .map_err(StartError::StateFile)?;
        let state_path = state_file.path().to_owned();

        let inherited = Inherited {
            qmp: qemu_qmp.as_raw_fd(),
            agent: [first_listener.as_raw_fd(), second_listener.as_raw_fd()],
            boot_console: console.as_ref().map(AsRawFd::as_raw_fd),
        };
        let arguments =
            arguments(host, spec, origin, memory, inherited).map_err(StartError::Spec)?;
        let mut passed = vec![
            qemu_qmp.as_fd(),
            first_listener.as_fd(),
            second_listener.as_fd(),
        ];
        passed.extend(console.as_ref().map(AsFd::as_fd));

        let limit = spec.memory_bytes().saturating_add(MEMORY_BESIDE_GUEST);
        let threads = spec.vcpus.saturating_add(THREADS_BESIDE_VCPUS);
        let cgroup = host
            .jail()
            .make_cgroup(limit, threads)
            .map_err(StartError::Jail)?;
        // What this QEMU would open for writing is given to it for reading only.
        let shared = match memory {
            GuestMemory::Private(path) if needs_stand_in(host) => Some(path),
            _ => None,
        };
        let mut child = host
            .jail()
            .spawn(&Confined {
                program: host.qemu.program(),
                arguments: &arguments,
                grants: &grants(host, spec, origin, memory, jail, &state_path),
                base: &jail.directory,
                inherited: &passed,
                output: log.as_fd(),
                file_size_limit: Some(file_size_limit(spec, jail)),
                cgroup: cgroup.as_ref(),
                filter_opens: shared.is_some(),
            })
            .map_err(StartError::Jail)?;
        let listener = child.listener.take();
        let mut process = Process::watch(child).map_err(StartError::Watch)?;
        if let (Some(listener), Some(path)) = (listener, shared) {
            let stand_in = StandIn::new(listener, path).map_err(StartError::StandIn)?;
            // It ends with QEMU.
            tokio::spawn(stand_in.serve());
        }
        // QEMU alone holds its ends now, so that its death is seen here.
        drop((qemu_qmp, first_listener, second_listener, console));

        let qmp = match tokio::time::timeout(START_LIMIT, Qmp::connect(qmp)).await {
            Ok(Ok(qmp)) => qmp,
            Ok(Err(QmpError::Closed)) => {
                let ended = tokio::time::timeout(START_LIMIT, process.wait()).await;
                let status = ended
                    .map_err(|_| StartError::Silent { limit: START_LIMIT })?
                    .map_err(StartError::Watch)?;
                return Err(StartError::Ended { status });
            }
            Ok(Err(error)) => return Err(StartError::Qmp(error)),
            Err(_) => return Err(StartError::Silent { limit: START_LIMIT }),
        };
        Ok(Machine {
            process,
            qmp,
            sockets: [first, second],
            state_file: StateFile::new(state_file, state_path, host),
            jail: host.jail().report().clone(),
            shutdown: None,
            exit: None,
            _cgroup: cgroup,
        })
    }
}

fn agent_socket(jail: &JailOptions) -> Result<(AgentSocket, OwnedFd), StartError> {
    let (socket, listener) = AgentSocket::create(&jail.directory).map_err(StartError::Channel)?;
    let listener = above_standard_streams(listener).map_err(StartError::Control)?;
    Ok((socket, listener))
}

/// Our end for tokio, and QEMU's end.
fn control_connection() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, above_standard_streams(theirs)?))
}

fn open_console(origin: Origin<'_>) -> Result<Option<OwnedFd>, StartError> {
    let Origin::Kernel(KernelSpec {
        boot_console: Some(path),
        ..
    }) = origin
    else {
        return Ok(None);
    };
    let open = || {
        let file = File::create(path)?;
        above_standard_streams(file)
    };
    open().map(Some).map_err(|source| StartError::BootConsole {
        path: path.clone(),
        source,
    })
}

/// Whether shared memory is kept from being written by answering in QEMU's place.
fn needs_stand_in(host: &Host) -> bool {
    !host.qemu.maps_read_only_files() && host.jail().report().is_applied(Layer::StandIn)
}

/// A QEMU that was taken over must not fill the host's disk, not even through
/// its log: no file grows beyond what the machine can need.
fn file_size_limit(spec: &MachineSpec, jail: &JailOptions) -> u64 {
    let disk = spec.disk.as_ref().and_then(|disk| disk.metadata().ok());
    let needed = disk
        .map_or(0, |disk| disk.len())
        .max(spec.memory_bytes().saturating_add(STATE_BESIDE_MEMORY));
    jail.file_size_limit.unwrap_or(needed)
}

fn grants(
    host: &Host,
    spec: &MachineSpec,
    origin: Origin<'_>,
    memory: GuestMemory<'_>,
    jail: &JailOptions,
    state_file: &Path,
) -> Vec<Grant> {
    let mut grants = host.qemu.grants();
    grants.push(Grant::new(&spec.root_image, Access::Read));
    grants.push(Grant::new(state_file, Access::Write));
    if let Origin::Kernel(kernel) = origin {
        grants.push(Grant::new(&kernel.kernel, Access::Read));
        grants.push(Grant::new(&kernel.initramfs, Access::Read));
    }
    match memory {
        GuestMemory::Anonymous => {}
        GuestMemory::Private(path) if host.qemu.maps_read_only_files() || needs_stand_in(host) => {
            grants.push(Grant::new(path, Access::Read));
        }
        GuestMemory::Shared(path) | GuestMemory::Private(path) => {
            grants.push(Grant::new(path, Access::Write));
        }
    }
    if host.accelerator.accelerator == Accelerator::Kvm {
        grants.push(Grant::new("/dev/kvm".as_ref(), Access::Write));
    }
    grants.extend(
        jail.read_only
            .iter()
            .map(|path| Grant::new(path, Access::Read)),
    );
    let writable = jail.read_write.iter().chain(&spec.disk);
    grants.extend(writable.map(|path| Grant::new(path, Access::Write)));
    grants
}
