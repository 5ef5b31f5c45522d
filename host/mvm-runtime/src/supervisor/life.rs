//! The life of a sandbox, from its agent's first answer to its end.

use std::time::Duration;

use mvm_contract::{Coded, ErrorCode, LifecycleState, SandboxName, SnapshotId, audit::EventKind};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Demand, Lease, Outcome, Running,
    capture::{Afterwards, CaptureOrder},
    creation,
    door::Door,
    told,
};
use crate::{
    admission, control, fault,
    folder::FolderLock,
    home::Home,
    lease::{LaunchFailure, LaunchNews, Stopwatch, causes},
    pool,
    record::{Ownership, SandboxRecord},
    registry::{self, RegistryError},
    snapshot::{self, COLD},
};

/// How long a guest's processes have when the supervisor itself is told to end.
const TERMINATION_GRACE: Duration = Duration::from_secs(2);
/// Beyond the grace, how long a guest may take to sync and power off before it is killed.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(10);
/// How long a sandbox runs before a spare is made in its place: what its user waits for comes
/// first, and most that live for longer do less then.
const REPLENISH_DELAY: Duration = Duration::from_secs(1);

/// How long pausing, saving and going on may take: reading all memory of a large guest takes
/// seconds.
const OPERATION_LIMIT: Duration = Duration::from_secs(120);

/// Why a sandbox stopped running.
enum End {
    Stop(oneshot::Sender<Outcome>),
    Terminated,
    Destroy(Option<oneshot::Sender<Outcome>>),
    Cool(oneshot::Sender<Outcome>),
    Machine(String),
}

/// A sandbox without a guest whose owner has not let go.
struct Ended {
    home: Home,
    record: SandboxRecord,
    lock: FolderLock,
}

impl Running {
    /// Serves until the sandbox has ended, and its owner has let go of it.
    pub(super) async fn live(
        mut self,
        lease: &mut Lease,
        demands: &mut mpsc::Receiver<Demand>,
        door: &Door,
    ) {
        loop {
            let ended = match self.until_end(lease, demands, door).await {
                End::Destroy(done) => {
                    let removed = self.remove().await;
                    self.replenish();
                    if let Some(done) = done {
                        let _ = done.send(outcome(removed));
                    }
                    return;
                }
                End::Stop(done) => {
                    self.sync_disk().await;
                    let ended = self.end(LifecycleState::Stopped, None);
                    let _ = done.send(Ok(()));
                    ended
                }
                End::Terminated => {
                    self.sync_disk().await;
                    self.end(LifecycleState::Stopped, None)
                }
                End::Machine(reason) => self.end(LifecycleState::Failed, Some(reason)),
                End::Cool(done) => {
                    door.shut("it is cold");
                    let ended = self.end(LifecycleState::Cold, None);
                    fault::point("cool.recorded");
                    let _ = done.send(Ok(()));
                    ended
                }
            };
            if ended.record.ownership != Ownership::Leased {
                return;
            }
            match ended.wait_for_owner(lease, demands).await {
                Some(woken) => self = woken,
                None => return,
            }
            door.open_to(&self);
        }
    }

