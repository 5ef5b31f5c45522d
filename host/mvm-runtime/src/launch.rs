//! From a specification to a sandbox whose agent answers.
//!
//! The creating process resolves what takes long or can be refused early (image, boot artifacts,
//! empty disk), then starts the supervisor, which looks at the host, and waits for its word.

mod error;

use std::{collections::BTreeMap, os::fd::OwnedFd, process::Stdio, time::Duration};

use mvm_admission::Seal;
use mvm_contract::{
    SandboxId, SandboxSpec,
    plan::{LaunchPath, Profile},
};
use mvm_image::{
    Image, ImageConfig, ImageSource, MaterializeOptions, Progress, boot::BootArtifacts,
    nix::NixOptions,
};
use mvm_vmm::Host;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    Runtime,
    admission::{self, AdmissionError},
    command::CommandDefaults,
    disk, keys,
    lease::{
        DETACH, KernelFiles, LaunchNews, LaunchRequest, Order, Origin, Phase, Stopwatch,
        TemplateRequest,
    },
    plan::{self, GuestSoftware, OWN_VALIDITY_SECONDS},
    pool::{self, PoolName},
    random,
    record::{SandboxRecord, now_ms},
    registry,
    template::{self, TemplateShape},
};

pub use error::{CreateError, LaunchError};

/// The environment variable that makes every sandbox boot when it is `off`.
pub const MVM_TEMPLATES: &str = "MVM_TEMPLATES";

/// The environment variable that keeps `nix` off the network when it is `1`.
const MVM_NIX_OFFLINE: &str = "MVM_NIX_OFFLINE";

/// The longest that a build with `nix` may take.
const NIX_TIME_LIMIT: Duration = Duration::from_secs(60 * 60);

/// The creator's end of the lease: while it is open, the sandbox lives; when it closes, by the
/// creator's death or will, the sandbox is destroyed.
#[derive(Debug)]
pub(crate) struct LeaseHolder {
    news: Lines<BufReader<OwnedReadHalf>>,
    words: OwnedWriteHalf,
}

/// A sandbox whose agent answers.
pub(crate) struct Launched {
    pub(crate) record: SandboxRecord,
    pub(crate) lease: LeaseHolder,
    pub(crate) phases: Vec<Phase>,
}

/// Creates a sandbox and waits until its agent answers: a spare is claimed, or one is forked from
/// the template of its shape, which is made first where there is none. Each way has a plan of its
/// own, signed by this host.
pub(crate) async fn launch(
    runtime: &Runtime,
    spec: &SandboxSpec,
    progress: &(dyn Progress + Sync),
) -> Result<Launched, CreateError> {
    let mut watch = Stopwatch::start();
    let mut resolved = resolve(runtime, spec, progress)?;
    watch.lap("resolve");
    if let Some(reason) = runtime.why_boot() {
        resolved.boot(runtime, reason)?;
        resolved.sign(runtime)?;
        return start(runtime, resolved.request, watch, progress).await;
    }
    if pool::load(&runtime.home, &resolved.pool)?.size > 0 && resolved.has_spare(runtime) {
        resolved.request.path = LaunchPath::Spare;
        resolved.sign(runtime)?;
        if let Some(claimed) = resolved.claim(runtime).await {
            let (record, lease, phases) = claimed?;
            return Ok(launched(watch, record, lease, phases, "claim a spare"));
        }
    }
    resolved.request.path = LaunchPath::Template;
    resolved
        .make_template(runtime, progress, &mut watch)
        .await?;
    resolved.sign(runtime)?;
    start(runtime, resolved.request, watch, progress).await
}

