//! `mvmctl run SCRIPT`: a program of this host that uses an SDK.
//!
//! The script itself runs here, as its user, in every mode: only what it asks of the SDK is live,
//! recorded or planned. It finds its server by `MVM_URL`.

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use mvm_api::{Place, Rehearsal, Rehearsed, Server};
use mvm_contract::exit_status;
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use super::{Context, plan, serve, serve::SOCKET, trust};
use crate::{arguments::Mode, failure::Failure, output};

/// From this version on Node.js runs TypeScript as it is (its release notes of 22.18).
const NODE_WITH_TYPES: (u32, u32) = (22, 18);
/// What a workload is called whose script has no name that could be one.
const NAMELESS: &str = "script";

pub(super) async fn run(
    context: Context,
    script: &Path,
    arguments: Vec<OsString>,
    mode: Mode,
    recording: Option<&Path>,
) -> Result<u8, Failure> {
    if let Err(error) = std::fs::metadata(script) {
        let doing = format!("cannot run `{}`", script.display());
        return Err(Failure::host_io(doing, &error));
    }
    let mut command = interpreter(script).await?;
    command.arg(script).args(arguments);
    if let Ok(own) = std::env::current_exe() {
        command.env("MVM_MVMCTL", own);
    }
    if mode == Mode::Live {
        if recording.is_some() {
            return Err(Failure::invalid(
                "what runs is not recorded",
                "give `--mode record`, or leave `--recording` out",
            ));
        }
        return wait(spawn(command, script)?).await;
    }
    let rehearsal = match mode {
        Mode::Plan => Rehearsal::plan(),
        _ => Rehearsal::record(),
    };
    let ended = rehearse(&context, command, script, &rehearsal).await?;
    if ended != 0 {
        let text = format!(
            "`{}` ended with {ended}; nothing of it is kept",
            script.display()
        );
        output::talk(format_args!("error: {text}"));
        return Ok(ended);
    }
    let noted = rehearsal.noted();
    if let Some(path) = recording {
        let bytes = mvm_contract::canonical::to_bytes(&noted.recording);
        let bytes = bytes.map_err(|error| Failure::invalid(error.to_string(), "report this"))?;
        trust::write_new(path, &bytes)?;
    }
    report(&context, script, mode, &noted)?;
    Ok(0)
}

/// Prints what became of the script's sandboxes.
fn report(context: &Context, script: &Path, mode: Mode, noted: &Rehearsed) -> Result<(), Failure> {
    if !context.quiet {
        for what in &noted.left_out {
            output::talk(format_args!(
                "note: {what} is left to whoever starts the workload"
            ));
        }
    }
    if mode == Mode::Plan {
        for envelope in &noted.plans {
            plan::show(context, envelope)?;
        }
        return Ok(());
    }
    let workload = noted.recording.workload(&workload_name(script))?;
    let bytes = workload.write();
    let bytes = bytes.map_err(|error| Failure::invalid(error.to_string(), "report this"))?;
    output::data(String::from_utf8_lossy(&bytes))
}

/// Runs the script against a server of its own that notes what it asks for.
async fn rehearse(
    context: &Context,
    mut command: Command,
    script: &Path,
    rehearsal: &Rehearsal,
) -> Result<u8, Failure> {
    let folder = serve::directory()?;
    let socket = folder.path().join(SOCKET);
    command
        .env("MVM_URL", format!("unix://{}", socket.display()))
        .env_remove("MVM_TOKEN")
        // What is printed as data is the workload or the plans.
        .stdout(Stdio::from(
            rustix::io::dup(rustix::stdio::stderr()).map_err(|error| {
                Failure::host_io("failed to share standard error", &error.into())
            })?,
        ));
    let server = Server::bind(context.runtime.clone(), Place::Unix(socket)).await?;
    let (end, ends) = oneshot::channel::<()>();
    let serving = {
        let rehearsal = rehearsal.clone();
        tokio::spawn(async move {
            let ended = async {
                let _ = ends.await;
            };
            server.rehearse(&rehearsal, ended).await;
        })
    };
    let ended = match spawn(command, script) {
        Ok(child) => wait(child).await,
        Err(failure) => Err(failure),
    };
    drop(end);
    let _ = serving.await;
    ended
}

