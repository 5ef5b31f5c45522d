//! Scripts that are recorded: they speak with a server as ever, and nothing runs.
//!
//! What they ask for is noted, in their order, as an [`mvm_contract::recording`]. Commands succeed
//! and write nothing. What could only be answered by a guest is refused by name, so that no script
//! is recorded on an answer that is made up.

mod routes;
mod stage;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mvm_contract::recording::Recording;

/// What is noted of a script.
#[derive(Clone)]
pub struct Rehearsal {
    /// Whether each sandbox must be one that would be admitted.
    admits: bool,
    noted: Arc<Mutex<Rehearsed>>,
}

/// What was noted of a script.
#[derive(Debug, Clone, Default)]
pub struct Rehearsed {
    /// What it asked for.
    pub recording: Recording,
    /// The plan of each sandbox in a signed envelope, where they were to be admitted.
    pub plans: Vec<Vec<u8>>,
    /// What it asked for that a workload leaves to whoever starts it, such as a time to live.
    pub left_out: Vec<&'static str>,
}

impl Rehearsal {
    /// Notes what a script asks for.
    #[must_use]
    pub fn record() -> Self {
        Self {
            admits: false,
            noted: Arc::default(),
        }
    }

    /// Notes it, and sees for each sandbox that it would be admitted.
    #[must_use]
    pub fn plan() -> Self {
        Self {
            admits: true,
            noted: Arc::default(),
        }
    }

    /// What was noted so far.
    #[must_use]
    pub fn noted(&self) -> Rehearsed {
        self.locked().clone()
    }

    /// Notes are whole whenever the lock is free: each is one push.
    fn locked(&self) -> MutexGuard<'_, Rehearsed> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