/// Creates a sandbox by a plan that came from elsewhere, in the way the plan names and no other.
pub(crate) async fn launch_by_plan(
    runtime: &Runtime,
    envelope: &[u8],
    environment: BTreeMap<String, String>,
    progress: &(dyn Progress + Sync),
) -> Result<Launched, CreateError> {
    let mut watch = Stopwatch::start();
    // Nothing is fetched or made for a plan that nobody trusted has signed.
    let verified = admission::verify_plan(&runtime.home, envelope)?;
    let plan = verified.value();
    let spec = SandboxSpec {
        image: plan.image.source.clone(),
        name: plan.name.clone(),
        resources: plan.resources,
        environment,
        working_directory: plan.working_directory.clone(),
        user: plan.user.clone(),
        ttl_seconds: plan.ttl_seconds,
    };
    let runtime = runtime.clone().with_profile(plan.profile);
    let mut resolved = resolve(&runtime, &spec, progress)?;
    watch.lap("resolve");
    resolved.request.path = plan.origin.path;
    // Verified, it is JSON, and so UTF-8.
    resolved.request.envelope = String::from_utf8_lossy(envelope).into_owned();
    match plan.origin.path {
        LaunchPath::Boot => resolved.boot(&runtime, "its plan says so".to_owned())?,
        LaunchPath::Template => {
            let made = resolved.make_template(&runtime, progress, &mut watch);
            made.await?;
        }
        LaunchPath::Spare => {
            let claimed = resolved.claim(&runtime).await;
            let (record, lease, phases) = claimed.ok_or(CreateError::NoSpare)??;
            return Ok(launched(watch, record, lease, phases, "claim a spare"));
        }
        path @ (LaunchPath::Restore | LaunchPath::Fork | LaunchPath::Resume) => {
            return Err(CreateError::PlanPath { path });
        }
    }
    start(&runtime, resolved.request, watch, progress).await
}

/// The signed plan of a sandbox that is not created.
pub(crate) fn sign_plan(
    runtime: &Runtime,
    spec: &SandboxSpec,
    path: LaunchPath,
    validity_seconds: u64,
    progress: &(dyn Progress + Sync),
) -> Result<Vec<u8>, CreateError> {
    if path.starts_from_snapshot() {
        return Err(CreateError::PlanPath { path });
    }
    let resolved = resolve(runtime, spec, progress)?;
    let mut launch = resolved.request.launch(None);
    launch.path = path;
    let signer = keys::host_signer(&runtime.home)?;
    let profile = runtime.profile;
    let limits = plan::limits_within(&keys::host_policy(&runtime.home)?.bounds_for(profile), None);
    let envelope = plan::propose(&launch, profile, limits, validity_seconds, &signer)?;
    Ok(envelope.into_bytes())
}

/// Whether a sandbox would be admitted, in the way it would be launched, and by which plan.
/// Nothing starts, and the plan is not spent.
pub(crate) fn dry_run(
    runtime: &Runtime,
    spec: &SandboxSpec,
    progress: &(dyn Progress + Sync),
) -> Result<Vec<u8>, CreateError> {
    let mut resolved = resolve(runtime, spec, progress)?;
    resolved.request.path = if runtime.why_boot().is_some() {
        LaunchPath::Boot
    } else if resolved.has_spare(runtime) {
        LaunchPath::Spare
    } else {
        LaunchPath::Template
    };
    resolved.sign(runtime)?;
    let host = Host::detect(&runtime.home.cache(), None)?;
    let launch = resolved.request.launch(None);
    let envelope = &resolved.request.envelope;
    // The kernel's seal is looked at when it boots.
    admission::preview(&runtime.home, &host, envelope, &launch, Seal::Holds)?;
    Ok(resolved.request.envelope.into_bytes())
}

/// A request whose image and guest software are there; it has no plan yet.
struct Resolved {
    request: LaunchRequest,
    boot: BootArtifacts,
    shape: TemplateShape,
    key: String,
    pool: PoolName,
    /// Until the sandbox can be seen: its image is not removed.
    _hold: mvm_image::Hold,
}

