//! What a keeper has on disk: its lock, its socket, and the state of its apps.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use mvm_contract::workload::{App, Workload};
use mvm_runtime::{Home, durable, socket};
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncReadExt as _,
    net::{UnixListener, UnixStream},
    sync::watch,
};

use super::{Observer, ServiceError, log::LogWriter};

const LOCK: &str = "lock";
const SOCKET: &str = "keeper.sock";
const STATE: &str = "state.json";

/// What is known of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceRecord {
    /// The workload.
    pub workload: String,
    /// The keeper's process.
    pub keeper: u32,
    /// Its apps.
    pub apps: BTreeMap<String, AppState>,
    /// Whether the keeper lives. If it does not, nothing of the service does.
    #[serde(skip)]
    pub is_up: bool,
}

/// What is known of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppState {
    /// What it does.
    pub status: AppStatus,
    /// What its health check says.
    pub health: Health,
    /// Its sandbox, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// How often it was started again.
    pub restarts: u32,
    /// How its command ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// Why it is in this state, where it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when, milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// What an app does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppStatus {
    /// It waits for those it depends on.
    Waiting,
    /// Its sandbox is made, and its first hooks run.
    Starting,
    /// Its command runs.
    Running,
    /// It ended, and is started again after a while.
    Restarting,
    /// It ended, and stays so.
    Ended,
    /// It failed, and stays so.
    Failed,
}

/// What a health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// There is none.
    Unknown,
    /// It has not succeeded yet.
    Starting,
    /// It succeeded last.
    Healthy,
    /// It failed too often.
    Unhealthy,
}

impl AppState {
    fn waiting() -> Self {
        Self {
            status: AppStatus::Waiting,
            health: Health::Unknown,
            sandbox: None,
            restarts: 0,
            exit_code: None,
            reason: None,
            since_ms: now_ms(),
        }
    }

    /// Whether what waits for it may start.
    pub(super) fn is_ready(&self) -> bool {
        self.status == AppStatus::Running
            && matches!(self.health, Health::Unknown | Health::Healthy)
    }
}

/// A service that this process keeps up.
pub(super) struct Keeping {
    folder: PathBuf,
    record: Mutex<ServiceRecord>,
    logs: BTreeMap<String, Mutex<LogWriter>>,
    observer: Arc<dyn Observer>,
    changes: watch::Sender<u64>,
    socket: UnixListener,
    /// Before what comes below: whoever is told of the end finds nobody who keeps the service.
    _lock: File,
    /// Whoever asked for the end waits until these are closed.
    waiting: Mutex<Vec<UnixStream>>,
}

