//! Services: the commands of a workload, kept up by one process, the keeper.
//!
//! The keeper holds the leases of its sandboxes, so nothing outlives it, however it dies. What it
//! does is in `$MVM_HOME/services/WORKLOAD`: its lock (it lives as long as that is held), its socket
//! (whoever connects asks it to end), its state, and a log per app.

mod app;
mod error;
mod log;
mod state;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use mvm_contract::workload::{App, Entrypoint};
use mvm_image::Progress;
use mvm_runtime::{Home, Runtime};
use tokio::{sync::watch, task::JoinSet};

pub use error::ServiceError;
pub use log::{LogLine, follow as follow_log};
pub use state::{AppState, AppStatus, Health, ServiceRecord, list};

use crate::{BuildOptions, Declaration, build};
use state::Keeping;

/// Who is told what happens to a service.
pub trait Observer: Send + Sync {
    /// An app is in another state.
    fn changed(&self, app: &str, state: &AppState);
    /// An app wrote a line.
    fn line(&self, app: &str, line: &[u8]);
}

/// Keeps the commands of a workload up until `end`, then lets them end in order.
///
/// Every app is built first. An app starts when those it depends on run, and are healthy where
/// they say how that is told. Without `end`, it returns when no app is to run any more.
///
/// # Errors
///
/// [`ServiceError`] when it could not begin. What happens to an app later is in its state.
pub async fn keep(
    runtime: &Runtime,
    declaration: &Declaration,
    observer: Arc<dyn Observer>,
    progress: &(dyn Progress + Sync),
    end: impl Future<Output = ()>,
) -> Result<BTreeMap<String, AppState>, ServiceError> {
    let workload = &declaration.workload;
    let apps: Vec<&App> = workload.apps.iter().filter(|app| is_service(app)).collect();
    if apps.is_empty() {
        return Err(ServiceError::NoCommand {
            workload: workload.id.clone(),
        });
    }
    if let Some((app, on)) = waits_for_nothing(&apps) {
        return Err(ServiceError::DependsOnFunction { app, on });
    }
    let options = BuildOptions {
        declared_in: &declaration.declared_in,
        progress,
    };
    let mut built = Vec::new();
    for app in &apps {
        built.push(build(runtime, workload, app, &options).await?);
    }
    let keeping = Keeping::begin(runtime.home(), workload, &apps, observer)?;
    let keeping = Arc::new(keeping);
    let (ending, is_ending) = watch::channel(false);
    let mut lives = JoinSet::new();
    for (app, build) in apps.into_iter().zip(built) {
        let life = app::Life {
            runtime: runtime.clone(),
            app: app.clone(),
            build,
            keeping: Arc::clone(&keeping),
            ending: is_ending.clone(),
        };
        lives.spawn(life.live());
    }
    tokio::select! {
        () = all_ended(&mut lives) => {}
        () = end => {}
        () = keeping.asked_to_end() => {}
    }
    let _ = ending.send(true);
    all_ended(&mut lives).await;
    Ok(keeping.finish())
}

/// Asks the keeper of a workload to end, waits until it has, and removes what it left.
///
/// # Errors
///
/// [`ServiceError::NotUp`] when there is nothing of it.
pub async fn end(home: &Home, workload: &str) -> Result<(), ServiceError> {
    state::end(home, workload).await
}

/// Where an app's log is.
#[must_use]
pub fn log_path(home: &Home, workload: &str, app: &str) -> PathBuf {
    state::folder(home, workload).join(format!("{app}.log"))
}

/// Cancel-safe.
async fn all_ended(lives: &mut JoinSet<()>) {
    while lives.join_next().await.is_some() {}
}

fn is_service(app: &App) -> bool {
    matches!(app.primary(), Some(Entrypoint::Command(_)))
}

/// An app that waits for one that is called and does not run.
fn waits_for_nothing(apps: &[&App]) -> Option<(String, String)> {
    let runs = |name: &String| apps.iter().any(|app| app.name == *name);
    apps.iter().find_map(|app| {
        let on = app.depends_on.iter().find(|name| !runs(name))?;
        Some((app.name.clone(), on.clone()))
    })
}
