//! Workload IR: what a source file, a recording or a person declares, as one canonical document.
//!
//! The document is canonical JSON ([`crate::canonical`]); its digest names the workload wherever
//! it is built, planned or run. Every object refuses unknown fields. What is left out has one
//! meaning, so that equal declarations are equal bytes: a field with its default is not written.
//! [`Workload::validate`] is the one place of the rules; every surface reports its codes.

mod entrypoint;
mod environment;
mod flaw;
mod image;
mod lifecycle;
mod network;
mod storage;
mod validate;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Digest, Resources,
    canonical::{self, Document, ReadError, ShapeError, WriteError},
};

pub use entrypoint::{
    CommandEntrypoint, Entrypoint, FunctionEntrypoint, Language, SOURCE_DIRECTORY, WarmWorkers,
};
pub use environment::{EnvironmentValue, SecretKind};
pub use flaw::{LocatedFlaw, WorkloadFlaw};
pub use image::{DEFAULT_NODE, DEFAULT_PYTHON, Dependencies, Image, NodeTool, PythonTool, Source};
pub use lifecycle::{HealthCheck, Hook, HookCommand, Hooks, Restart};
pub use network::{Dns, Network};
pub use storage::{EmbeddedFile, Mount, MountSource, Volume};
pub use validate::is_name;

/// The version of Workload IR this code reads and writes.
pub const WORKLOAD_VERSION: u32 = 1;
/// The largest document that is read, in bytes.
pub const MAX_WORKLOAD_BYTES: usize = 8 * 1024 * 1024;

/// What is declared: apps that belong together. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// [`WORKLOAD_VERSION`].
    pub version: u32,
    /// Its name: 1 to 63 lowercase letters, digits and `-`, beginning with a letter.
    pub id: String,
    /// The apps, in the order of their declaration.
    pub apps: Vec<App>,
    /// Storage that apps mount by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
}

/// One app: code on an image, with what it may use. It runs in one microVM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Its name, of the form of the workload's.
    pub name: String,
    /// The files that are added to the image; without it, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What it runs on.
    pub image: Image,
    /// What can be started in it; exactly one is primary.
    pub entrypoints: Vec<Entrypoint>,
    /// What its microVM may use.
    #[serde(default)]
    pub resources: Resources,
    /// Environment of everything that is started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, EnvironmentValue>,
    /// What is mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// What it may connect to, and what connects to it; without it, nothing.
    #[serde(default, skip_serializing_if = "Network::is_none")]
    pub network: Network,
    /// What is installed into the image from a lockfile.
    #[serde(default, skip_serializing_if = "Dependencies::is_none")]
    pub dependencies: Dependencies,
    /// What runs at the turns of its life.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// How its health is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// What happens when its command ends.
    #[serde(default, skip_serializing_if = "Restart::is_never")]
    pub restart: Restart,
    /// Files whose content the document itself holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<EmbeddedFile>,
    /// Apps of the workload that are up before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
}

/// Why bytes are not a valid workload.
#[derive(Debug, thiserror::Error)]
pub enum ReadWorkloadError {
    /// They are not a document.
    #[error("not a Workload IR document")]
    Document(#[source] ReadError),
    /// It is of a version this code does not know.
    #[error("Workload IR of version {version} is not known, {WORKLOAD_VERSION} is")]
    Version {
        /// The version it says.
        version: u64,
    },
    /// It is not of this form.
    #[error("not of the form of Workload IR")]
    Shape(#[source] ShapeError),
    /// They are, and break rules.
    #[error("workload `{id}` breaks {} rule(s)", flaws.len())]
    Flaws {
        /// The workload.
        id: String,
        /// Every rule it breaks, in the order of the document.
        flaws: Vec<LocatedFlaw>,
    },
}

impl Workload {
    /// Reads a document, canonical or not, and checks every rule. Its digest is that of its
    /// canonical bytes, whatever bytes were read.
    ///
    /// # Errors
    ///
    /// [`ReadWorkloadError`], with every broken rule.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadWorkloadError> {
        let document =
            Document::read(bytes, MAX_WORKLOAD_BYTES).map_err(ReadWorkloadError::Document)?;
        match document.integer("version") {
            Some(version) if version != u64::from(WORKLOAD_VERSION) => {
                return Err(ReadWorkloadError::Version { version });
            }
            _ => {}
        }
        let workload: Self = document.decode().map_err(ReadWorkloadError::Shape)?;
        let flaws = workload.validate();
        if flaws.is_empty() {
            Ok(workload)
        } else {
            Err(ReadWorkloadError::Flaws {
                id: workload.id,
                flaws,
            })
        }
    }

    /// The canonical bytes.
    ///
    /// # Errors
    ///
    /// Where a schema of an entrypoint holds a number that JSON cannot carry exactly.
    pub fn write(&self) -> Result<Vec<u8>, WriteError> {
        canonical::to_bytes(self)
    }

    /// What names the workload: SHA-256 of its canonical bytes.
    ///
    /// # Errors
    ///
    /// As [`Workload::write`].
    pub fn digest(&self) -> Result<Digest, WriteError> {
        Ok(Digest::of(&self.write()?))
    }

    /// The app of a name.
    #[must_use]
    pub fn app(&self, name: &str) -> Option<&App> {
        self.apps.iter().find(|app| app.name == name)
    }
}

impl App {
    /// What is started where nothing else is named.
    #[must_use]
    pub fn primary(&self) -> Option<&Entrypoint> {
        self.entrypoints
            .iter()
            .find(|entrypoint| entrypoint.primary())
    }

    /// The entrypoint of a name.
    #[must_use]
    pub fn entrypoint(&self, name: &str) -> Option<&Entrypoint> {
        self.entrypoints
            .iter()
            .find(|entrypoint| entrypoint.name() == name)
    }
}

#[cfg(test)]
mod tests;