fn resolve(
    runtime: &Runtime,
    spec: &SandboxSpec,
    progress: &(dyn Progress + Sync),
) -> Result<Resolved, CreateError> {
    spec.validate()?;
    screen(runtime, &spec.image)?;
    if let Some(name) = &spec.name {
        registry::check_name_free(&runtime.home, name)?;
    }
    disk::check_free(&runtime.home)?;
    let boot = boot_artifacts(runtime)?;
    let hold = hold_images(runtime)?;
    let image = materialize(runtime, &spec.image, progress)?;
    let pool = PoolName {
        image: spec.image.clone(),
        resources: spec.resources,
    };
    let host = Host::detect(&runtime.home.cache(), None)?;
    let shape = TemplateShape::of(&host, &image, &boot, &spec.resources);
    let key = shape.key();
    let request = LaunchRequest {
        home: runtime.home.root().to_owned(),
        id: SandboxId::from_random(random::bits().map_err(CreateError::Random)?),
        spec: spec.clone(),
        created_at_ms: now_ms(),
        image_path: image.path,
        image_digest: image.digest.to_string(),
        software: GuestSoftware::of(boot.kernel_digest, boot.initramfs_digest),
        defaults: defaults(spec, image.config),
        origin: Origin::Template { key: key.clone() },
        path: LaunchPath::Template,
        envelope: String::new(),
        pool: Some(pool.clone()),
    };
    Ok(Resolved {
        request,
        boot,
        shape,
        key,
        pool,
        _hold: hold,
    })
}

impl Resolved {
    /// Lets it boot.
    fn boot(&mut self, runtime: &Runtime, reason: String) -> Result<(), CreateError> {
        let kernel = kernel_files(runtime, &self.boot, &self.request.spec)?;
        self.request.pool = None;
        self.request.path = LaunchPath::Boot;
        self.request.origin = Origin::Boot {
            kernel,
            boot_console: runtime.boot_console,
            reason,
        };
        Ok(())
    }

    fn sign(&mut self, runtime: &Runtime) -> Result<(), CreateError> {
        let signer = keys::host_signer(&runtime.home)?;
        let launch = self.request.launch(None);
        let profile = runtime.profile;
        let bounds = keys::host_policy(&runtime.home)?.bounds_for(profile);
        let limits = plan::limits_within(&bounds, None);
        self.request.envelope =
            plan::propose(&launch, profile, limits, OWN_VALIDITY_SECONDS, &signer)?;
        Ok(())
    }

    fn has_spare(&self, runtime: &Runtime) -> bool {
        pool::living(&runtime.home, &self.key)
            .iter()
            .any(|(_, ready)| *ready)
    }

    async fn claim(&self, runtime: &Runtime) -> Option<Result<pool::Claimed, CreateError>> {
        let claimed = pool::claim(&runtime.home, &self.key, &self.request).await?;
        Some(claimed.map_err(|failure| LaunchError::from(failure).into()))
    }

    /// Makes the template that it is forked from, where there is none.
    async fn make_template(
        &self,
        runtime: &Runtime,
        progress: &(dyn Progress + Sync),
        watch: &mut Stopwatch,
    ) -> Result<(), CreateError> {
        if template::find(&runtime.home, &self.shape).is_some() {
            return Ok(());
        }
        let spec = &self.request.spec;
        let kernel = kernel_files(runtime, &self.boot, spec)?;
        make_template(runtime, &spec.image, self.shape.clone(), kernel, progress).await?;
        watch.lap("make the template");
        Ok(())
    }
}

/// Starts a sandbox of its own process.
pub(crate) async fn start(
    runtime: &Runtime,
    request: LaunchRequest,
    watch: Stopwatch,
    progress: &(dyn Progress + Sync),
) -> Result<Launched, CreateError> {
    progress.stage("starting the microVM", None);
    let mut lease = start_supervisor(runtime, &Order::Sandbox(Box::new(request))).await?;
    let news = lease.next_news().await?;
    progress.finish();
    match news {
        LaunchNews::Ready { record, phases } => Ok(launched(
            watch,
            *record,
            lease,
            phases,
            "start a supervisor",
        )),
        LaunchNews::Failed(failure) => Err(LaunchError::from(failure).into()),
        LaunchNews::Detached | LaunchNews::Template => Err(CreateError::SupervisorDied),
    }
}