fn spawn(mut command: Command, script: &Path) -> Result<Child, Failure> {
    let spawned = command.kill_on_drop(true).spawn();
    spawned.map_err(|error| {
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let doing = format!("failed to run `{}` with `{program}`", script.display());
        let mut failure = Failure::host_io(doing, &error);
        failure.hint = Some(format!("install `{program}`, or put it on the PATH"));
        failure
    })
}

/// Waits for the script, and passes on to it what would end this program.
async fn wait(mut child: Child) -> Result<u8, Failure> {
    let listen =
        |kind| signal(kind).map_err(|error| Failure::host_io("failed to wait for signals", &error));
    let (mut interrupt, mut terminate) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
    );
    loop {
        tokio::select! {
            ended = child.wait() => {
                let ended = ended
                    .map_err(|error| Failure::host_io("failed to wait for the script", &error))?;
                let of_signal = |signal: i32| {
                    exit_status::SIGNAL_BASE.saturating_add(u8::try_from(signal).unwrap_or(0))
                };
                let code = ended.code().and_then(|code| u8::try_from(code).ok());
                return Ok(code.unwrap_or_else(|| of_signal(ended.signal().unwrap_or(0))));
            }
            // A terminal sends it to the script, too.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {
                if let Some(process) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
                    let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
                }
            }
        }
    }
}

/// What runs a script of its kind.
async fn interpreter(script: &Path) -> Result<Command, Failure> {
    match script.extension().and_then(OsStr::to_str) {
        Some("py") => Ok(Command::new("python3")),
        Some("js" | "mjs" | "cjs") => Ok(Command::new("node")),
        Some("ts" | "mts" | "cts") => typescript(script).await,
        _ => Err(Failure::invalid(
            format!("`{}` is no script that can be run", script.display()),
            "use a file that ends in .py, .js, .mjs or .ts; a command of the sandbox stands after `--`",
        )),
    }
}

/// Node.js where it takes types away itself, else a `tsx` that is installed beside the script.
async fn typescript(script: &Path) -> Result<Command, Failure> {
    let asked = Command::new("node").arg("--version").output().await;
    let version = asked.map_err(|error| {
        let mut failure = Failure::host_io("failed to run `node`", &error);
        failure.hint = Some("install Node.js 20 or newer".to_owned());
        failure
    })?;
    if node_version(&version.stdout).is_some_and(|version| version >= NODE_WITH_TYPES) {
        return Ok(Command::new("node"));
    }
    let folder = std::path::absolute(script).unwrap_or_else(|_| script.to_owned());
    let installed = |folder: &Path| folder.join("node_modules/.bin/tsx");
    let found = folder
        .ancestors()
        .skip(1)
        .map(installed)
        .find(|path: &PathBuf| path.is_file());
    found.map(Command::new).ok_or_else(|| {
        Failure::invalid(
            "this Node.js does not run TypeScript",
            "use Node.js 22.18 or newer, install `tsx` beside the script, or compile it to JavaScript",
        )
    })
}

/// Major and minor version of what `node --version` prints, such as `v22.18.0`.
fn node_version(printed: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(printed)
        .ok()?
        .trim()
        .strip_prefix('v')?;
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The workload's name: that of the script, as far as it can be one.
pub(super) fn workload_name(script: &Path) -> String {
    let stem = script
        .file_stem()
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    let name: String = stem
        .to_ascii_lowercase()
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    let name = name.trim_start_matches(|first: char| !first.is_ascii_lowercase());
    if name.is_empty() {
        NAMELESS.to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_named_after_their_scripts() {
        for (script, name) in [
            ("dir/Fetch_Data.py", "fetch-data"),
            ("2nd.ts", "nd"),
            ("überall.py", "berall"),
            ("1.py", "script"),
        ] {
            assert_eq!(workload_name(Path::new(script)), name);
        }
    }

    #[test]
    fn versions_of_node_are_read() {
        assert_eq!(node_version(b"v22.18.0\n"), Some((22, 18)));
        assert_eq!(node_version(b"v20.20.2\n"), Some((20, 20)));
        assert_eq!(node_version(b"twenty"), None);
    }
}
