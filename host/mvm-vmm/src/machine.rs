//! A running machine.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use tokio::net::UnixStream;

use crate::accelerator::Accelerator;
use crate::channel::{AgentSocket, ChannelError, SocketError};
use crate::command_line::{GuestMemory, Inherited, arguments};
use crate::host::Host;
use crate::jail::{
    Access, Cgroup, Confined, Grant, JailError, JailOptions, JailReport, above_standard_streams,
};
use crate::machine_spec::{MachineSpec, SpecError};
use crate::process::Process;
use crate::qmp::{Qmp, QmpError, QmpEvent};

/// QEMU answers within 0.1 s here; a host that swaps takes longer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long QEMU may leave connections to the agent's port waiting.
const CHANNEL_LIMIT: Duration = Duration::from_secs(10);
const CHANNEL_RETRY: Duration = Duration::from_millis(2);
/// What QEMU needs beside the guest's memory, in bytes: its own, the
/// translation cache, and the page cache of the images it reads.
const MEMORY_BESIDE_GUEST: u64 = 512 << 20;
/// QEMU's threads: one per processor and up to 64 for disk requests.
const THREADS_BESIDE_VCPUS: u32 = 96;

/// A machine that did not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The specification is wrong.
    #[error("the machine's specification is refused")]
    Spec(#[source] SpecError),
    /// The control connection was not made.
    #[error("cannot make QEMU's control connection")]
    Control(#[source] io::Error),
    /// The agent's socket was not made.
    #[error("cannot make the channel to the agent")]
    Channel(#[source] SocketError),
    /// The boot console's file was not opened.
    #[error("cannot open the boot console `{path}`")]
    BootConsole {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
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

impl BootError {
    /// A way out, when the user has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            BootError::Jail(error) => error.hint(),
            BootError::Ended { .. } => Some("QEMU's own message is in the machine's log".into()),
            _ => None,
        }
    }
}

/// A machine could not be paused, resumed, killed or waited for.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// QEMU refused, or the connection broke.
    #[error("cannot control QEMU")]
    Qmp(#[source] QmpError),
    /// The process cannot be signalled or waited for.
    #[error("cannot reach QEMU's process")]
    Process(#[source] io::Error),
}

/// Why a guest stopped, by QEMU's own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shutdown {
    /// The guest switched itself off.
    PoweredOff,
    /// The guest restarted, which ends the machine. A kernel that panics does
    /// this: told apart from an intended restart only by the agent.
    Reset,
    /// The guest reported a panic through a device.
    Panicked,
    /// Ended from outside, by a signal or by command.
    ByHost,
    /// Something else, in QEMU's word.
    Other(String),
}

/// The end of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineExit {
    /// How QEMU's process ended.
    pub status: ExitStatus,
    /// Why the guest stopped; nothing when QEMU died without saying.
    pub shutdown: Option<Shutdown>,
}

impl MachineExit {
    /// True when the guest ended the machine and QEMU followed in order.
    pub fn by_guest(&self) -> bool {
        let guest = matches!(
            self.shutdown,
            Some(Shutdown::PoweredOff | Shutdown::Reset | Shutdown::Panicked)
        );
        guest && self.status.success()
    }
}

/// A QEMU that runs. Dropping it kills and reaps the process, and the kernel
/// kills it when the thread that booted it ends, however that happens.
#[derive(Debug)]
pub struct Machine {
    process: Process,
    qmp: Qmp,
    socket: AgentSocket,
    jail: JailReport,
    shutdown: Option<Shutdown>,
    exit: Option<MachineExit>,
    // After `process`: a cgroup is removed once it is empty.
    _cgroup: Option<Cgroup>,
}

impl Machine {
    /// Starts QEMU. Returns when it answers; the guest is booting then.
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
        jail: &JailOptions,
        log: File,
    ) -> Result<Machine, BootError> {
        spec.check().map_err(BootError::Spec)?;
        let (qmp, qemu_qmp) = control_connection().map_err(BootError::Control)?;
        let (socket, listener) =
            AgentSocket::create(&jail.directory).map_err(BootError::Channel)?;
        let listener = above_standard_streams(listener).map_err(BootError::Control)?;
        let log = above_standard_streams(log).map_err(BootError::Control)?;
        let console = open_console(spec)?;

        let inherited = Inherited {
            qmp: qemu_qmp.as_raw_fd(),
            agent: listener.as_raw_fd(),
            boot_console: console.as_ref().map(AsRawFd::as_raw_fd),
        };
        let arguments =
            arguments(host, spec, GuestMemory::Anonymous, inherited).map_err(BootError::Spec)?;
        let mut passed = vec![qemu_qmp.as_fd(), listener.as_fd()];
        passed.extend(console.as_ref().map(AsFd::as_fd));

        let memory = (u64::from(spec.memory_mib) << 20).saturating_add(MEMORY_BESIDE_GUEST);
        let threads = spec.vcpus.saturating_add(THREADS_BESIDE_VCPUS);
        let cgroup = host
            .jail
            .make_cgroup(memory, threads)
            .map_err(BootError::Jail)?;
        let child = host
            .jail
            .spawn(&Confined {
                program: host.qemu.program(),
                arguments: &arguments,
                grants: &grants(host, spec, jail),
                base: &jail.directory,
                inherited: &passed,
                output: log.as_fd(),
                file_size_limit: Some(file_size_limit(spec, jail)),
                cgroup: cgroup.as_ref(),
            })
            .map_err(BootError::Jail)?;
        let mut process = Process::watch(child).map_err(BootError::Watch)?;
        // QEMU alone holds its ends now, so that its death is seen here.
        drop((qemu_qmp, listener, console));

        let connected = tokio::time::timeout(START_LIMIT, async {
            let mut qmp = Qmp::connect(qmp).await?;
            qmp.execute("cont", Value::Null).await?;
            Ok(qmp)
        })
        .await;
        let qmp = match connected {
            Ok(Ok(qmp)) => qmp,
            Ok(Err(QmpError::Closed)) => {
                let ended = tokio::time::timeout(START_LIMIT, process.wait()).await;
                let status = ended
                    .map_err(|_| BootError::Silent { limit: START_LIMIT })?
                    .map_err(BootError::Watch)?;
                return Err(BootError::Ended { status });
            }
            Ok(Err(error)) => return Err(BootError::Qmp(error)),
            Err(_) => return Err(BootError::Silent { limit: START_LIMIT }),
        };
        Ok(Machine {
            process,
            qmp,
            socket,
            jail: host.jail.report().clone(),
            shutdown: None,
            exit: None,
            _cgroup: cgroup,
        })
    }

    /// Connects to the agent's port. QEMU serves one connection at a time: a
    /// new one is served once the previous stream is dropped, and the guest
    /// sees the port hang up in between.
    ///
    /// A connection succeeds before the guest has opened the port; what is
    /// written until then is thrown away by QEMU or kept, as it likes. Wait for
    /// the agent to speak first, or repeat.
    ///
    /// # Errors
    /// The machine has ended, or QEMU takes no connection for 10 s.
    pub async fn open_channel(&mut self) -> Result<UnixStream, ChannelError> {
        let connect = async {
            loop {
                match self.socket.connect().await {
                    // Earlier connections are not taken yet.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        tokio::time::sleep(CHANNEL_RETRY).await;
                    }
                    other => return other,
                }
            }
        };
        match tokio::time::timeout(CHANNEL_LIMIT, connect).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(ChannelError::Ended)
            }
            Ok(Err(error)) => Err(ChannelError::Connect(error)),
            Err(_) => Err(ChannelError::Busy {
                limit: CHANNEL_LIMIT,
            }),
        }
    }

    /// Stops the guest's processors. It notices nothing but the time.
    ///
    /// # Errors
    /// QEMU has ended or refuses.
    pub async fn pause(&mut self) -> Result<(), ControlError> {
        self.qmp
            .execute("stop", Value::Null)
            .await
            .map(drop)
            .map_err(ControlError::Qmp)
    }

    /// Lets the guest's processors run again.
    ///
    /// # Errors
    /// QEMU has ended or refuses.
    pub async fn resume(&mut self) -> Result<(), ControlError> {
        self.qmp
            .execute("cont", Value::Null)
            .await
            .map(drop)
            .map_err(ControlError::Qmp)
    }

    /// Ends the machine at once, and waits for its end. What the guest had not
    /// written to its disk is lost.
    ///
    /// # Errors
    /// The process cannot be signalled or waited for.
    pub async fn kill(&mut self) -> Result<MachineExit, ControlError> {
        self.process.kill().map_err(ControlError::Process)?;
        self.wait().await
    }

    /// Waits for the machine's end. May be dropped and called again.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub async fn wait(&mut self) -> Result<MachineExit, ControlError> {
        if let Some(exit) = &self.exit {
            return Ok(exit.clone());
        }
        // Events are read while QEMU lives; after its death the rest of them
        // is still in the socket, up to its end.
        let mut status = None;
        let mut listening = true;
        while status.is_none() || listening {
            tokio::select! {
                biased;
                event = self.qmp.next_event(), if listening => match event {
                    Ok(event) => self.shutdown = shutdown(&event).or(self.shutdown.take()),
                    Err(_) => listening = false,
                },
                ended = self.process.wait(), if status.is_none() => {
                    status = Some(ended.map_err(ControlError::Process)?);
                }
            }
        }
        let status = status.expect("the loop ends only with a status");
        let exit = MachineExit {
            status,
            shutdown: self.shutdown.take(),
        };
        self.exit = Some(exit.clone());
        Ok(exit)
    }

    /// QEMU's process id, in the supervisor's namespace.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What stands between this QEMU and the host.
    pub fn jail_report(&self) -> &JailReport {
        &self.jail
    }

    /// The control connection, for what this type does not offer.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }
}

