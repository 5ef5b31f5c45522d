//! What calls functions in the guest: one small program per language, put into every image that
//! has a function in it. They run where nobody is trusted.

use mvm_contract::workload::{App, Entrypoint, Language};

/// The longest line that is said to a function or taken from it, in bytes.
pub(crate) const MOST_MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// Where the workload's document is in its image, without the leading `/`.
pub(crate) const WORKLOAD_FILE: &str = "etc/mvm/workload.json";

/// Files of a runner, below `usr/lib/mvm/`.
type Files = &'static [(&'static str, &'static str)];

macro_rules! runner_files {
    ($($name:literal <- $path:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../", $path)))),*]
    };
}

const PYTHON: Files = runner_files![
    "runner.py" <- "guest/runner/python/runner.py",
    "python/mvm/__init__.py" <- "guest/runner/python/mvm/__init__.py",
];

const NODE: Files = runner_files![
    "runner.mjs" <- "guest/runner/node/runner.mjs",
    "resolve.mjs" <- "guest/runner/node/resolve.mjs",
    "sdk.mjs" <- "guest/runner/node/sdk.mjs",
];

/// The files that an app's functions need, by their path without the leading `/`.
pub(crate) fn files(app: &App) -> impl Iterator<Item = (String, &'static str)> {
    let speaks = |language| {
        app.entrypoints.iter().any(|entrypoint| {
            matches!(entrypoint, Entrypoint::Function(function) if function.language == language)
        })
    };
    let python = if speaks(Language::Python) {
        PYTHON
    } else {
        &[]
    };
    let node = if speaks(Language::Node) { NODE } else { &[] };
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
