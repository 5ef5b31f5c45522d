//! What a script sees: its sandboxes by identifier and name, and what was to be done in them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use mvm_contract::{
    ErrorCode, RunId, SandboxId, SandboxSpec,
    plan::Profile,
    recording::{Operation, RecordedSandbox},
};
use mvm_runtime::{Runtime, Silent};
use tokio::sync::watch;

use super::Rehearsal;
use crate::{problem::Problem, route::trust::read_plan, shapes::sandbox::SandboxShape};

/// What the rehearsal's requests share.
#[derive(Clone)]
pub(super) struct Stage {
    rehearsal: Rehearsal,
    runtime: Runtime,
    pub(super) ending: watch::Receiver<bool>,
    sandboxes: Arc<Mutex<HashMap<String, Staged>>>,
    /// What was named so far: identifiers of a rehearsal are counted.
    named: Arc<AtomicU64>,
}

/// One sandbox of the script.
#[derive(Clone)]
struct Staged {
    /// Which one of the recording.
    index: usize,
    shape: SandboxShape,
}

impl Stage {
    pub(super) fn new(
        rehearsal: Rehearsal,
        runtime: Runtime,
        ending: watch::Receiver<bool>,
    ) -> Self {
        Self {
            rehearsal,
            runtime,
            ending,
            sandboxes: Arc::default(),
            named: Arc::default(),
        }
    }

    /// Notes a sandbox, after it is seen that it would be admitted where that is asked for.
    pub(super) fn create(
        &self,
        spec: SandboxSpec,
        profile: Profile,
    ) -> Result<SandboxShape, Problem> {
        let id = SandboxId::from_random(u128::from(self.count()));
        let mut shape = SandboxShape::rehearsed(&spec, profile, &id);
        let mut plan = None;
        if self.rehearsal.admits {
            let runtime = self.runtime.clone().with_profile(profile);
            let envelope = runtime.dry_run(&spec, &Silent)?;
            let (digest, read) = read_plan(&envelope)?;
            shape.planned(&digest, &read);
            plan = Some(envelope);
        }
        let mut sandboxes = self.locked();
        if let Some(name) = &spec.name
            && sandboxes.contains_key(name.as_str())
        {
            let detail = format!("there is a sandbox named `{name}` already");
            return Err(Problem::invalid(detail).hint("choose another name"));
        }
        let mut noted = self.rehearsal.locked();
        let index = noted.recording.sandboxes.len();
        noted.plans.extend(plan);
        if spec.ttl_seconds.is_some() {
            noted.left_out.push("`ttl_seconds`");
        }
        if profile != Profile::default() {
            noted.left_out.push("`profile`");
        }
        let staged = Staged {
            index,
            shape: shape.clone(),
        };
        if let Some(name) = &spec.name {
            sandboxes.insert(name.to_string(), staged.clone());
        }
        sandboxes.insert(shape.id().to_owned(), staged);
        noted.recording.sandboxes.push(RecordedSandbox {
            spec,
            operations: Vec::new(),
        });
        Ok(shape)
    }

    pub(super) fn show(&self, sandbox: &str) -> Result<SandboxShape, Problem> {
        let sandboxes = self.locked();
        let staged = sandboxes.get(sandbox).ok_or_else(|| not_found(sandbox))?;
        Ok(staged.shape.clone())
    }

    /// Every sandbox that was not ended, in the order of the recording.
    pub(super) fn list(&self) -> Vec<SandboxShape> {
        let sandboxes = self.locked();
        let mut found: Vec<&Staged> = sandboxes
            .iter()
            .filter(|(key, staged)| *key == staged.shape.id())
            .map(|(_, staged)| staged)
            .collect();
        found.sort_by_key(|staged| staged.index);
        found
            .into_iter()
            .map(|staged| staged.shape.clone())
            .collect()
    }

    pub(super) fn note(&self, sandbox: &str, operation: Operation) -> Result<(), Problem> {
        let sandboxes = self.locked();
        let staged = sandboxes.get(sandbox).ok_or_else(|| not_found(sandbox))?;
        let mut noted = self.rehearsal.locked();
        if let Some(recorded) = noted.recording.sandboxes.get_mut(staged.index) {
            recorded.operations.push(operation);
        }
        Ok(())
    }

    /// The sandbox is no more; what was to be done in it stays noted.
    pub(super) fn end(&self, sandbox: &str) -> Result<(), Problem> {
        let mut sandboxes = self.locked();
        let index = sandboxes
            .get(sandbox)
            .ok_or_else(|| not_found(sandbox))?
            .index;
        sandboxes.retain(|_, staged| staged.index != index);
        Ok(())
    }

    /// The number and the identifier of a run that does not take place.
    pub(super) fn run(&self) -> (u64, RunId) {
        let number = self.count();
        (number, RunId::from_random(u128::from(number)))
    }

    fn count(&self) -> u64 {
        self.named.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Staged>> {
        self.sandboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_found(sandbox: &str) -> Problem {
    let detail = format!("the script created no sandbox `{sandbox}`");
    Problem::new(ErrorCode::NotFound, detail)
        .hint("what exists on this host is out of reach while a script is recorded")
}