    /// Serves until the microVM has ended or must be removed.
    async fn until_end(
        &mut self,
        lease: &mut Lease,
        demands: &mut mpsc::Receiver<Demand>,
        door: &Door,
    ) -> End {
        let mut end = end_of(&self.record);
        let replenishing = tokio::time::sleep(REPLENISH_DELAY);
        tokio::pin!(replenishing);
        let mut replenished = false;
        let mut terminate = signal(SignalKind::terminate()).ok();
        let mut detached_meanwhile = false;
        // Does what may take long while the owner is listened to: its death ends the sandbox now,
        // and a guest or a hypervisor that does not answer does so in the end.
        macro_rules! attend {
            ($lease:expr, $leased:expr, $work:expr) => {{
                let work = tokio::time::timeout(OPERATION_LIMIT, $work);
                tokio::select! {
                    done = work => done.map_err(|_| {
                        let limit = OPERATION_LIMIT.as_secs();
                        End::Machine(format!("its guest or QEMU did not answer for {limit} s"))
                    }),
                    () = owner_gone($lease, $leased && !detached_meanwhile, &mut detached_meanwhile) => {
                        Err(End::Destroy(None))
                    }
                }
            }};
        }
        loop {
            let leased = self.record.ownership == Ownership::Leased;
            tokio::select! {
                detached = listen(lease, detached_meanwhile), if leased => {
                    detached_meanwhile = false;
                    if !detached {
                        return End::Destroy(None);
                    }
                    if let Err(failure) = detach(&self.home, &mut self.record, lease).await {
                        // Unrecorded, the sandbox would be removed as leased: say so instead.
                        lease.tell(&LaunchNews::Failed(failure)).await;
                        return End::Destroy(None);
                    }
                }
                () = until(end) => return End::Destroy(None),
                () = &mut replenishing, if !replenished => {
                    replenished = true;
                    self.replenish();
                }
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
                    Demand::SetTtl { seconds, done } => {
                        let _ = done.send(set_ttl(&self.home, &mut self.record, seconds));
                        end = end_of(&self.record);
                    }
                    Demand::Pause { done } => match attend!(lease, leased, self.pause(door)) {
                        Ok(outcome) => drop(done.send(outcome)),
                        Err(end) => return end,
                    },
                    Demand::Resume { done } => match attend!(lease, leased, self.go_on(door)) {
                        Ok(outcome) => drop(done.send(outcome)),
                        Err(end) => return end,
                    },
                    Demand::Snapshot { order, done } => {
                        match attend!(lease, leased, self.snapshot(&order)) {
                            Ok(outcome) => drop(done.send(outcome)),
                            Err(end) => return end,
                        }
                    }
                    Demand::Cool { done } => match attend!(lease, leased, self.save_cold(door)) {
                        Ok(Ok(())) => {
                            // The end of an owner who was attached comes after this.
                            self.end_cold().await;
                            return End::Cool(done);
                        }
                        Ok(Err(failure)) => drop(done.send(Err(failure))),
                        Err(end) => return end,
                    },
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

    fn is_paused(&self) -> bool {
        self.record.state == LifecycleState::Paused
    }

    async fn pause(&mut self, door: &Door) -> Outcome {
        if self.is_paused() {
            return Ok(());
        }
        let paused = self.machine.pause().await;
        paused.map_err(|error| failed("the microVM could not be paused", &error))?;
        door.shut("it is paused");
        self.record.state = LifecycleState::Paused;
        self.write_record()
    }

    /// Lets a paused guest go on, its clock set.
    async fn go_on(&mut self, door: &Door) -> Outcome {
        if !self.is_paused() {
            return Ok(());
        }
        let resumed = self.machine.resume().await;
        resumed.map_err(|error| failed("the microVM could not be let go on", &error))?;
        let renewed = self.renew().await;
        renewed.map_err(|error| failed("the guest's clock could not be set", &error))?;
        door.open_to(self);
        self.record.state = LifecycleState::Running;
        self.write_record()
    }

    async fn snapshot(&mut self, order: &control::Snapshot) -> Outcome {
        self.must_run("snapshot")?;
        let invalid = |error: &dyn std::error::Error| LaunchFailure {
            code: ErrorCode::InvalidArgument,
            causes: causes(error),
            hint: None,
        };
        let id = order
            .id
            .parse::<SnapshotId>()
            .map_err(|error| invalid(&error))?;
        let name = match order.name.as_str() {
            "" => None,
            name => Some(
                name.parse::<SandboxName>()
                    .map_err(|error| invalid(&error))?,
            ),
        };
        let folder = self.home.staging().join(id.as_str());
        let order = CaptureOrder {
            id,
            name,
            folder: &folder,
            stream: order.stream,
        };
        let captured = self.capture(order, Afterwards::GoesOn).await;
        captured.map_err(|error| LaunchFailure::of(&error))?;
        admission::note(&self.home, EventKind::SnapshotTaken, &self.record);
        Ok(())
    }

    /// Saves the guest into the sandbox's folder, where it stands still then. When that fails, it
    /// goes on.
    async fn save_cold(&mut self, door: &Door) -> Outcome {
        self.go_on(door).await?;
        let folder = self.home.sandbox(&self.record.id);
        let cold = self.try_cool(&folder).await;
        cold.map_err(|error| LaunchFailure::of(&*error))
    }

    /// Ends a guest that was saved: from here on the sandbox is what was saved.
    async fn end_cold(&mut self) {
        let _ = self.machine.kill().await;
        fault::point("cool.killed");
        let folder = self.home.sandbox(&self.record.id);
        let _ = std::fs::remove_file(folder.join(super::start::DISK_NAME));
    }

    async fn try_cool(&mut self, folder: &std::path::Path) -> Result<(), Box<dyn Coded>> {
        let id = snapshot::new_id().map_err(|error| Box::new(error) as Box<dyn Coded>)?;
        let staged = snapshot::stage(&self.home, &id).map_err(|error| Box::new(error) as _)?;
        let order = CaptureOrder {
            id,
            name: None,
            folder: staged.path(),
            stream: false,
        };
        let captured = self.capture(order, Afterwards::StandsStill).await;
        captured.map_err(|error| Box::new(error) as Box<dyn Coded>)?;
        match snapshot::publish_at(staged, &folder.join(COLD)) {
            Ok(()) => Ok(()),
            Err(error) => {
                // It was going to be ended, and now is not.
                let _ = self.machine.resume().await;
                let _ = self.renew().await;
                Err(Box::new(error) as _)
            }
        }
    }

    fn must_run(&self, what: &str) -> Outcome {
        if !self.is_paused() {
            return Ok(());
        }
        Err(LaunchFailure {
            code: ErrorCode::SandboxUnavailable,
            causes: vec![format!("a paused sandbox cannot be saved ({what})")],
            hint: Some(format!(
                "let it go on first: `mvmctl resume {}`",
                self.record.id
            )),
        })
    }

    /// Brings to the host's disk what the guest has synced, since that outlives it now. A disk that
    /// cannot be is kept as it is: its guest has nothing to do with it any more.
    async fn sync_disk(&self) {
        let path = self
            .home
            .sandbox(&self.record.id)
            .join(super::start::DISK_NAME);
        let synced = tokio::fs::File::open(path).await;
        if let Ok(disk) = synced {
            let _ = disk.sync_all().await;
        }
    }

    /// Ends the guest in order, or by force when it does not end in time.
    async fn end_guest(&mut self, grace: Duration) {
        let ended = async {
            if self.is_paused() {
                let _ = self.machine.resume().await;
            }
            self.guest.shut_down(grace).await;
            let _ = self.machine.wait().await;
        };
        let _ = tokio::time::timeout(grace + SHUTDOWN_MARGIN, ended).await;
        let _ = self.machine.kill().await;
    }

    /// Ends the guest at once and removes all the sandbox had.
    pub(super) async fn remove(&mut self) -> Result<(), RegistryError> {
        // One that cannot be killed is killed by the kernel when this process ends.
        let _ = self.machine.kill().await;
        admission::note(&self.home, EventKind::SandboxDestroyed, &self.record);
        registry::remove_folder(&self.home, &self.record.id, &self.lock)
    }

    /// Sees to it that there are as many spares as are wanted.
    fn replenish(&mut self) {
        if let (Some(template), Some(pool)) = (&self.template, self.pool.take()) {
            pool::replenish(&self.home, &template.key, &pool);
        }
    }

    fn write_record(&self) -> Outcome {
        let written = self.record.write(&self.home.sandbox(&self.record.id));
        written.map_err(|error| failed("the sandbox's state could not be recorded", &error))
    }

    /// The guest has ended; what is left is the folder.
    fn end(mut self, state: LifecycleState, reason: Option<String>) -> Ended {
        self.replenish();
        self.record.state = state;
        self.record.reason = reason;
        // A record that cannot be written stays `running` without a lock holder, which every
        // reader turns into `failed`, or into `cold` where that is what was saved.
        let _ = self.write_record();
        Ended {
            home: self.home,
            record: self.record,
            lock: self.lock,
        }
    }
}

impl Ended {
    /// A leased sandbox that has ended keeps its folder until its owner lets go. Gives the sandbox
    /// when it was cold and is to go on.
    async fn wait_for_owner(
        mut self,
        lease: &mut Lease,
        demands: &mut mpsc::Receiver<Demand>,
    ) -> Option<Running> {
        loop {
            tokio::select! {
                detached = lease.ended() => {
                    if !detached {
                        let _ = registry::remove_folder(&self.home, &self.record.id, &self.lock);
                        return None;
                    }
                    let _ = detach(&self.home, &mut self.record, lease).await;
                    return None;
                }
                Some(demand) = demands.recv() => match demand {
                    Demand::Stop { done, .. } => drop(done.send(Ok(()))),
                    Demand::Destroy { done } => {
                        let removed =
                            registry::remove_folder(&self.home, &self.record.id, &self.lock);
                        let _ = done.send(outcome(removed));
                        return None;
                    }
                    Demand::Resume { done } if self.record.state == LifecycleState::Cold => {
                        match self.wake().await {
                            Ok(running) => {
                                let _ = done.send(Ok(()));
                                return Some(*running);
                            }
                            Err(back) => {
                                let (failure, ended) = *back;
                                let _ = done.send(Err(failure));
                                self = ended;
                            }
                        }
                    }
                    Demand::Cool { done } if self.record.state == LifecycleState::Cold => {
                        let _ = done.send(Ok(()));
                    }
                    Demand::SetTtl { seconds, done } => {
                        let _ = done.send(set_ttl(&self.home, &mut self.record, seconds));
                    }
                    Demand::Pause { done }
                    | Demand::Resume { done }
                    | Demand::Cool { done }
                    | Demand::Snapshot { done, .. } => {
                        let _ = done.send(Err(LaunchFailure {
                            code: ErrorCode::SandboxUnavailable,
                            causes: vec![format!("it is {}", self.record.state)],
                            hint: None,
                        }));
                    }
                }
            }
        }
    }

    async fn wake(self) -> Result<Box<Running>, Box<(LaunchFailure, Ended)>> {
        let mut watch = Stopwatch::start();
        let woken = creation::restore_cold(self.home, self.record, self.lock, &mut watch).await;
        match woken {
            Ok(running) => {
                admission::note(&running.home, EventKind::SandboxStarted, &running.record);
                Ok(Box::new(running))
            }
            Err((error, home, record, lock)) => {
                let ended = Ended { home, record, lock };
                Err(Box::new((LaunchFailure::of(&error), ended)))
            }
        }
    }
}

/// When a sandbox's time to live is over.
fn end_of(record: &SandboxRecord) -> Option<Instant> {
    let left = record.time_left()?;
    Instant::now().checked_add(left)
}

fn set_ttl(home: &Home, record: &mut SandboxRecord, seconds: Option<u64>) -> Outcome {
    let permitted = admission::permit_ttl(home, record, seconds);
    permitted.map_err(|error| LaunchFailure::of(&error))?;
    record.set_ttl(seconds);
    let written = record.write(&home.sandbox(&record.id));
    written.map_err(|error| failed("the time to live could not be recorded", &error))
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Waits until the owner detaches the sandbox (`true`) or is gone (`false`).
async fn listen(lease: &mut Lease, detached: bool) -> bool {
    detached || lease.ended().await
}

/// Waits until the owner is gone; that it detaches the sandbox meanwhile is noted.
async fn owner_gone(lease: &mut Lease, leased: bool, detached: &mut bool) {
    if leased && !lease.ended().await {
        return;
    }
    *detached |= leased;
    std::future::pending().await
}

/// Records that a sandbox belongs to itself from now on.
async fn detach(home: &Home, record: &mut SandboxRecord, lease: &mut Lease) -> Outcome {
    record.ownership = Ownership::Detached;
    let written = record.write(&home.sandbox(&record.id));
    written.map_err(|error| failed("the sandbox could not be detached", &error))?;
    lease.tell(&LaunchNews::Detached).await;
    Ok(())
}

fn outcome(removed: Result<(), RegistryError>) -> Outcome {
    removed.map_err(|error| LaunchFailure::of(&error))
}

fn failed(doing: &str, error: &dyn std::error::Error) -> LaunchFailure {
    let mut texts = vec![doing.to_owned()];
    texts.extend(causes(error));
    LaunchFailure {
        code: ErrorCode::SandboxUnavailable,
        causes: texts,
        hint: None,
    }
}
