//! What an app runs on: its image, the files added to it, and what is installed into it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Python of a declaration that names no version: the one that every host has an image of.
pub const DEFAULT_PYTHON: &str = "3.11";
/// The Node.js of a declaration that names no version: the one that every host has an image of.
pub const DEFAULT_NODE: &str = "18";

/// What an app runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Image {
    /// A named source, such as `debian:python`, `oci:HOST/PATH@sha256:…` or `nix:FLAKE#ATTRIBUTE`.
    Source {
        /// The source.
        reference: String,
    },
    /// Python of a version; which image that is, the host's catalog says.
    Python {
        /// The version, such as `3.12`.
        version: String,
        /// Packages of the system beside it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        packages: Vec<String>,
    },
    /// Node.js of a version; which image that is, the host's catalog says.
    Node {
        /// The version, such as `22`.
        version: String,
        /// Packages of the system beside it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        packages: Vec<String>,
    },
    /// Packages of the Nix collection that the host's catalog names.
    NixPackages {
        /// Their attribute names, such as `python312`.
        packages: Vec<String>,
    },
}

/// Files that are added to an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A directory beside the declaration.
    Local {
        /// The directory, relative to the declaration's; `.` is the declaration's own.
        path: String,
        /// Which files, as globs of paths below it; at least one.
        #[serde(default = "everything", skip_serializing_if = "is_everything")]
        include: Vec<String>,
        /// Which of those not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        exclude: Vec<String>,
    },
}

fn everything() -> Vec<String> {
    vec!["**".to_owned()]
}

fn is_everything(globs: &[String]) -> bool {
    matches!(globs, [glob] if glob == "**")
}

/// What is installed into an image from a lockfile whose every entry has a hash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Dependencies {
    /// Nothing.
    #[default]
    None,
    /// Python packages.
    Python {
        /// The lockfile, relative to the declaration's directory.
        lockfile: String,
        /// What wrote it.
        tool: PythonTool,
    },
    /// Node.js packages.
    Node {
        /// The lockfile, relative to the declaration's directory.
        lockfile: String,
        /// What wrote it.
        tool: NodeTool,
    },
}

impl Dependencies {
    /// Whether nothing is installed.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// What writes lockfiles of Python packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PythonTool {
    /// `uv.lock`, or what `uv pip compile` writes.
    Uv,
    /// What `pip-compile` writes.
    PipTools,
}

/// What writes lockfiles of Node.js packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeTool {
    /// `package-lock.json`.
    Npm,
    /// `pnpm-lock.yaml`.
    Pnpm,
    /// `yarn.lock`.
    Yarn,
}
