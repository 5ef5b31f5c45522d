//! `mvmctl up`, `down`, `ps` and the logs of apps.

use std::{
    fs::File,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use mvm_contract::ErrorCode;
use mvm_workload::{
    AppState, AppStatus, BuildOptions, Declaration, Health, Observer, ServiceRecord,
};
use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use crate::{
    arguments::{Down, Logs, Up},
    failure::Failure,
    output,
    progress::{Display, WORK_PATIENCE},
    table,
};

/// How often a service that begins is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Exit code when an app failed for good.
const APP_FAILED: u8 = 1;

/// Says on standard error what happens, and prints what apps write.
struct Teller {
    quiet: bool,
}

impl Observer for Teller {
    fn changed(&self, app: &str, state: &AppState) {
        if self.quiet {
            return;
        }
        let reason = state
            .reason
            .as_ref()
            .map(|reason| format!(": {}", output::printable(reason)));
        let reason = reason.unwrap_or_default();
        output::talk(format_args!("{app} is {}{reason}", told(state)));
    }

    fn line(&self, app: &str, line: &[u8]) {
        let text = output::printable(&String::from_utf8_lossy(line));
        // A reader that is gone does not end what is kept up.
        let _ = output::data(format_args!("{app} | {text}"));
    }
}

pub(super) async fn up(context: &Context, options: &Up) -> Result<u8, Failure> {
    let declaration = mvm_workload::load(&options.path)?;
    if options.detach {
        return detached(context, &declaration, options).await;
    }
    let display = Display::new(context.quiet, WORK_PATIENCE);
    let teller = Arc::new(Teller {
        quiet: context.quiet,
    });
    let listen =
        |kind| signal(kind).map_err(|error| Failure::host_io("failed to wait for signals", &error));
    let (mut interrupt, mut terminate) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
    );
    let end = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let ended = mvm_workload::keep(&context.runtime, &declaration, teller, &display, end).await?;
    let failed = ended
        .values()
        .any(|state| state.status == AppStatus::Failed);
    Ok(if failed { APP_FAILED } else { 0 })
}

/// Starts a keeper and waits until its apps run.
async fn detached(
    context: &Context,
    declaration: &Declaration,
    options: &Up,
) -> Result<u8, Failure> {
    let workload = &declaration.workload;
    let display = Display::new(context.quiet, WORK_PATIENCE);
    for app in &workload.apps {
        // What cannot be built is told here, not in a log.
        let options = BuildOptions {
            declared_in: &declaration.declared_in,
            progress: &display,
        };
        mvm_workload::build(&context.runtime, workload, app, &options).await?;
    }
    let home = context.runtime.home();
    let talk = mvm_workload::log_path(home, &workload.id, "keeper");
    let failed =
        |doing: &str, error: &std::io::Error| Failure::host_io(format!("failed to {doing}"), error);
    if let Some(folder) = talk.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| failed("make a service's folder", &error))?;
    }
    let file = File::create(&talk).map_err(|error| failed("open the keeper's log", &error))?;
    let program = std::env::current_exe().map_err(|error| failed("find this program", &error))?;
    let mut keeper = Command::new(program)
        .arg("up")
        .arg(&options.path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .process_group(0)
        .spawn()
        .map_err(|error| failed("start a keeper", &error))?;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let ended = keeper
            .try_wait()
            .map_err(|error| failed("wait for the keeper", &error))?;
        if ended.is_some() {
            let said = std::fs::read_to_string(&talk).unwrap_or_default();
            let said = said.lines().find_map(|line| line.strip_prefix("error: "));
            let said = output::printable(said.unwrap_or("its apps have ended"));
            return Err(Failure::of(
                ErrorCode::SandboxUnavailable,
                format!("workload `{}` did not stay up: {said}", workload.id),
                format!(
                    "see `mvmctl ps`, `mvmctl logs {}.APP` and `{}`",
                    workload.id,
                    talk.display()
                ),
            ));
        }
        let record = mvm_workload::list(home)?
            .into_iter()
            .find(|record| record.workload == workload.id);
        if let Some(record) = record.filter(|record| record.keeper == keeper.id())
            && record.apps.values().all(has_begun)
        {
            return show(context, &[record]);
        }
    }
}

