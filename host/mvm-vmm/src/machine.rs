//! A running machine.

mod restore;
mod save;
mod start;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::{NamedTempFile, TempPath};
use tokio::net::UnixStream;

use crate::channel::{AgentSocket, ChannelError};
use crate::host::Host;
use crate::jail::{Cgroup, JailReport, Layer};
use crate::process::Process;
use crate::qmp::{Qmp, QmpError, QmpEvent};

pub use restore::{EmptyMachine, RestoreError, SavedMachine, SavedMemory};
pub use save::SaveError;
pub use start::StartError;

/// How long QEMU may leave connections to the agent's port waiting.
const CHANNEL_LIMIT: Duration = Duration::from_secs(10);
const CHANNEL_RETRY: Duration = Duration::from_millis(2);
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

/// The file that QEMU writes a machine's state to. QEMU opens it by name, and
/// only one it was granted when it started.
#[derive(Debug)]
struct StateFile {
    file: File,
    /// Its name for QEMU.
    path: PathBuf,
    /// Its name on the host, when QEMU sees no other.
    _named: Option<TempPath>,
}

impl StateFile {
    /// In a root of its own, QEMU keeps the name when the host forgets it.
    fn new(file: NamedTempFile, path: PathBuf, host: &Host) -> StateFile {
        let (file, named) = file.into_parts();
        let private = host.jail().report().is_applied(Layer::PrivateRoot);
        StateFile {
            file,
            path,
            _named: (!private).then_some(named),
        }
    }
}

/// One of the two ports on which the agent serves.
///
/// A machine restored from a saved one is spoken to on the [other](Port::other)
/// port than the saved one was: that port is quiet in the saved state, so the
/// new connection begins without the old one's end having been noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Port {
    /// The port of a machine that booted.
    First,
    /// Its other port.
    Second,
}

impl Port {
    /// The port that is not this one.
    #[must_use]
    pub fn other(self) -> Port {
        match self {
            Port::First => Port::Second,
            Port::Second => Port::First,
        }
    }

    fn index(self) -> usize {
        match self {
            Port::First => 0,
            Port::Second => 1,
        }
    }
}

/// A QEMU that runs. Dropping it kills and reaps the process, and the kernel
/// kills it when the thread that booted it ends, however that happens.
#[derive(Debug)]
pub struct Machine {
    process: Process,
    qmp: Qmp,
    sockets: [AgentSocket; 2],
    state_file: StateFile,
    jail: JailReport,
    shutdown: Option<Shutdown>,
    exit: Option<MachineExit>,
    // After `process`: a cgroup is removed once it is empty.
    _cgroup: Option<Cgroup>,
}

impl Machine {
    /// Connects to one of the agent's ports. QEMU serves one connection at a
    /// time on each: a new one is served once the previous stream is dropped,
    /// and the guest sees the port hang up in between.
    ///
    /// A connection succeeds before the guest has opened the port; what is
    /// written until then is thrown away by QEMU or kept, as it likes. Wait for
    /// the agent to speak first, or repeat.
    ///
    /// # Errors
    /// The machine has ended, or QEMU takes no connection for 10 s.
    pub async fn open_channel(&mut self, port: Port) -> Result<UnixStream, ChannelError> {
        let socket = &self.sockets[port.index()];
        let connect = async {
            loop {
                match socket.connect().await {
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
