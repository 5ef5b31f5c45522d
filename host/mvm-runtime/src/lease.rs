//! The lease: a socket between the process that creates a sandbox and the sandbox's supervisor.
//!
//! The creator sends one [`Order`] as a line of JSON; the supervisor answers with [`LaunchNews`]
//! lines. When the socket's other end closes, for whatever reason, the supervisor destroys the
//! sandbox, unless [`DETACH`] was said before. A spare is claimed over the same lines: whoever
//! connects to it says [`SpareOrder::Take`], and the connection is the lease from then on.

use std::path::PathBuf;

use mvm_contract::{Digest, ErrorCode, SandboxId, SandboxSpec, plan::LaunchPath};
use serde::{Deserialize, Serialize};

use crate::{
    command::CommandDefaults,
    plan::{GuestSoftware, Launch},
    pool::PoolName,
    record::SandboxRecord,
    template::TemplateShape,
};

/// The line by which the creator gives the sandbox up to itself.
pub(crate) const DETACH: &str = "detach";

/// What a new supervisor process is for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// Make a sandbox and own it.
    Sandbox(Box<LaunchRequest>),
    /// Make a template, and end.
    Template(Box<TemplateRequest>),
    /// Make a spare, and own the sandbox it becomes.
    Spare(SpareRequest),
    /// Bring a sandbox back that was saved to disk, and own it.
    Wake(WakeRequest),
}

/// What is said to a spare.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SpareOrder {
    /// Become this sandbox.
    Take(Box<LaunchRequest>),
    /// End.
    Retire,
}

/// Everything a supervisor needs to make its sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LaunchRequest {
    pub(crate) home: PathBuf,
    /// A claimed spare keeps its own.
    pub(crate) id: SandboxId,
    pub(crate) spec: SandboxSpec,
    pub(crate) created_at_ms: u64,
    pub(crate) image_path: PathBuf,
    pub(crate) image_digest: String,
    pub(crate) software: GuestSoftware,
    pub(crate) defaults: CommandDefaults,
    pub(crate) origin: Origin,
    /// The way of launching: that of `origin`, more exactly.
    pub(crate) path: LaunchPath,
    /// The plan, in its signed envelope. Nothing is launched that it does not describe.
    pub(crate) envelope: String,
    /// Of what a spare is made once the sandbox runs; of nothing where it was not forked from a
    /// template.
    pub(crate) pool: Option<PoolName>,
}

impl LaunchRequest {
    /// What is asked for, for admission; `snapshot` is the digest of the manifest it goes on from.
    pub(crate) fn launch(&self, snapshot: Option<Digest>) -> Launch<'_> {
        Launch {
            spec: &self.spec,
            image_digest: &self.image_digest,
            image_path: &self.image_path,
            software: &self.software,
            path: self.path,
            snapshot,
        }
    }
}

/// Where a sandbox's guest comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// It boots.
    Boot {
        kernel: KernelFiles,
        /// Write the kernel's boot messages to `console.log` (slower).
        boot_console: bool,
        /// Why it boots, for the record.
        reason: String,
    },
    /// It is forked from the template of a key.
    Template { key: String },
    /// It goes on from the snapshot in a folder.
    Snapshot { folder: PathBuf },
}

/// What boots.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KernelFiles {
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    /// An empty file system of the disk's size, to copy.
    pub(crate) empty_disk: PathBuf,
}

/// Everything a supervisor needs to make a template.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TemplateRequest {
    pub(crate) home: PathBuf,
    pub(crate) image: String,
    pub(crate) shape: TemplateShape,
    pub(crate) kernel: KernelFiles,
}

/// Everything a supervisor needs to make a spare.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpareRequest {
    pub(crate) home: PathBuf,
    /// Of the template.
    pub(crate) key: String,
    pub(crate) pool: PoolName,
}

/// Everything a supervisor needs to bring a sandbox back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WakeRequest {
    pub(crate) home: PathBuf,
    pub(crate) id: SandboxId,
}

/// What a supervisor tells its creator.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LaunchNews {
    /// The agent answers.
    Ready {
        record: Box<SandboxRecord>,
        phases: Vec<Phase>,
    },
    /// The template is there.
    Template,
    /// The sandbox is there no more, or never was.
    Failed(LaunchFailure),
    /// The sandbox is detached now.
    Detached,
}

/// A part of a start and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// What was done.
    pub name: String,
    /// How long that took.
    pub milliseconds: f64,
}

/// A failure as it crosses from the supervisor to its creator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaunchFailure {
    pub(crate) code: ErrorCode,
    /// The chain of causes, outermost first.
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
}

impl LaunchFailure {
    pub(crate) fn of(error: &dyn mvm_contract::Coded) -> Self {
        Self {
            code: error.code(),
            causes: causes(error),
            hint: error.hint(),
        }
    }
}

/// Measures the phases of a start, one after the other.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    phases: Vec<Phase>,
    since: std::time::Instant,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self {
            phases: Vec::new(),
            since: std::time::Instant::now(),
        }
    }

    /// Ends a phase; the next begins.
    pub(crate) fn lap(&mut self, name: &str) {
        let now = std::time::Instant::now();
        self.phases.push(Phase {
            name: name.to_owned(),
            milliseconds: (now - self.since).as_secs_f64() * 1000.0,
        });
        self.since = now;
    }

    pub(crate) fn phases(self) -> Vec<Phase> {
        self.phases
    }
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
