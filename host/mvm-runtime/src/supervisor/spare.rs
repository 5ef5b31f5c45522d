//! A spare: a sandbox that is made before anybody asks for it.
//!
//! ```text
//! fork ── warm up ── pause ── listen ──┬── claimed ──> Running, under its new identity
//!                                      ├── idle too long, retired, told to end ──> gone
//!                                      └── its microVM ended ──> gone
//! ```
//!
//! A spare belongs to nobody: it survives whoever made it. It can be claimed once: the first whose
//! order arrives gets it, its socket is gone then, and whoever came second is hung up on.

use std::{fs, io, time::Duration};

use mvm_admission::Seal;
use mvm_contract::{SandboxId, plan::LaunchPath};
use mvm_vmm::Host;
use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
};

use super::{
    Lease, Made, Running,
    creation::{CreationError, hostname, listen},
    guest::GuestIdentity,
    start::{GuestStartError, Place, Started},
    warm_up::warm_up,
};
use crate::{
    admission::{self, AdmissionError, Admitted},
    fault,
    folder::LockedFolder,
    home::Home,
    lease::{
        LaunchFailure, LaunchNews, LaunchRequest, Origin, SpareOrder, SpareRequest, Stopwatch,
    },
    machine_facts::MachineFacts,
    pool::{self, CLAIM_SOCKET},
    random,
    record::{SandboxRecord, StartOrigin},
    registry, socket, template,
};

/// The name of a guest that has not been claimed.
const PLACEHOLDER: &str = "spare";
/// The longest a spare waits before it is made, while others are.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_INTERVAL: Duration = Duration::from_millis(100);
/// Whoever connects and says nothing is hung up on.
const ORDER_LIMIT: Duration = Duration::from_secs(5);

/// A claimed spare: who claimed it, for what, and what it is.
pub(super) struct Claimed {
    pub(super) made: Made,
    pub(super) lease: Lease,
    pub(super) watch: Stopwatch,
}

/// A spare that waits.
struct Waiting {
    home: Home,
    // Before `folder`: its microVM ends before its files go.
    started: Started,
    folder: LockedFolder,
    host: Host,
    facts: MachineFacts,
    image_digest: String,
}

/// Makes a spare, unless there are enough, and waits until it is claimed. Nothing when it ended
/// otherwise; then nothing is left of it.
pub(super) async fn serve(request: SpareRequest) -> Result<Option<Claimed>, CreationError> {
    let home = Home::open(&request.home)?;
    let_others_start(&home).await;
    let template = template::load_checked(&home, &request.key)?;
    let Some(folder) = take_place(&home, &request)? else {
        return Ok(None);
    };
    let host = Host::detect(&home.cache(), None)?;
    let shape = template.manifest.shape.clone();
    let place = Place {
        home: &home,
        host: &host,
        folder: folder.path(),
        image: &shape.image_path,
        resources: &shape.resources,
    };
    let identity = GuestIdentity::default();
    let mut unmeasured = Stopwatch::start();
    let forked = place.fork(template, identity, &mut unmeasured);
    let mut started = forked.await?;
    fault::point("spare.forked");
    warm_up(&started.guest).await;
    // The way it is claimed, too.
    started
        .guest
        .introduce(true, GuestIdentity::named(PLACEHOLDER.to_owned()))
        .await?;
    started.machine.pause().await?;
    let listener = socket::listen(folder.path(), CLAIM_SOCKET)
        .map_err(|source| CreationError::Door { source })?;
    fault::point("spare.ready");
    let Some(settings) = still_wanted(&home, &request, &folder)? else {
        return Ok(None);
    };
    // One replaces another until there are enough.
    pool::replenish(&home, &request.key, &request.pool);
    let idle = Duration::from_secs(settings.idle_seconds);
    let mut waiting = Waiting {
        facts: MachineFacts::of(&host, &shape.resources),
        host,
        image_digest: shape.image_digest,
        home,
        started,
        folder,
    };
    let mut watch = Stopwatch::start();
    let (order, admitted, lease) = match waiting.claimed(listener, idle, &mut watch).await {
        Ok(claimed) => claimed,
        Err(ended_by) => {
            // Whoever ended it hears of it when nothing of it is left.
            drop(waiting);
            drop(ended_by);
            return Ok(None);
        }
    };
    let made = waiting.become_sandbox(order, admitted, &mut watch).await?;
    Ok(Some(Claimed { made, lease, watch }))
}

/// Waits while sandboxes are being made that somebody waits for: warming a guest up takes a
/// processor for a second.
async fn let_others_start(home: &Home) {
    let waiting = tokio::time::Instant::now();
    while waiting.elapsed() < PATIENCE && registry::is_making(home) {
        tokio::time::sleep(PATIENCE_INTERVAL).await;
    }
}

/// A folder among the spares of a template, when one more is wanted and the host has room.
fn take_place(home: &Home, request: &SpareRequest) -> Result<Option<LockedFolder>, CreationError> {
    let lock = pool::lock(home, &request.key).map_err(|source| CreationError::Door { source })?;
    let wanted =
        pool::is_wanted(home, &request.key, &request.pool) && pool::has_room(home, &request.key);
    if !wanted {
        return Ok(None);
    }
    let bits = random::bits().map_err(|source| CreationError::Door { source })?;
    let name = SandboxId::from_random(bits);
    let folder = LockedFolder::create(&home.spares().join(&request.key), name.as_str())?;
    drop(lock);
    Ok(Some(folder))
}

