//! The lease: a socket between the process that creates a sandbox and the sandbox's supervisor.
//!
//! The creator sends one [`LaunchRequest`] as a line of JSON; the supervisor answers with
//! [`LaunchNews`] lines. When the socket's other end closes, for whatever reason, the supervisor
//! destroys the sandbox, unless [`DETACH`] was said before.

use std::path::PathBuf;

use mvm_contract::{ErrorCode, SandboxId, SandboxSpec};
use serde::{Deserialize, Serialize};

use crate::{command::CommandDefaults, record::SandboxRecord};

/// The line by which the creator gives the sandbox up to itself.
pub(crate) const DETACH: &str = "detach";

/// Everything a supervisor needs to make its sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LaunchRequest {
    pub(crate) home: PathBuf,
    pub(crate) id: SandboxId,
    pub(crate) spec: SandboxSpec,
    pub(crate) created_at_ms: u64,
    pub(crate) image_path: PathBuf,
    pub(crate) image_digest: String,
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    /// An empty file system of the disk's size, to copy.
    pub(crate) empty_disk: PathBuf,
    pub(crate) defaults: CommandDefaults,
    /// Write the kernel's boot messages to `console.log` (slower).
    pub(crate) boot_console: bool,
}

/// What a supervisor tells its creator.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LaunchNews {
    /// The agent answers.
    Ready(Box<SandboxRecord>),
    /// The sandbox is there no more, or never was.
    Failed(LaunchFailure),
    /// The sandbox is detached now.
    Detached,
}

/// A failure as it crosses from the supervisor to its creator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaunchFailure {
    pub(crate) code: ErrorCode,
    /// The chain of causes, outermost first.
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
}

/// The texts of an error and its causes, outermost first.
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Transparent wrappers repeat the text of what they wrap.
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = cause.source();
    }
    texts
}