impl Keeping {
    pub(super) fn begin(
        home: &Home,
        workload: &Workload,
        apps: &[&App],
        observer: Arc<dyn Observer>,
    ) -> Result<Self, ServiceError> {
        let folder = folder(home, &workload.id);
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| ServiceError::State {
                doing,
                path,
                source,
            }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(failed("create", &folder))?;
        let lock_path = folder.join(LOCK);
        let lock = File::create(&lock_path).map_err(failed("create", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let workload = workload.id.clone();
                return Err(ServiceError::AlreadyUp { workload });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock", &lock_path)(source)),
        }
        let path = folder.join(SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &path)(error));
            }
            _ => {}
        }
        let socket = socket::listen(&folder, SOCKET).map_err(failed("listen on", &path))?;
        let mut logs = BTreeMap::new();
        for app in apps {
            let path = folder.join(format!("{}.log", app.name));
            let log = LogWriter::open(&path).map_err(failed("open", &path))?;
            logs.insert(app.name.clone(), Mutex::new(log));
        }
        let record = ServiceRecord {
            workload: workload.id.clone(),
            keeper: std::process::id(),
            apps: apps
                .iter()
                .map(|app| (app.name.clone(), AppState::waiting()))
                .collect(),
            is_up: true,
        };
        let keeping = Self {
            folder,
            record: Mutex::new(record),
            logs,
            observer,
            changes: watch::Sender::new(0),
            socket,
            _lock: lock,
            waiting: Mutex::default(),
        };
        keeping.save(&locked(&keeping.record))?;
        Ok(keeping)
    }

    /// Notes what changed of an app, on disk and to whoever waits for it.
    pub(super) fn change(&self, app: &str, change: impl FnOnce(&mut AppState)) {
        let mut record = locked(&self.record);
        let Some(state) = record.apps.get_mut(app) else {
            return;
        };
        let before = state.clone();
        change(state);
        if *state == before {
            return;
        }
        if state.status != before.status {
            state.since_ms = now_ms();
        }
        let is_told = (state.status, state.health) != (before.status, before.health);
        let state = state.clone();
        // A disk that is full loses what is shown, not what runs.
        let _ = self.save(&record);
        drop(record);
        if is_told {
            self.observer.changed(app, &state);
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Returns when all of these may be relied on.
    pub(super) async fn ready(&self, apps: &[String]) {
        let mut changes = self.changes.subscribe();
        loop {
            let all = {
                let record = locked(&self.record);
                apps.iter()
                    .all(|app| record.apps.get(app).is_some_and(AppState::is_ready))
            };
            if all || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Puts what an app wrote into its log, line by line.
    pub(super) fn write(&self, app: &str, bytes: &[u8]) {
        let Some(log) = self.logs.get(app) else {
            return;
        };
        let lines = locked(log).write(bytes);
        for line in lines {
            self.observer.line(app, &line);
        }
    }

    /// Returns when somebody asks for the end; they wait for it.
    pub(super) async fn asked_to_end(&self) {
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => {
                    locked(&self.waiting).push(stream);
                    return;
                }
                // Out of descriptors, those in use will be closed.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    }

    /// The last word on each app. The socket goes; the lock goes with this value.
    pub(super) fn finish(&self) -> BTreeMap<String, AppState> {
        let _ = fs::remove_file(self.folder.join(SOCKET));
        locked(&self.record).apps.clone()
    }

    fn save(&self, record: &ServiceRecord) -> Result<(), ServiceError> {
        let path = self.folder.join(STATE);
        let bytes = serde_json::to_vec(record).map_err(io::Error::from);
        let written = bytes.and_then(|bytes| durable::replace(&path, &bytes));
        written.map_err(|source| ServiceError::State {
            doing: "write",
            path,
            source,
        })
    }
}

/// Every service there was, by the name of its workload.
///
/// # Errors
///
/// [`ServiceError::State`].
pub fn list(home: &Home) -> Result<Vec<ServiceRecord>, ServiceError> {
    let services = home.root().join("services");
    let failed = |source| ServiceError::State {
        doing: "read",
        path: services.clone(),
        source,
    };
    let entries = match fs::read_dir(&services) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut records = Vec::new();
    for entry in entries {
        let folder = entry.map_err(failed)?.path();
        // One whose keeper died before it wrote anything has nothing to tell.
        let Ok(bytes) = fs::read(folder.join(STATE)) else {
            continue;
        };
        let Ok(mut record) = serde_json::from_slice::<ServiceRecord>(&bytes) else {
            continue;
        };
        record.is_up = is_kept(&folder);
        records.push(record);
    }
    records.sort_by(|one, other| one.workload.cmp(&other.workload));
    Ok(records)
}

pub(super) async fn end(home: &Home, workload: &str) -> Result<(), ServiceError> {
    let folder = folder(home, workload);
    let not_up = || ServiceError::NotUp {
        workload: workload.to_owned(),
    };
    if !list(home)?.iter().any(|record| record.workload == workload) {
        return Err(not_up());
    }
    if is_kept(&folder) {
        let mut stream = socket::connect(&folder, SOCKET)
            .await
            .map_err(|_| not_up())?;
        // The keeper says nothing; its end is the answer.
        let mut nothing = [0; 1];
        let _ = stream.read(&mut nothing).await;
    }
    // One that was begun again meanwhile stays.
    if is_kept(&folder) {
        return Ok(());
    }
    fs::remove_dir_all(&folder).map_err(|source| ServiceError::State {
        doing: "remove",
        path: folder,
        source,
    })
}

pub(super) fn folder(home: &Home, workload: &str) -> PathBuf {
    home.root().join("services").join(workload)
}

fn is_kept(folder: &Path) -> bool {
    let Ok(lock) = File::open(folder.join(LOCK)) else {
        return false;
    };
    matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
}

pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
