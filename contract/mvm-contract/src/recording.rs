//! What a script asked of the Runtime SDK while nothing ran, and the workload that says the same.
//!
//! A recording is a document like every other: strict, with unknown fields refused. It holds what
//! was written into sandboxes and the values of variables, as the workload made of it does.

mod lower;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{SandboxSpec, canonical::Document};

pub use lower::LowerError;

/// The version of recordings this code reads and writes.
pub const RECORDING_VERSION: u32 = 1;
/// The largest recording that is read, in bytes.
pub const MAX_RECORDING_BYTES: usize = 64 * 1024 * 1024;

/// What a script asked for, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// [`RECORDING_VERSION`].
    pub version: u32,
    /// Its sandboxes, in the order of their creation.
    pub sandboxes: Vec<RecordedSandbox>,
}

/// One sandbox, and what was to be done in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedSandbox {
    /// What was asked for.
    pub spec: SandboxSpec,
    /// What was done, in its order.
    pub operations: Vec<Operation>,
}

/// Something that was to be done in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// Run a command.
    Run {
        /// The command.
        command: RecordedCommand,
    },
    /// Write a file.
    WriteFile {
        /// Absolute path of the guest.
        path: String,
        /// Its bytes, in base64.
        content_base64: String,
        /// Its permission bits, where they were given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<u32>,
    },
    /// Make a directory.
    MakeDirectory {
        /// Absolute path of the guest.
        path: String,
        /// Its permission bits, where they were given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<u32>,
        /// Whether missing parents are made.
        parents: bool,
    },
    /// Remove a file or a directory.
    Remove {
        /// Absolute path of the guest.
        path: String,
        /// Whether a directory goes with all in it.
        recursive: bool,
    },
    /// Rename a file or a directory.
    Rename {
        /// Absolute path of the guest.
        from: String,
        /// Absolute path of the guest.
        to: String,
    },
}

/// A command, as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedCommand {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// Environment over the sandbox's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Where it starts, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// As whom, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its limit in time, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Why bytes are not a recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadRecordingError {
    /// They are not a document.
    #[error("not a recording")]
    Document(#[source] crate::canonical::ReadError),
    /// It is of a version this code does not know.
    #[error("a recording of version {version} is not known, {RECORDING_VERSION} is")]
    Version {
        /// The version it says.
        version: u64,
    },
    /// It is not of this form.
    #[error("not of the form of a recording")]
    Shape(#[source] crate::canonical::ShapeError),
}

impl Recording {
    /// A recording of nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            version: RECORDING_VERSION,
            sandboxes: Vec::new(),
        }
    }

    /// Reads a recording.
    ///
    /// # Errors
    ///
    /// [`ReadRecordingError`].
    pub fn read(bytes: &[u8]) -> Result<Self, ReadRecordingError> {
        let document =
            Document::read(bytes, MAX_RECORDING_BYTES).map_err(ReadRecordingError::Document)?;
        match document.integer("version") {
            Some(version) if version != u64::from(RECORDING_VERSION) => {
                Err(ReadRecordingError::Version { version })
            }
            _ => document.decode().map_err(ReadRecordingError::Shape),
        }
    }
}

impl Default for Recording {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
