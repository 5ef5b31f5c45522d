//! Lifecycle states of a sandbox.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a sandbox is in its life.
///
/// ```text
/// creating -> running <-> paused
///    |        |  ^  |
///    |        v  |  +-----> stopped -> (destroyed)
///    |      cold |
///    |        |  |
///    |        v  |
///    |     restoring
///    +--------+-----------> failed --> (destroyed)
/// ```
///
/// A destroyed sandbox leaves no record, so `destroyed` is only ever reported, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LifecycleState {
    /// Its microVM boots.
    Creating,
    /// Its agent answers.
    Running,
    /// In memory, without processor time.
    Paused,
    /// Saved to disk, without memory.
    Cold,
    /// Coming back from disk.
    Restoring,
    /// Ended in order; its disk and logs are kept.
    Stopped,
    /// Ended by itself or by a fault; its disk and logs are kept.
    Failed,
    /// Gone, with all it had.
    Destroyed,
}

impl LifecycleState {
    /// Whether a supervisor process must be there in this state.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(
            self,
            Self::Creating | Self::Running | Self::Paused | Self::Restoring
        )
    }

    /// The state as it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cold => "cold",
            Self::Restoring => "restoring",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Destroyed => "destroyed",
        }
    }
}

impl fmt::Display for LifecycleState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}
