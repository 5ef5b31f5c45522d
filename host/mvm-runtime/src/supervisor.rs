//! The supervisor: the host process that owns one sandbox, from before its microVM exists until
//! nothing of it is left.
//!
//! ```text
//! Order::Sandbox ── create ─┐             ┌── pause <──> resume
//! Order::Spare ──── claim ──┼─> Running ──┼── cool ─────────────> cold      (folder kept)
//! Order::Wake ───── wake ───┘             ├── stop ─────────────> stopped   (folder kept)
//!                    │                    ├── machine ends ─────> failed    (folder kept)
//!                    │                    └── destroy, TTL ─────> gone      (folder removed)
//!                    └── fails ──> gone (cold as before), the reason told on the lease
//! Order::Template ── a process that makes one, and ends
//! ```
//!
//! While the sandbox is leased, the end of the lease destroys it from any state. The process is
//! single-threaded: the kernel ties QEMU's life to the *thread* that started it
//! (`PR_SET_PDEATHSIG`), so that thread must be the process.

mod capture;
mod creation;
mod door;
mod guest;
mod guest_log;
mod life;
mod spare;
mod start;
mod template_maker;
mod terms;
mod warm_up;

pub(crate) use start::{GUEST_LOG, MACHINE_LOG};

use std::{os::fd::AsFd as _, process::ExitCode, time::Duration};

use mvm_contract::audit::EventKind;
use mvm_vmm::{ControlError, Machine, MachineExit, Port, Shutdown};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    task::LocalSet,
    time::Instant,
};

use crate::{
    admission, control,
    folder::FolderLock,
    home::Home,
    lease::{DETACH, LaunchFailure, LaunchNews, Order, Stopwatch, causes},
    machine_facts::MachineFacts,
    pool::PoolName,
    record::SandboxRecord,
    template::{self, Template},
};
use guest::Guest;

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
        let Some(order) = lease.read().await? else {
            return Ok(());
        };
        serve(order, lease).await;
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

    /// Reads a line of JSON; nothing when the creator is gone.
    async fn read<T: DeserializeOwned>(&mut self) -> std::io::Result<Option<T>> {
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

/// How a demand ended.
type Outcome = Result<(), LaunchFailure>;

/// What clients ask of the supervisor.
enum Demand {
    Stop {
        grace: Duration,
        done: oneshot::Sender<Outcome>,
    },
    Destroy {
        done: oneshot::Sender<Outcome>,
    },
    Pause {
        done: oneshot::Sender<Outcome>,
    },
    Resume {
        done: oneshot::Sender<Outcome>,
    },
    Cool {
        done: oneshot::Sender<Outcome>,
    },
    Snapshot {
        order: control::Snapshot,
        done: oneshot::Sender<Outcome>,
    },
    SetTtl {
        seconds: Option<u64>,
        done: oneshot::Sender<Outcome>,
    },
}

/// A sandbox whose agent answers.
struct Running {
    home: Home,
    record: SandboxRecord,
    facts: MachineFacts,
    machine: Machine,
    guest: Guest,
    port: Port,
    /// The connection on the other port, on which snapshots are spoken to, once there was one.
    waiting: Option<UnixStream>,
    /// From when on the other port can be connected to.
    other_port_free: Instant,
    /// What its memory and disk are changes of.
    template: Option<Template>,
    /// What to do about spares.
    pool: Option<PoolName>,
    // Last: the folder is locked for as long as anything of the sandbox is there.
    lock: FolderLock,
}

/// A sandbox whose clients are not answered yet. Its socket was there before the sandbox could be
/// seen: those who come early wait.
struct Made {
    running: Running,
    listener: UnixListener,
}

async fn serve(order: Order, mut lease: Lease) {
    let mut watch = Stopwatch::start();
    let made = match order {
        Order::Sandbox(request) => {
            let making = creation::create(*request, &mut watch);
            tokio::select! {
                made = making => made,
                // Nobody waits for the sandbox any more; what was made of it goes with the future.
                _ = lease.ended() => return,
            }
        }
        Order::Wake(request) => {
            let waking = creation::wake(request, &mut watch);
            tokio::select! {
                made = waking => made,
                _ = lease.ended() => return,
            }
        }
        Order::Spare(request) => match spare::serve(request).await {
            Ok(Some(claimed)) => {
                lease = claimed.lease;
                watch = claimed.watch;
                Ok(claimed.made)
            }
            Ok(None) | Err(_) => return,
        },
        Order::Template(request) => return make_template(*request, lease).await,
    };
    match made {
        Ok(made) => serve_sandbox(made, lease, watch).await,
        Err(error) => {
            lease
                .tell(&LaunchNews::Failed(LaunchFailure::of(&error)))
                .await
        }
    }
}

async fn serve_sandbox(made: Made, mut lease: Lease, watch: Stopwatch) {
    let Made {
        running: sandbox,
        listener,
    } = made;
    let (demand, mut demands) = mpsc::channel(16);
    let door = door::open(listener, &sandbox, demand);
    let news = LaunchNews::Ready {
        record: Box::new(sandbox.record.clone()),
        phases: watch.phases(),
    };
    lease.tell(&news).await;
    // Whoever waits for the sandbox does not wait for this, and neither does its first command.
    let (home, record) = (sandbox.home.clone(), sandbox.record.clone());
    let noted = tokio::task::spawn_blocking(move || {
        admission::note(&home, EventKind::SandboxStarted, &record);
    });
    sandbox.live(&mut lease, &mut demands, &door).await;
    door.close().await;
    let _ = noted.await;
}

/// Makes a template under the lock of its key, unless another process has made it meanwhile.
async fn make_template(request: crate::lease::TemplateRequest, mut lease: Lease) {
    let making = async {
        let home = Home::open(&request.home)?;
        let lock = template::lock(&home, &request.shape.key())?;
        if template::find(&home, &request.shape).is_none() {
            template_maker::make(request, &lock).await?;
        }
        Ok::<_, template_maker::MakeTemplateError>(())
    };
    let made = tokio::select! {
        made = making => made,
        _ = lease.ended() => return,
    };
    let news = match made {
        Ok(()) => LaunchNews::Template,
        Err(error) => LaunchNews::Failed(LaunchFailure::of(&error)),
    };
    lease.tell(&news).await;
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
