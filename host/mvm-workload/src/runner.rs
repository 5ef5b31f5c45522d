//! What calls functions in the guest: one small program per language, put into every image that
//! has a function in it. They run where nobody is trusted.

use mvm_contract::workload::{App, Entrypoint, Language};

/// The longest line that is said to a function or taken from it, in bytes.
pub(crate) const MOST_MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// Where the workload's document is in its image, without the leading `/`.
pub(crate) const WORKLOAD_FILE: &str = "etc/mvm/workload.json";

/// Files of a runner, below `usr/lib/mvm/`; `guest/runner/README.md` has them.
type Files = &'static [(&'static str, &'static str)];

macro_rules! runner_files {
    ($($name:literal <- $path:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../", $path)))),*]
    };
}

const PYTHON: Files = runner_files![
    "runner.py" <- "guest/runner/python/runner.py",
    "mvm_runner/__init__.py" <- "guest/runner/python/mvm_runner/__init__.py",
    "mvm_runner/call.py" <- "guest/runner/python/mvm_runner/call.py",
    "mvm_runner/channel.py" <- "guest/runner/python/mvm_runner/channel.py",
    "mvm_runner/entrypoint.py" <- "guest/runner/python/mvm_runner/entrypoint.py",
    "mvm_runner/failure.py" <- "guest/runner/python/mvm_runner/failure.py",
    "mvm_runner/schema.py" <- "guest/runner/python/mvm_runner/schema.py",
    "mvm_runner/values.py" <- "guest/runner/python/mvm_runner/values.py",
    "python/mvm/__init__.py" <- "guest/runner/python/mvm/__init__.py",
    "python/mvm/invocation.py" <- "guest/runner/python/mvm/invocation.py",
    "python/mvm/declare/__init__.py" <- "sdk/python/src/mvm/declare/__init__.py",
    "python/mvm/declare/decorators.py" <- "sdk/python/src/mvm/declare/decorators.py",
    "python/mvm/declare/entrypoints.py" <- "sdk/python/src/mvm/declare/entrypoints.py",
    "python/mvm/declare/functions.py" <- "sdk/python/src/mvm/declare/functions.py",
    "python/mvm/declare/images.py" <- "sdk/python/src/mvm/declare/images.py",
    "python/mvm/declare/networks.py" <- "sdk/python/src/mvm/declare/networks.py",
    "python/mvm/declare/signatures.py" <- "sdk/python/src/mvm/declare/signatures.py",
    "python/mvm/declare/storage.py" <- "sdk/python/src/mvm/declare/storage.py",
    "python/mvm/declare/value.py" <- "sdk/python/src/mvm/declare/value.py",
    "python/mvm/declare/values.py" <- "sdk/python/src/mvm/declare/values.py",
];

const NODE: Files = runner_files![
    "call.mjs" <- "guest/runner/node/call.mjs",
    "entrypoint.mjs" <- "guest/runner/node/entrypoint.mjs",
    "failure.mjs" <- "guest/runner/node/failure.mjs",
    "kernel-randomness.mjs" <- "guest/runner/node/kernel-randomness.mjs",
    "randomness.mjs" <- "guest/runner/node/randomness.mjs",
    "resolve.mjs" <- "guest/runner/node/resolve.mjs",
    "runner.mjs" <- "guest/runner/node/runner.mjs",
    "schema.mjs" <- "guest/runner/node/schema.mjs",
    "streams.mjs" <- "guest/runner/node/streams.mjs",
    "node/sdk/index.js" <- "guest/runner/node/sdk/index.js",
    "node/sdk/invocation.js" <- "guest/runner/node/sdk/invocation.js",
    "node/sdk/package.json" <- "guest/runner/node/sdk/package.json",
    "node/sdk/declare/declared.js" <- "guest/runner/node/sdk/declare/declared.js",
    "node/sdk/declare/decorators.js" <- "guest/runner/node/sdk/declare/decorators.js",
    "node/sdk/declare/functions.js" <- "guest/runner/node/sdk/declare/functions.js",
    "node/sdk/declare/parts.js" <- "guest/runner/node/sdk/declare/parts.js",
    "node/sdk/declare/index.js" <- "guest/runner/node/sdk/declare/index.js",
    "node/sdk/declare/json-value.js" <- "guest/runner/node/sdk/declare/json-value.js",
];

/// Whether an app has a function in a language.
pub(crate) fn speaks(app: &App, language: Language) -> bool {
    app.entrypoints.iter().any(|entrypoint| {
        matches!(entrypoint, Entrypoint::Function(function) if function.language == language)
    })
}

/// The files that an app's functions need, by their path without the leading `/`.
pub(crate) fn files(app: &App) -> impl Iterator<Item = (String, &'static str)> {
    let of = |language, files: Files| {
        if speaks(app, language) { files } else { &[] }
    };
    let (python, node) = (of(Language::Python, PYTHON), of(Language::Node, NODE));
    let files = python.iter().chain(node);
    files.map(|(name, text)| (format!("usr/lib/mvm/{name}"), *text))
}

/// The command that loads a function and waits for calls.
pub(crate) fn command(language: Language, app: &str, entrypoint: &str) -> [String; 4] {
    let (program, runner) = match language {
        Language::Python => ("python3", "/usr/lib/mvm/runner.py"),
        // Functions in Rust were refused before.
        Language::Node | Language::Rust => ("node", "/usr/lib/mvm/runner.mjs"),
    };
    [program, runner, app, entrypoint].map(str::to_owned)
}