/// Puts the supervisor's phases after the creator's; what the supervisor does not account for is
/// the phase in which they overlap.
fn launched(
    mut watch: Stopwatch,
    record: SandboxRecord,
    lease: LeaseHolder,
    theirs: Vec<Phase>,
    overlap: &str,
) -> Launched {
    watch.lap(overlap);
    let mut phases = watch.phases();
    let accounted: f64 = theirs.iter().map(|phase| phase.milliseconds).sum();
    if let Some(last) = phases.last_mut() {
        last.milliseconds = (last.milliseconds - accounted).max(0.0);
    }
    phases.extend(theirs);
    Launched {
        record,
        lease,
        phases,
    }
}

/// Makes a template, or waits for another process that does.
pub(crate) async fn make_template(
    runtime: &Runtime,
    image: &str,
    shape: TemplateShape,
    kernel: KernelFiles,
    progress: &(dyn Progress + Sync),
) -> Result<(), CreateError> {
    progress.stage("making a template of the image (once)", None);
    let request = TemplateRequest {
        home: runtime.home.root().to_owned(),
        image: image.to_owned(),
        shape,
        kernel,
    };
    let mut lease = start_supervisor(runtime, &Order::Template(Box::new(request))).await?;
    let news = lease.next_news().await?;
    progress.finish();
    match news {
        LaunchNews::Template => Ok(()),
        LaunchNews::Failed(failure) => Err(LaunchError::from(failure).into()),
        LaunchNews::Ready { .. } | LaunchNews::Detached => Err(CreateError::SupervisorDied),
    }
}

pub(crate) fn boot_artifacts(runtime: &Runtime) -> Result<BootArtifacts, CreateError> {
    let path = runtime.home.boot();
    let boot = mvm_image::boot::current(&path).map_err(CreateError::BootArtifacts)?;
    boot.ok_or(CreateError::NotSetUp { path })
}

pub(crate) fn kernel_files(
    runtime: &Runtime,
    boot: &BootArtifacts,
    spec: &SandboxSpec,
) -> Result<KernelFiles, CreateError> {
    Ok(KernelFiles {
        kernel: boot.kernel.clone(),
        initramfs: boot.initramfs.clone(),
        empty_disk: disk::empty(&runtime.home, spec.resources.disk_mib)?,
    })
}

/// Refuses what the policy refuses by its name alone, before the network or the store is asked for
/// anything.
pub(crate) fn screen(runtime: &Runtime, image: &str) -> Result<(), CreateError> {
    let bounds = keys::host_policy(&runtime.home)?.bounds_for(runtime.profile);
    let screened = mvm_admission::screen_source(image, &bounds);
    Ok(screened.map_err(AdmissionError::Denied)?)
}

/// Keeps images from being removed that are about to be used.
pub(crate) fn hold_images(runtime: &Runtime) -> Result<mvm_image::Hold, CreateError> {
    let store = mvm_image::Store::open(runtime.home.store()).map_err(CreateError::Store)?;
    store.hold().map_err(CreateError::Store)
}

/// Makes an image ready, or finds it so.
pub(crate) fn materialize(
    runtime: &Runtime,
    name: &str,
    progress: &dyn Progress,
) -> Result<Image, CreateError> {
    let source: ImageSource = name.parse()?;
    with_images(runtime, progress, |store, options| {
        Ok(mvm_image::materialize(store, &source, options)?)
    })
}

