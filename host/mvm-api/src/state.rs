//! What all requests share. Nothing of it outlives the server, and nothing is lost with it but the
//! leases of its connections.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mvm_contract::SandboxId;
use mvm_runtime::{ProcessInput, Runtime, Sandbox};
use tokio::sync::watch;

use crate::metrics::Metrics;

/// A sandbox whose lease a connection holds; nothing once it was let go of.
pub(crate) type Leased = Arc<tokio::sync::Mutex<Option<Sandbox>>>;
/// The way into a process that a connection started.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) writer: Arc<tokio::sync::Mutex<ProcessInput>>,
    /// Whether its standard input was asked to stay open.
    pub(crate) takes_bytes: bool,
    pub(crate) has_terminal: bool,
}

impl Input {
    pub(crate) fn new(writer: ProcessInput, takes_bytes: bool, has_terminal: bool) -> Self {
        Self {
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
            takes_bytes,
            has_terminal,
        }
    }
}

#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) runtime: Runtime,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the server ends: streams end then, too.
    pub(crate) ending: watch::Receiver<bool>,
    leases: Arc<Mutex<HashMap<SandboxId, Leased>>>,
    inputs: Arc<Mutex<HashMap<(SandboxId, u64), Input>>>,
}

impl Api {
    pub(crate) fn new(runtime: Runtime, ending: watch::Receiver<bool>) -> Self {
        Self {
            runtime,
            metrics: Arc::default(),
            ending,
            leases: Arc::default(),
            inputs: Arc::default(),
        }
    }

    /// Remembers that a connection holds a sandbox, for as long as what is returned lives.
    pub(crate) fn hold(&self, sandbox: Sandbox) -> Held {
        let id = sandbox.id().clone();
        let leased: Leased = Arc::new(tokio::sync::Mutex::new(Some(sandbox)));
        locked(&self.leases).insert(id.clone(), Arc::clone(&leased));
        Held {
            api: self.clone(),
            id,
        }
    }

    /// The sandbox of a lease that this server holds.
    pub(crate) fn leased(&self, id: &SandboxId) -> Option<Leased> {
        locked(&self.leases).get(id).cloned()
    }

    /// Remembers the way into a process, for as long as what is returned lives.
    pub(crate) fn keep_input(&self, sandbox: &SandboxId, process: u64, input: Input) -> Kept {
        let key = (sandbox.clone(), process);
        locked(&self.inputs).insert(key.clone(), input);
        Kept {
            api: self.clone(),
            key,
        }
    }

    pub(crate) fn input(&self, sandbox: &SandboxId, process: u64) -> Option<Input> {
        locked(&self.inputs)
            .get(&(sandbox.clone(), process))
            .cloned()
    }

    /// Returns when the server ends.
    pub(crate) async fn ended(&self) {
        let mut ending = self.ending.clone();
        let _ = ending.wait_for(|ending| *ending).await;
    }
}

/// A lease: dropped, the sandbox is destroyed, unless it was taken out before.
pub(crate) struct Held {
    api: Api,
    id: SandboxId,
}

impl Drop for Held {
    fn drop(&mut self) {
        locked(&self.api.leases).remove(&self.id);
    }
}

/// The way into a process, while its stream lives.
pub(crate) struct Kept {
    api: Api,
    key: (SandboxId, u64),
}

impl Drop for Kept {
    fn drop(&mut self) {
        locked(&self.api.inputs).remove(&self.key);
    }
}

/// A panic elsewhere leaves a map that is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
