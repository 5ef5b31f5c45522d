//! Making a sandbox: its folder, its guest, its record.

use std::{io, path::Path};

use mvm_admission::Seal;
use mvm_contract::{Coded, Digest, ErrorCode, SandboxSpec, plan::LaunchPath};
use mvm_vmm::{DetectError, GuestMemory, Host};
use tokio::net::UnixListener;

use super::{
    Made, Running, door,
    guest::{GreetError, GuestIdentity},
    start::{GuestStartError, Place, Started},
};
use crate::{
    admission::{self, AdmissionError, Admitted},
    fault,
    folder::{FolderError, FolderLock, LockedFolder},
    home::{Home, HomeError},
    keys,
    lease::{KernelFiles, LaunchRequest, Origin, Stopwatch, WakeRequest},
    machine_facts::MachineFacts,
    plan::{self, Launch, OWN_VALIDITY_SECONDS},
    record::{RecordError, SandboxRecord, StartOrigin},
    registry::{self, RegistryError},
    snapshot::{self, COLD},
    template::{self, TemplateError},
};

/// Why a sandbox could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CreationError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("this host cannot run a microVM")]
    Detect(#[from] DetectError),
    #[error(transparent)]
    Start(#[from] GuestStartError),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Snapshot(#[from] snapshot::SnapshotError),
    #[error(transparent)]
    Pool(#[from] crate::PoolError),
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    #[error(transparent)]
    Keys(#[from] keys::KeyStoreError),
    #[error(transparent)]
    Plan(#[from] plan::PlanError),
    #[error("the kernel and initramfs to boot are not the ones of this host")]
    OtherKernel,
    #[error("the spare did not take its identity")]
    Identity(#[from] GreetError),
    #[error("the spare could not be let run")]
    Resume(#[from] mvm_vmm::ControlError),
    #[error("sandbox `{id}` is in use by another process")]
    Busy { id: mvm_contract::SandboxId },
    #[error("failed to open the sandbox's control socket")]
    Door {
        #[source]
        source: io::Error,
    },
}

impl Coded for CreationError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Home(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::Start(error) => error.code(),
            Self::Template(error) => error.code(),
            Self::Snapshot(error) => error.code(),
            Self::Admission(error) => error.code(),
            Self::Keys(error) => error.code(),
            Self::Plan(error) => error.code(),
            Self::OtherKernel => ErrorCode::AdmissionFailed,
            Self::Detect(_) => ErrorCode::BackendUnsupported,
            _ => ErrorCode::SandboxUnavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Home(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Start(error) => error.hint(),
            Self::Template(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            Self::Admission(error) => error.hint(),
            Self::Keys(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::Detect(error) => error.hint(),
            _ => None,
        }
    }
}

/// The hostname a sandbox's guest gets.
pub(super) fn hostname(spec: &SandboxSpec, id: &mvm_contract::SandboxId) -> String {
    match &spec.name {
        Some(name) => name.to_string(),
        None => id.to_string(),
    }
}

/// Makes a sandbox.
pub(super) async fn create(
    mut request: LaunchRequest,
    watch: &mut Stopwatch,
) -> Result<Made, CreationError> {
    let home = Home::open(&request.home)?;
    let host = Host::detect(&home.cache(), None)?;
    let folder = LockedFolder::create(&home.staging(), request.id.as_str())?;
    fault::point("create.folder");
    let place = Place {
        home: &home,
        host: &host,
        folder: folder.path(),
        image: &request.image_path,
        resources: &request.spec.resources,
    };
    let identity = GuestIdentity::named(hostname(&request.spec, &request.id));
    watch.lap("prepare host");
    let admitted;
    let (started, origin) = match &request.origin.clone() {
        Origin::Boot {
            kernel,
            boot_console,
            reason,
        } => {
            let seal = boot_seal(&home, kernel)?;
            admitted = admit(&home, &host, &request, None, seal, watch)?;
            let memory = GuestMemory::Anonymous;
            let booted = place.boot(kernel, *boot_console, memory, identity, watch);
            let reason = reason.clone();
            let booted = in_time(&admitted, booted).await?;
            (booted, StartOrigin::Boot { reason })
        }
        Origin::Template { key } => {
            let template = template::load_checked(&home, key)?;
            watch.lap("check template");
            request.software = template.manifest.shape.software();
            admitted = admit(&home, &host, &request, None, Seal::Holds, watch)?;
            let forked = place.fork(template, identity, watch);
            let forked = in_time(&admitted, forked).await?;
            (forked, StartOrigin::Template)
        }
        Origin::Snapshot { folder } => {
            let manifest = snapshot::manifest_of(&home, folder)?;
            // A snapshot that does not fit is no matter of plans.
            snapshot::check_fits(&manifest, folder, &host)?;
            let digest = manifest.digest();
            request.software = manifest.software;
            let snapshot = Some(digest);
            admitted = admit(&home, &host, &request, snapshot, Seal::Holds, watch)?;
            let restored = place.restore(folder, digest, identity, watch);
            let restored = in_time(&admitted, restored).await?;
            let snapshot = snapshot::id_of(&home, folder)?;
            (restored, StartOrigin::Snapshot { snapshot })
        }
    };
    fault::point("create.started");
    let pool = request.pool.clone();
    let Started {
        machine,
        guest,
        port,
        other_port_free,
        template,
    } = started;
    let record = SandboxRecord::running(
        request,
        &admitted,
        origin,
        template.as_ref().map(|template| template.key.clone()),
        host.accelerator().isolation,
        machine.jail_report().clone(),
    );
    // The folder appears only now: a sandbox that can be seen runs, and can be spoken to.
    record.write(folder.path())?;
    let listener = listen(folder.path())?;
    let lock = registry::publish(&home, folder, &record)?;
    fault::point("create.published");
    watch.lap("record");
    let facts = MachineFacts::of(&host, &record.spec.resources);
    let running = Running {
        home,
        facts,
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

/// Makes the socket where clients of a sandbox will come in.
pub(super) fn listen(folder: &Path) -> Result<UnixListener, CreationError> {
    door::listen(folder).map_err(|source| CreationError::Door { source })
}

/// Waits for a guest for as long as its plan allows.
async fn in_time(
    admitted: &Admitted,
    starting: impl Future<Output = Result<Started, GuestStartError>>,
) -> Result<Started, GuestStartError> {
    match admitted.start_limit() {
        None => starting.await,
        Some(limit) => tokio::time::timeout(limit, starting)
            .await
            .map_err(|_| GuestStartError::Late { limit })?,
    }
}

/// Admits a request's plan for what is about to be launched.
fn admit(
    home: &Home,
    host: &Host,
    request: &LaunchRequest,
    snapshot: Option<Digest>,
    software: Seal,
    watch: &mut Stopwatch,
) -> Result<Admitted, AdmissionError> {
    let launch = request.launch(snapshot);
    let id = &request.id;
    let admitted = admission::admit(home, host, &request.envelope, &launch, software, id);
    watch.lap("admission");
    admitted
}

/// Whether the kernel and initramfs that are to boot are what was published on this host.
fn boot_seal(home: &Home, kernel: &KernelFiles) -> Result<Seal, CreationError> {
    let current = mvm_image::boot::current(&home.boot()).ok().flatten();
    let Some(current) = current else {
        return Ok(Seal::Broken);
    };
    if current.kernel != kernel.kernel || current.initramfs != kernel.initramfs {
        return Err(CreationError::OtherKernel);
    }
    Ok(match current.verify() {
        Ok(()) => Seal::Holds,
        Err(_) => Seal::Broken,
    })
}

/// Brings a sandbox back that was saved to disk.
pub(super) async fn wake(
    request: WakeRequest,
    watch: &mut Stopwatch,
) -> Result<Made, CreationError> {
    let home = Home::open(&request.home)?;
    let folder = home.sandbox(&request.id);
    let Some(lock) = FolderLock::try_take(&folder)? else {
        return Err(CreationError::Busy { id: request.id });
    };
    let record = SandboxRecord::read(&folder)?;
    let listener = listen(&folder)?;
    let restored = restore_cold(home, record, lock, watch).await;
    let running = restored.map_err(|(error, ..)| error)?;
    Ok(Made { running, listener })
}

/// Brings a sandbox back from what its folder holds. When that fails, the sandbox is cold as
/// before, and its record and lock come back.
pub(super) async fn restore_cold(
    home: Home,
    mut record: SandboxRecord,
    lock: FolderLock,
    watch: &mut Stopwatch,
) -> Result<Running, (CreationError, Home, SandboxRecord, FolderLock)> {
    use mvm_contract::LifecycleState;
    let folder = home.sandbox(&record.id);
    let cold = folder.join(COLD);
    macro_rules! attempt {
        ($result:expr) => {
            match $result {
                Ok(value) => value,
                Err(error) => {
                    record.state = LifecycleState::Cold;
                    let _ = record.write(&folder);
                    return Err((error.into(), home, record, lock));
                }
            }
        };
    }
    record.state = LifecycleState::Restoring;
    record.supervisor_pid = std::process::id();
    attempt!(record.write(&folder));
    fault::point("wake.begun");
    let host = attempt!(Host::detect(&home.cache(), None));
    let resources = record.spec.resources;
    let place = Place {
        home: &home,
        host: &host,
        folder: &folder,
        image: &record.image_path,
        resources: &resources,
    };
    watch.lap("prepare host");
    let (admitted, digest) = attempt!(admit_return(&home, &host, &record, &cold));
    watch.lap("admission");
    // Its own name and machine-id stay; its randomness, clock and key are made anew.
    let restored = place
        .restore(&cold, digest, GuestIdentity::default(), watch)
        .await;
    let Started {
        machine,
        guest,
        port,
        other_port_free,
        template,
    } = attempt!(restored);
    fault::point("wake.restored");
    record.state = LifecycleState::Running;
    record.reason = None;
    record.admission = admitted.record();
    record.isolation = host.accelerator().isolation;
    record.jail = machine.jail_report().clone();
    attempt!(record.write(&folder));
    fault::point("wake.recorded");
    // Until what was saved is gone, that is what a death leads back to: nobody was told of the
    // guest that runs now.
    attempt!(crate::folder::discard(&home, &cold));
    fault::point("wake.discarded");
    watch.lap("record");
    let facts = MachineFacts::of(&host, &resources);
    Ok(Running {
        home,
        facts,
        record,
        lock,
        machine,
        guest,
        port,
        waiting: None,
        other_port_free,
        template,
        pool: None,
    })
}

/// Admits the return of a sandbox that was saved to disk, under the profile it had. Its plan is
/// this host's own: it says that the sandbox goes on from exactly this snapshot.
fn admit_return(
    home: &Home,
    host: &Host,
    record: &SandboxRecord,
    cold: &Path,
) -> Result<(Admitted, Digest), CreationError> {
    let manifest = snapshot::manifest_of(home, cold)?;
    snapshot::check_fits(&manifest, cold, host)?;
    let digest = manifest.digest();
    let launch = Launch {
        spec: &record.spec,
        image_digest: &record.image_digest,
        image_path: &record.image_path,
        software: &manifest.software,
        path: LaunchPath::Resume,
        snapshot: Some(digest),
    };
    let signer = keys::host_signer(home)?;
    let profile = record.admission.profile;
    let bounds = keys::host_policy(home)?.bounds_for(profile);
    // What its plan said of commands stays.
    let limits = plan::limits_within(&bounds, record.admission.commands.limit_seconds);
    let envelope = plan::propose(&launch, profile, limits, OWN_VALIDITY_SECONDS, &signer)?;
    let admitted = admission::admit(home, host, &envelope, &launch, Seal::Holds, &record.id)?;
    Ok((admitted, digest))
}
