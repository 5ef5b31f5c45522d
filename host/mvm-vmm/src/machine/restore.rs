//! A machine that goes on where a saved one stopped.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::save::POLL_INTERVAL;
use super::{Machine, Port, StartError};
use crate::channel::ChannelError;
use crate::command_line::Origin;
use crate::host::Host;
use crate::jail::JailOptions;
use crate::machine_spec::{GuestMemory, MachineSpec};
use crate::private_pages::{PrivateMemory, PrivatePagesError};
use crate::qmp::QmpError;

/// Loading takes milliseconds, and for a stream as long as reading the memory.
const LOAD_LIMIT: Duration = Duration::from_secs(120);

/// A saved machine.
pub struct SavedMachine<'a> {
    /// What [`save_devices`](Machine::save_devices) or
    /// [`save_stream`](Machine::save_stream) wrote, from its start.
    pub state: &'a File,
    /// Where its memory is.
    pub memory: SavedMemory<'a>,
    /// The ports to which the host was connected when the machine was saved, and is to be again: the
    /// guest then notices nothing of its having been saved.
    pub connected: &'a [Port],
}

/// The memory of a saved machine.
pub enum SavedMemory<'a> {
    /// A memory file, and what the machine changed over it.
    Delta {
        /// The file of the machine that forks are made over.
        file: &'a Path,
        /// A page delta, when there is one.
        pages: Option<&'a mut dyn Read>,
    },
    /// In the state's own stream.
    Stream,
}

/// A machine that was not restored. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// QEMU did not start.
    #[error("cannot start QEMU for the saved machine")]
    Start(#[source] StartError),
    /// The pages were not put into its memory.
    #[error("cannot load the pages the saved machine had changed")]
    Pages(#[source] PrivatePagesError),
    /// The port was not connected to.
    #[error("cannot connect to the saved machine's port")]
    Connect(#[source] ChannelError),
    /// QEMU refused, or the connection broke.
    #[error("QEMU did not load the saved machine")]
    Qmp(#[source] QmpError),
    /// QEMU could not load the state.
    #[error("QEMU could not load the saved state: {reason}")]
    Failed {
        /// QEMU's own words.
        reason: String,
    },
    /// QEMU did not end loading.
    #[error("QEMU loaded the saved state for longer than {} s", LOAD_LIMIT.as_secs())]
    Slow,
}

impl RestoreError {
    /// A way out, when the user has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            RestoreError::Start(error) => error.hint(),
            _ => None,
        }
    }
}

impl Machine {
    /// Makes a machine that goes on where a saved one stopped, paused until
    /// [`resume`](Machine::resume), and the channels of the ports that are
    /// [connected](SavedMachine::connected). `spec` must say what the saved machine
    /// was. The rest is as for [`boot`](Machine::boot).
    ///
    /// # Errors
    /// Nothing is left running after an error.
    pub async fn restore(
        host: &Host,
        spec: &MachineSpec,
        saved: SavedMachine<'_>,
        jail: &JailOptions,
        log: File,
    ) -> Result<(Machine, Vec<UnixStream>), RestoreError> {
        let memory = match &saved.memory {
            SavedMemory::Delta { file, .. } => GuestMemory::Private(file),
            SavedMemory::Stream => GuestMemory::Anonymous,
        };
        let empty = Machine::start_empty(host, spec, memory, jail, log).await;
        empty.map_err(RestoreError::Start)?.load(saved).await
    }

    /// Starts a machine that has no guest yet, for whoever has not checked yet what is to be
    /// loaded. `memory` is that of the saved machine: private to this one, or anonymous where it
    /// is in the saved stream.
    ///
    /// # Errors
    /// Nothing is left running after an error.
    pub async fn start_empty(
        host: &Host,
        spec: &MachineSpec,
        memory: GuestMemory<'_>,
        jail: &JailOptions,
        log: File,
    ) -> Result<EmptyMachine, StartError> {
        let machine = Machine::start(host, spec, Origin::Saved, memory, jail, log).await?;
        Ok(EmptyMachine {
            machine,
            memory_bytes: spec.memory_bytes(),
        })
    }
}

/// A machine that waits for what it is to go on from. Dropped, nothing is left of it.
pub struct EmptyMachine {
    machine: Machine,
    memory_bytes: u64,
}

impl EmptyMachine {
    /// Makes it the saved machine, paused; see [`Machine::restore`].
    ///
    /// # Errors
    /// Nothing is left running after an error.
    pub async fn load(
        self,
        saved: SavedMachine<'_>,
    ) -> Result<(Machine, Vec<UnixStream>), RestoreError> {
        let mut machine = self.machine;
        if let SavedMemory::Delta {
            file,
            pages: Some(pages),
        } = saved.memory
        {
            // Before the devices: they look at memory when they are loaded.
            PrivateMemory::open(machine.pid(), file)
                .and_then(|memory| memory.load(pages, self.memory_bytes))
                .map_err(RestoreError::Pages)?;
        }
        let loaded = tokio::time::timeout(LOAD_LIMIT, async {
            // Before the state says so, or the guest would be told of a change.
            let mut channels = Vec::new();
            for port in saved.connected {
                channels.push(machine.connect_before_load(*port).await?);
            }
            machine.load(saved.state).await?;
            Ok(channels)
        });
        let channels = loaded.await.map_err(|_| RestoreError::Slow)??;
        Ok((machine, channels))
    }
}

impl Machine {
    /// Connects to a port and waits until QEMU has taken the connection.
    async fn connect_before_load(&mut self, port: Port) -> Result<UnixStream, RestoreError> {
        let channel = self
            .open_channel(port)
            .await
            .map_err(RestoreError::Connect)?;
        let label = format!("agent{}", port.index());
        loop {
            let devices = self.qmp.execute("query-chardev", Value::Null).await;
            let devices = devices.map_err(RestoreError::Qmp)?;
            let device = devices
                .as_array()
                .and_then(|devices| devices.iter().find(|device| device["label"] == *label));
            let name = device.and_then(|device| device["filename"].as_str());
            if name.is_some_and(|name| !name.starts_with("disconnected:")) {
                return Ok(channel);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn load(&mut self, state: &File) -> Result<(), RestoreError> {
        let load = async {
            self.give_file("saved", state).await?;
            let arguments = json!({ "uri": "fd:saved" });
            self.qmp.execute("migrate-incoming", arguments).await?;
            self.migrated().await
        };
        match load.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(RestoreError::Failed { reason }),
            // An incoming stream that is wrong ends QEMU, which tells its log why.
            Err(QmpError::Closed) => Err(RestoreError::Failed {
                reason: "it ended; its own message is in the machine's log".to_owned(),
            }),
            Err(error) => Err(RestoreError::Qmp(error)),
        }
    }
}
