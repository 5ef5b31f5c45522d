//! The supervisor: the host process that owns one sandbox, from before its microVM exists until
//! nothing of it is left.
//!
//! ```text
//! LaunchRequest ── create ──> Running ──┬── stop ─────────────> stopped   (folder kept)
//!                    │                  ├── machine ends ─────> failed    (folder kept)
//!                    │                  └── destroy, TTL ─────> gone      (folder removed)
//!                    └── fails ──> gone, the reason told on the lease
//! ```
//!
//! While the sandbox is leased, the end of the lease destroys it from any state. The process is
//! single-threaded: the kernel ties QEMU's life to the *thread* that started it
//! (`PR_SET_PDEATHSIG`), so that thread must be the process.

mod creation;
mod door;
mod guest;
mod guest_log;

pub(crate) use creation::{GUEST_LOG, MACHINE_LOG};

use std::{os::fd::AsFd as _, process::ExitCode, time::Duration};

use mvm_contract::{Coded as _, LifecycleState};
use mvm_vmm::{ControlError, Machine, MachineExit, Shutdown};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    task::LocalSet,
};

use crate::{
    home::Home,
    lease::{DETACH, LaunchFailure, LaunchNews, LaunchRequest, causes},
    record::{Ownership, SandboxRecord},
    registry::{self, FolderLock, RegistryError},
};
use creation::CreationError;
use guest::Guest;

/// How long a guest's processes have when the supervisor itself is told to end.
const TERMINATION_GRACE: Duration = Duration::from_secs(2);
/// Beyond the grace, how long a guest may take to sync and power off before it is killed.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(10);
/// The longest launch request, bytes.
const MAX_REQUEST_BYTES: u64 = 4 * 1024 * 1024;

