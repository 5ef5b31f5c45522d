//! What can be started in an app.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EnvironmentValue;

/// Where an app's source is in the guest.
pub const SOURCE_DIRECTORY: &str = "/app";

/// Something that can be started in an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Entrypoint {
    /// A program with its arguments.
    Command(CommandEntrypoint),
    /// A function that is called with JSON and answers with JSON.
    Function(FunctionEntrypoint),
}

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandEntrypoint {
    /// Its name in the app.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether it is what is started where nothing else is named.
    #[serde(default, skip_serializing_if = "is_false")]
    pub primary: bool,
    /// Where it starts; without it, [`SOURCE_DIRECTORY`] where the app has a source, and else the
    /// image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Environment, over the app's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, EnvironmentValue>,
}

/// A function that is called with JSON and answers with JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FunctionEntrypoint {
    /// Its name in the app.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// The module: a dotted name in Python, a path without `./` below the source in the others.
    pub module: String,
    /// The function's name in the module.
    pub function: String,
    /// Whether it is what is started where nothing else is named.
    #[serde(default, skip_serializing_if = "is_false")]
    pub primary: bool,
    /// Where it starts; without it, [`SOURCE_DIRECTORY`] where the app has a source, and else the
    /// image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Environment, over the app's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, EnvironmentValue>,
    /// JSON Schema of the object of its arguments by name; without it, any object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_schema: Option<Value>,
    /// JSON Schema of its result; without it, any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_schema: Option<Value>,
    /// The parameters in their order, by which positional arguments get their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<String>,
    /// Workers that are kept warm; without it, one call is one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<WarmWorkers>,
}

/// What a function is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Python.
    Python,
    /// TypeScript or JavaScript, run by Node.js.
    Node,
    /// Rust.
    Rust,
}

impl Language {
    /// The language as it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Rust => "rust",
        }
    }
}

/// Workers that have loaded the function before it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmWorkers {
    /// How many are kept, 1 to 64.
    pub pool_size: u32,
    /// How many calls one answers before it is replaced, 1 or more.
    pub max_calls_per_worker: u32,
    /// How much memory one may use before it is replaced, in MiB, at most the app's.
    pub max_memory_mib: u32,
}

impl Entrypoint {
    /// Its name in the app.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Command(command) => &command.name,
            Self::Function(function) => &function.name,
        }
    }

    /// Whether it is what is started where nothing else is named.
    #[must_use]
    pub const fn primary(&self) -> bool {
        match self {
            Self::Command(command) => command.primary,
            Self::Function(function) => function.primary,
        }
    }

    /// Where it starts, if it says so.
    #[must_use]
    pub fn working_directory(&self) -> Option<&str> {
        match self {
            Self::Command(command) => command.working_directory.as_deref(),
            Self::Function(function) => function.working_directory.as_deref(),
        }
    }

    /// Its environment, which comes over the app's.
    #[must_use]
    pub const fn environment(&self) -> &BTreeMap<String, EnvironmentValue> {
        match self {
            Self::Command(command) => &command.environment,
            Self::Function(function) => &function.environment,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