fn shutdown(event: &QmpEvent) -> Option<Shutdown> {
    if event.name == "GUEST_PANICKED" {
        return Some(Shutdown::Panicked);
    }
    if event.name != "SHUTDOWN" {
        return None;
    }
    Some(
        match event
            .data
            .get("reason")
            .and_then(Value::as_str)
            .unwrap_or("unknown")
        {
            "guest-shutdown" => Shutdown::PoweredOff,
            "guest-reset" => Shutdown::Reset,
            "guest-panic" => Shutdown::Panicked,
            "host-signal" | "host-qmp-quit" | "host-ui" => Shutdown::ByHost,
            other => Shutdown::Other(other.to_owned()),
        },
    )
}

/// Our end for tokio, and QEMU's end.
fn control_connection() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, above_standard_streams(theirs)?))
}

fn open_console(spec: &MachineSpec) -> Result<Option<OwnedFd>, BootError> {
    let Some(path) = &spec.boot_console else {
        return Ok(None);
    };
    let open = || {
        let file = File::create(path)?;
        above_standard_streams(file)
    };
    open().map(Some).map_err(|source| BootError::BootConsole {
        path: path.clone(),
        source,
    })
}

/// A QEMU that was taken over must not fill the host's disk, not even through
/// its log: no file grows beyond what the machine can need.
fn file_size_limit(spec: &MachineSpec, jail: &JailOptions) -> u64 {
    let disk = spec.disk.as_ref().and_then(|disk| disk.metadata().ok());
    let needed = disk
        .map_or(0, |disk| disk.len())
        .max(u64::from(spec.memory_mib) << 20);
    jail.file_size_limit.unwrap_or(needed)
}

fn grants(host: &Host, spec: &MachineSpec, jail: &JailOptions) -> Vec<Grant> {
    let mut grants = host.qemu.grants();
    for path in [&spec.kernel, &spec.initramfs, &spec.root_image] {
        grants.push(Grant::new(path, Access::Read));
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