/// Runs a supervisor; standard input is its end of the lease. Called by a process of its own,
/// first thing in `main`, while it is single-threaded.
pub fn supervise() -> ExitCode {
    // Its own session: a terminal's Ctrl-C ends clients, which end leases; never a supervisor.
    let _ = rustix::process::setsid();
    let Ok(lease) = std::io::stdin().as_fd().try_clone_to_owned() else {
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return ExitCode::FAILURE;
    };
    let outcome = LocalSet::new().block_on(&runtime, async move {
        let lease = std::os::unix::net::UnixStream::from(lease);
        lease.set_nonblocking(true)?;
        let mut lease = Lease::new(UnixStream::from_std(lease)?);
        let Some(request) = lease.request().await? else {
            return Ok(());
        };
        serve(request, lease).await;
        std::io::Result::Ok(())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The supervisor's end of the lease.
struct Lease {
    lines: Lines<BufReader<tokio::io::Take<OwnedReadHalf>>>,
    news: OwnedWriteHalf,
}

impl Lease {
    fn new(stream: UnixStream) -> Self {
        let (read, news) = stream.into_split();
        let bounded = tokio::io::AsyncReadExt::take(read, MAX_REQUEST_BYTES);
        Self {
            lines: BufReader::new(bounded).lines(),
            news,
        }
    }

    async fn request(&mut self) -> std::io::Result<Option<LaunchRequest>> {
        match self.lines.next_line().await? {
            Some(line) => Ok(Some(serde_json::from_str(&line)?)),
            None => Ok(None),
        }
    }

    /// Tells the creator; one who is gone does not hear it, and the lease's end follows.
    async fn tell(&mut self, news: &LaunchNews) {
        if let Ok(mut line) = serde_json::to_vec(news) {
            line.push(b'\n');
            let _ = self.news.write_all(&line).await;
        }
    }

    /// Waits until the creator detaches the sandbox (`true`) or is gone (`false`). Cancel-safe.
    async fn ended(&mut self) -> bool {
        loop {
            match self.lines.next_line().await {
                Ok(Some(line)) if line == DETACH => return true,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return false,
            }
        }
    }
}

/// What clients and the clock ask of the supervisor.
enum Demand {
    Stop {
        grace: Duration,
        done: oneshot::Sender<()>,
    },
    Destroy {
        done: oneshot::Sender<Result<(), RegistryError>>,
    },
}

/// A sandbox whose agent answers.
struct Running {
    home: Home,
    record: SandboxRecord,
    lock: FolderLock,
    machine: Machine,
    guest: Guest,
}

async fn serve(request: LaunchRequest, mut lease: Lease) {
    let ttl = request.spec.ttl_seconds.map(Duration::from_secs);
    let creation = creation::create(request);
    let created = tokio::select! {
        created = creation => created,
        // Nobody waits for the sandbox any more; what was made of it goes with the future.
        _ = lease.ended() => return,
    };
    let mut sandbox = match created {
        Ok(running) => running,
        Err(error) => return lease.tell(&LaunchNews::Failed(failure(&error))).await,
    };
    let (demand, mut demands) = mpsc::channel(16);
    let door = match door::open(
        &sandbox.home.sandbox(&sandbox.record.id),
        &sandbox.guest,
        demand,
    ) {
        Ok(door) => door,
        Err(error) => {
            let error = CreationError::Door { source: error };
            sandbox.remove().await.ok();
            return lease.tell(&LaunchNews::Failed(failure(&error))).await;
        }
    };
    lease
        .tell(&LaunchNews::Ready(Box::new(sandbox.record.clone())))
        .await;
    sandbox.live(&mut lease, &mut demands, ttl).await;
    door.close().await;
}

fn failure(error: &CreationError) -> LaunchFailure {
    LaunchFailure {
        code: error.code(),
        causes: causes(error),
        hint: error.hint(),
    }
}

/// Why a sandbox stopped running.
enum End {
    Stop(oneshot::Sender<()>),
    Terminated,
    Destroy(Option<oneshot::Sender<Result<(), RegistryError>>>),
    Machine(String),
}

impl Running {
    async fn live(
        mut self,
        lease: &mut Lease,
        demands: &mut mpsc::Receiver<Demand>,
        ttl: Option<Duration>,
    ) {
        let end = self.until_end(lease, demands, ttl).await;
        match end {
            End::Destroy(done) => {
                let removed = self.remove().await;
                if let Some(done) = done {
                    let _ = done.send(removed);
                }
                return;
            }
            End::Stop(done) => {
                self.set_state(LifecycleState::Stopped, None);
                let _ = done.send(());
            }
            End::Terminated => self.set_state(LifecycleState::Stopped, None),
            End::Machine(reason) => self.set_state(LifecycleState::Failed, Some(reason)),
        }
        if self.record.ownership == Ownership::Leased {
            self.wait_for_owner(lease, demands).await;
        }
    }

    /// Serves until the microVM has ended or must be removed.
    async fn until_end(
        &mut self,
        lease: &mut Lease,
        demands: &mut mpsc::Receiver<Demand>,
        ttl: Option<Duration>,
    ) -> End {
        let expiry = async {
            match ttl {
                Some(ttl) => tokio::time::sleep(ttl).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(expiry);
        let mut terminate = signal(SignalKind::terminate()).ok();
        loop {
            let leased = self.record.ownership == Ownership::Leased;
            tokio::select! {
                detached = lease.ended(), if leased => {
                    if !detached {
                        return End::Destroy(None);
                    }
                    self.record.ownership = Ownership::Detached;
                    let written = self.record.write(&self.home.sandbox(&self.record.id));
                    if let Err(error) = written {
                        // Unrecorded, the sandbox would be removed as leased: say so instead.
                        let failure = LaunchFailure {
                            code: mvm_contract::ErrorCode::SandboxUnavailable,
                            causes: causes(&error),
                            hint: None,
                        };
                        lease.tell(&LaunchNews::Failed(failure)).await;
                        return End::Destroy(None);
                    }
                    lease.tell(&LaunchNews::Detached).await;
                }
                () = &mut expiry => return End::Destroy(None),
                Some(()) = async { terminate.as_mut()?.recv().await } => {
                    self.end_guest(TERMINATION_GRACE).await;
                    return End::Terminated;
                }
                Some(demand) = demands.recv() => match demand {
                    Demand::Stop { grace, done } => {
                        self.end_guest(grace).await;
                        return End::Stop(done);
                    }
                    Demand::Destroy { done } => return End::Destroy(Some(done)),
                },
                exit = self.machine.wait() => {
                    return End::Machine(format!("its microVM ended unexpectedly: {}", told(&exit)));
                }
                () = self.guest.ended() => {
                    // A guest that goes down ends its machine next; one that only broke the
                    // protocol is not served any further.
                    let exit = tokio::time::timeout(Duration::from_secs(5), self.machine.wait());
                    let reason = match exit.await {
                        Ok(exit) => format!("its microVM ended unexpectedly: {}", told(&exit)),
                        Err(_) => "its agent broke the connection".to_owned(),
                    };
                    let _ = self.machine.kill().await;
                    return End::Machine(reason);
                }
            }
        }
    }

    /// A leased sandbox that has ended keeps its folder until its owner lets go.
    async fn wait_for_owner(mut self, lease: &mut Lease, demands: &mut mpsc::Receiver<Demand>) {
        loop {
            tokio::select! {
                detached = lease.ended() => {
                    if !detached {
                        let _ = self.remove().await;
                        return;
                    }
                    self.record.ownership = Ownership::Detached;
                    let _ = self.record.write(&self.home.sandbox(&self.record.id));
                    lease.tell(&LaunchNews::Detached).await;
                    return;
                }
                Some(demand) = demands.recv() => match demand {
                    Demand::Stop { done, .. } => drop(done.send(())),
                    Demand::Destroy { done } => {
                        let _ = done.send(self.remove().await);
                        return;
                    }
                }
            }
        }
    }

    /// Ends the guest in order, or by force when it does not end in time.
    async fn end_guest(&mut self, grace: Duration) {
        let ended = async {
            self.guest.shut_down(grace).await;
            let _ = self.machine.wait().await;
        };
        let _ = tokio::time::timeout(grace + SHUTDOWN_MARGIN, ended).await;
        let _ = self.machine.kill().await;
    }

    /// Ends the guest at once and removes all the sandbox had.
    async fn remove(&mut self) -> Result<(), RegistryError> {
        // One that cannot be killed is killed by the kernel when this process ends.
        let _ = self.machine.kill().await;
        registry::remove_folder(&self.home, &self.record.id, &self.lock)
    }

    fn set_state(&mut self, state: LifecycleState, reason: Option<String>) {
        self.record.state = state;
        self.record.reason = reason;
        // A record that cannot be written stays `running` without a lock holder, which every
        // reader turns into `failed`.
        let _ = self.record.write(&self.home.sandbox(&self.record.id));
    }
}

/// How a machine ended, in words.
fn told(exit: &Result<MachineExit, ControlError>) -> String {
    match exit {
        Err(error) => causes(error).join(": "),
        Ok(MachineExit { shutdown, status }) => match shutdown {
            Some(Shutdown::PoweredOff) => "the guest switched itself off".to_owned(),
            Some(Shutdown::Reset) => "the guest restarted or its kernel panicked".to_owned(),
            Some(Shutdown::Panicked) => "the guest's kernel panicked".to_owned(),
            Some(Shutdown::ByHost) => "QEMU was told to end".to_owned(),
            Some(Shutdown::Other(reason)) => format!("QEMU says `{reason}`"),
            None => format!("QEMU ended ({status})"),
        },
    }
}