/// Does something with the store and the ways images are made ready.
pub(crate) fn with_images<T, E: From<CreateError>>(
    runtime: &Runtime,
    progress: &dyn Progress,
    act: impl FnOnce(&mvm_image::Store, &MaterializeOptions<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let store = mvm_image::Store::open(runtime.home.store()).map_err(CreateError::Store)?;
    // What is pulled for `act` stays until it is done with it.
    let _hold = store.hold().map_err(CreateError::Store)?;
    let mut registry = runtime.registry.clone();
    registry.refuse_insecure = runtime.profile == Profile::Production;
    let options = MaterializeOptions {
        limits: mvm_image::Limits::default(),
        debian_layouts: &runtime.home.layouts(),
        nix: NixOptions {
            directory: &runtime.home.nix(),
            offline: std::env::var_os(MVM_NIX_OFFLINE).is_some_and(|value| value == "1"),
            time_limit: NIX_TIME_LIMIT,
        },
        registry: &registry,
        progress,
    };
    act(&store, &options)
}

/// The image's configuration under the specification's.
fn defaults(spec: &SandboxSpec, image: ImageConfig) -> CommandDefaults {
    let mut environment: BTreeMap<String, String> = image
        .env
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    environment.extend(spec.environment.clone());
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    CommandDefaults {
        environment,
        working_directory: spec
            .working_directory
            .clone()
            .or_else(|| given(image.working_dir)),
        user: spec.user.clone().or_else(|| given(image.user)),
        arguments: image.entrypoint.into_iter().chain(image.command).collect(),
    }
}

pub(crate) async fn start_supervisor(
    runtime: &Runtime,
    order: &Order,
) -> Result<LeaseHolder, CreateError> {
    let failed = |source| CreateError::Supervisor {
        program: runtime.supervisor.program.clone(),
        source,
    };
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    // Told by the lease alone: a supervisor holds none of its creator's streams open.
    let mut child = tokio::process::Command::new(&runtime.supervisor.program)
        .args(&runtime.supervisor.arguments)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .map_err(failed)?;
    // Reaped whenever it ends, so that a long-lived creator collects no zombies.
    tokio::spawn(async move {
        let _ = child.wait().await;
    });
    ours.set_nonblocking(true).map_err(CreateError::Lease)?;
    let stream = UnixStream::from_std(ours).map_err(CreateError::Lease)?;
    let mut lease = LeaseHolder::over(stream);
    let mut line = serde_json::to_vec(order).map_err(|error| CreateError::Lease(error.into()))?;
    line.push(b'\n');
    lease
        .words
        .write_all(&line)
        .await
        .map_err(CreateError::Lease)?;
    Ok(lease)
}

impl LeaseHolder {
    pub(crate) fn over(stream: UnixStream) -> Self {
        let (read, words) = stream.into_split();
        Self {
            news: BufReader::new(read).lines(),
            words,
        }
    }

    pub(crate) async fn next_news(&mut self) -> Result<LaunchNews, CreateError> {
        let line = self.news.next_line().await.map_err(CreateError::Lease)?;
        let line = line.ok_or(CreateError::SupervisorDied)?;
        serde_json::from_str(&line).map_err(|error| CreateError::Lease(error.into()))
    }

    /// Gives the sandbox up to itself; from then on it needs no owner.
    pub(crate) async fn detach(mut self) -> Result<(), CreateError> {
        let line = format!("{DETACH}\n");
        self.words
            .write_all(line.as_bytes())
            .await
            .map_err(CreateError::Lease)?;
        match self.next_news().await? {
            LaunchNews::Detached => Ok(()),
            LaunchNews::Failed(failure) => Err(LaunchError::from(failure).into()),
            LaunchNews::Ready { .. } | LaunchNews::Template => Err(CreateError::SupervisorDied),
        }
    }

    /// Ends the lease and waits until the supervisor, and with it the sandbox, is gone.
    pub(crate) async fn release(mut self, limit: Duration) -> bool {
        drop(self.words);
        let gone = async { while let Ok(Some(_)) = self.news.next_line().await {} };
        tokio::time::timeout(limit, gone).await.is_ok()
    }
}