/// Whether an app has run, or will not.
fn has_begun(state: &AppState) -> bool {
    match state.status {
        AppStatus::Waiting | AppStatus::Starting => false,
        AppStatus::Running => state.health != Health::Starting,
        AppStatus::Restarting | AppStatus::Ended | AppStatus::Failed => true,
    }
}

pub(super) async fn down(context: &Context, options: &Down) -> Result<u8, Failure> {
    for workload in &options.workloads {
        mvm_workload::end(context.runtime.home(), workload).await?;
        if !context.quiet {
            output::talk(format_args!("{workload} is down"));
        }
    }
    Ok(0)
}

pub(super) fn list(context: &Context) -> Result<u8, Failure> {
    show(context, &mvm_workload::list(context.runtime.home())?)
}

fn show(context: &Context, records: &[ServiceRecord]) -> Result<u8, Failure> {
    if context.json {
        let values: Vec<_> = records
            .iter()
            .map(|record| {
                serde_json::json!({
                    "workload": record.workload,
                    "up": record.is_up,
                    "keeper": record.is_up.then_some(record.keeper),
                    "apps": record.apps,
                })
            })
            .collect();
        output::json(&values)?;
        return Ok(0);
    }
    let row = |record: &ServiceRecord, (name, state): (&String, &AppState)| {
        let state_told = if record.is_up {
            told(state)
        } else {
            "down".to_owned()
        };
        let sandbox = state.sandbox.clone().filter(|_| record.is_up);
        [
            format!("{}.{name}", record.workload),
            state_told,
            sandbox.unwrap_or_default(),
            state.restarts.to_string(),
            output::printable(state.reason.as_deref().unwrap_or_default()),
        ]
    };
    let rows: Vec<_> = records
        .iter()
        .flat_map(|record| record.apps.iter().map(move |app| row(record, app)))
        .collect();
    table::print(["APP", "STATE", "SANDBOX", "RESTARTS", "REASON"], &rows)?;
    Ok(0)
}

/// An app's state in a word or two.
fn told(state: &AppState) -> String {
    let status = match state.status {
        AppStatus::Waiting => "waiting",
        AppStatus::Starting => "starting",
        AppStatus::Running => "running",
        AppStatus::Restarting => "restarting",
        AppStatus::Ended => "ended",
        AppStatus::Failed => "failed",
    };
    let health = match state.health {
        Health::Unknown => return status.to_owned(),
        Health::Starting => "not healthy yet",
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    };
    format!("{status}, {health}")
}

pub(super) async fn logs(context: &Context, options: &Logs) -> Result<u8, Failure> {
    let (workload, app) = options.sandbox.split_once('.').unwrap_or_default();
    let is_plain = |name: &str| !name.is_empty() && !name.contains(['/', '.', '\0']);
    let path = mvm_workload::log_path(context.runtime.home(), workload, app);
    if !is_plain(workload) || !is_plain(app) || !path.is_file() {
        return Err(Failure::of(
            ErrorCode::NotFound,
            format!("there is no log of `{}`", options.sandbox),
            "`mvmctl ps` lists the apps of workloads",
        ));
    }
    let mut failure = None;
    let told = mvm_workload::follow_log(&path, options.follow, |line| {
        let printed = if context.json {
            serde_json::to_string(&line).map_or(Ok(()), output::data)
        } else {
            output::data(output::printable(&line.text))
        };
        failure = printed.err();
        failure.is_none()
    });
    let told = told.await;
    told.map_err(|error| Failure::host_io(format!("failed to read `{}`", path.display()), &error))?;
    failure.map_or(Ok(0), Err)
}