/// The settings of the pool, unless fewer spares are wanted by now than there are before this one:
/// of several that are too many, the last go, and not all.
fn still_wanted(
    home: &Home,
    request: &SpareRequest,
    folder: &LockedFolder,
) -> Result<Option<pool::PoolSettings>, CreationError> {
    let _lock = pool::lock(home, &request.key).map_err(|source| CreationError::Door { source })?;
    let settings = pool::load(home, &request.pool)?;
    let own = folder.path().file_name().and_then(|name| name.to_str());
    let living = pool::living(home, &request.key);
    let before = living.iter().filter(|(id, _)| Some(id.as_str()) < own);
    let is_wanted = before.count() < usize::try_from(settings.size).unwrap_or(usize::MAX);
    Ok(is_wanted.then_some(settings))
}

impl Waiting {
    /// Waits for an order to become a sandbox. An error when it is to end, with whoever said so.
    async fn claimed(
        &mut self,
        listener: UnixListener,
        idle: Duration,
        watch: &mut Stopwatch,
    ) -> Result<(Box<LaunchRequest>, Admitted, Lease), Option<Lease>> {
        let expiry = tokio::time::sleep(idle);
        tokio::pin!(expiry);
        let mut terminate = signal(SignalKind::terminate()).map_err(|_| None)?;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut expiry => return Err(None),
                _ = terminate.recv() => return Err(None),
                _ = self.started.machine.wait() => return Err(None),
                () = self.started.guest.ended() => return Err(None),
            };
            let Ok((stream, _)) = accepted else { continue };
            match order(stream).await {
                Some((SpareOrder::Take(mut request), mut lease)) if self.fits(&request) => {
                    *watch = Stopwatch::start();
                    if !self.is_sound() {
                        return Err(Some(lease));
                    }
                    // Nothing of the guest has been touched: denied, it goes on waiting.
                    let admitted = match self.admit(&mut request) {
                        Ok(admitted) => admitted,
                        Err(error) => {
                            let failure = LaunchFailure::of(&error);
                            lease.tell(&LaunchNews::Failed(failure)).await;
                            continue;
                        }
                    };
                    watch.lap("admission");
                    // Nobody else gets in from here on; those who wait are hung up on.
                    let _ = fs::remove_file(self.folder.path().join(CLAIM_SOCKET));
                    drop(listener);
                    return Ok((request, admitted, lease));
                }
                Some((SpareOrder::Retire, lease)) => return Err(Some(lease)),
                // A claimer that died, or asks for something else: nothing has changed.
                _ => {}
            }
        }
    }

    /// Admits the plan of who claims it, for exactly this guest.
    fn admit(&self, request: &mut LaunchRequest) -> Result<Admitted, AdmissionError> {
        // Its folder carries its identifier.
        let name = self.folder.path().file_name();
        if let Some(Ok(id)) = name.and_then(|name| name.to_str()).map(str::parse) {
            request.id = id;
        }
        if let Some(template) = &self.started.template {
            request.software = template.manifest.shape.software();
        }
        let (home, host) = (&self.home, &self.host);
        request.path = LaunchPath::Spare;
        let launch = request.launch(None);
        admission::admit(
            home,
            host,
            &request.envelope,
            &launch,
            Seal::Holds,
            &request.id,
        )
    }

    /// Whether this is what is asked for.
    fn fits(&self, request: &LaunchRequest) -> bool {
        let template = self.started.template.as_ref();
        matches!(&request.origin, Origin::Template { key }
            if template.is_some_and(|template| template.key == *key))
            && request.image_digest == self.image_digest
            && template
                .is_some_and(|template| template.manifest.shape.resources == request.spec.resources)
    }

    /// Whether its template is still the one it was forked from: most of its memory is that
    /// template's file.
    fn is_sound(&self) -> bool {
        let template = self.started.template.as_ref();
        template.is_some_and(|template| template.check().is_ok())
    }

    async fn become_sandbox(
        self,
        order: Box<LaunchRequest>,
        admitted: Admitted,
        watch: &mut Stopwatch,
    ) -> Result<Made, CreationError> {
        let Started {
            mut machine,
            mut guest,
            port,
            other_port_free,
            template,
        } = self.started;
        let request = *order;
        fault::point("claim.taken");
        machine.resume().await?;
        watch.lap("continue");
        let identity = GuestIdentity::named(hostname(&request.spec, &request.id));
        let introduced = guest.introduce(true, identity);
        match admitted.start_limit() {
            None => introduced.await?,
            Some(limit) => tokio::time::timeout(limit, introduced)
                .await
                .map_err(|_| GuestStartError::Late { limit })??,
        }
        watch.lap("identity");
        let pool = request.pool.clone();
        let record = SandboxRecord::running(
            request,
            &admitted,
            StartOrigin::Spare,
            template.as_ref().map(|template| template.key.clone()),
            self.host.accelerator().isolation,
            machine.jail_report().clone(),
        );
        record.write(self.folder.path())?;
        let listener = listen(self.folder.path())?;
        fault::point("claim.recorded");
        let lock = registry::publish(&self.home, self.folder, &record)?;
        watch.lap("record");
        let running = Running {
            home: self.home,
            facts: self.facts,
            record,
            lock,
            machine,
            guest,
            port,
            waiting: None,
            other_port_free,
            template,
            pool,
        };
        Ok(Made { running, listener })
    }
}

/// Reads what a connection asks for.
async fn order(stream: UnixStream) -> Option<(SpareOrder, Lease)> {
    let mut lease = Lease::new(stream);
    let order = tokio::time::timeout(ORDER_LIMIT, lease.read::<SpareOrder>()).await;
    let order: io::Result<Option<SpareOrder>> = order.ok()?;
    Some((order.ok()??, lease))
}
