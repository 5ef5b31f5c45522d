//! Builds the guest agent, so that its bytes can be embedded in the host program.
//!
//! The agent is another artifact than everything around it: static, for a fixed target, with a
//! profile of its own, and the same whatever profile or tool (clippy, a coverage wrapper) the
//! host side is built with. So it is built by a Cargo of its own, in a target directory that all
//! host profiles share, with an environment from which the outer build has been removed.
#![allow(
    clippy::print_stdout,
    reason = "this is how a build script talks to Cargo"
)]

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "agent";

/// Names a finished agent to embed instead of building one: for packagers who build it apart.
const PREBUILT: &str = "MVM_AGENT_BINARY";

fn main() {
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    let agent = match env::var_os(PREBUILT) {
        Some(path) => {
            println!("cargo::rerun-if-changed={}", Path::new(&path).display());
            Ok(PathBuf::from(path))
        }
        None => build(),
    };
    // A copy of our own: the shared directory may be rebuilt while the compiler reads.
    let embedded = variable("OUT_DIR").map(|directory| Path::new(&directory).join("mvm-agent"));
    let done = agent.and_then(|agent| {
        let embedded = embedded?;
        fs::copy(&agent, &embedded).map_err(|error| {
            format!("cannot copy the guest agent `{}`: {error}", agent.display())
        })?;
        Ok(embedded)
    });
    match done {
        Ok(embedded) => println!("cargo::rustc-env=MVM_AGENT={}", embedded.display()),
        Err(message) => println!(
            "cargo::error={}",
            message.trim_end().replace('\n', "\ncargo::error=")
        ),
    }
}

fn build() -> Result<PathBuf, String> {
    let workspace = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("../..");
    let workspace = workspace.canonicalize().map_err(|error| {
        format!(
            "cannot find the workspace `{}`: {error}",
            workspace.display()
        )
    })?;
    for input in ["guest", "contract/mvm-wire", "Cargo.lock", "Cargo.toml"] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(input).display()
        );
    }

    let target_directory = shared_target_directory(Path::new(&variable("OUT_DIR")?));
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .current_dir(&workspace)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "mvm-agent",
            "--bin",
            "mvm-agent",
        ])
        .args(["--profile", PROFILE, "--target", TARGET, "--target-dir"])
        .arg(&target_directory);
    for (name, _) in env::vars_os().filter(|(name, _)| belongs_to_the_outer_build(name)) {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", compiler_flags(&workspace));

    let output = cargo
        .output()
        .map_err(|error| format!("cannot start `cargo` for the guest agent: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "the guest agent does not build ({}):\n{}\nhint: `cargo build -p mvm-agent` shows it alone; \
             the target `{TARGET}` must be installed",
            output.status,
            String::from_utf8_lossy(&output.stderr),
        ));
    }
    Ok(target_directory
        .join(TARGET)
        .join(PROFILE)
        .join("mvm-agent"))
}

/// Static, and without the paths of this machine, so that equal sources give equal bytes.
fn compiler_flags(workspace: &Path) -> OsString {
    let mut flags = OsString::from("-Ctarget-feature=+crt-static");
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    for (from, to) in [(Some(workspace.to_owned()), "/mvm"), (home, "/cargo")] {
        if let Some(from) = from {
            flags.push("\u{1f}--remap-path-prefix=");
            flags.push(from);
            flags.push("=");
            flags.push(to);
        }
    }
    flags
}

/// What Cargo, clippy and wrappers set for the outer build. Where crates come from (registries,
/// proxies, offline mode) and the job server stay.
fn belongs_to_the_outer_build(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_MAKEFLAGS",
        "RUSTUP_",
    ];
    const REMOVED: [&str; 5] = ["CARGO", "RUST", "CLIPPY_", "DEP_", "LLVM_PROFILE_"];
    const REMOVED_EXACTLY: [&str; 8] = [
        "TARGET",
        "HOST",
        "PROFILE",
        "DEBUG",
        "OPT_LEVEL",
        "OUT_DIR",
        "NUM_JOBS",
        "LD_LIBRARY_PATH",
    ];
    !KEPT.iter().any(|kept| name.starts_with(kept))
        && (REMOVED.iter().any(|removed| name.starts_with(removed))
            || REMOVED_EXACTLY.contains(&name))
}

/// `guest` below the target directory, which Cargo marks with a `CACHEDIR.TAG`.
fn shared_target_directory(out: &Path) -> PathBuf {
    out.ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").is_file())
        .unwrap_or(out)
        .join("guest")
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("`{name}` is not set: run this through Cargo"))
}
