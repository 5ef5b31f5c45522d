//! From a specification to a sandbox whose agent answers.
//!
//! The creating process resolves what takes long or can be refused early (image, boot artifacts,
//! empty disk), then starts the supervisor, which looks at the host, and waits for its word.

use std::{
    collections::BTreeMap,
    fmt, io,
    os::fd::OwnedFd,
    path::PathBuf,
    process::Stdio,
    time::{Duration, SystemTime},
};

use mvm_contract::{Coded, ErrorCode, SandboxId, SandboxSpec, SpecError};
use mvm_image::{Image, ImageConfig, ImageSource, MaterializeOptions, Progress};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    Runtime,
    command::CommandDefaults,
    disk::{self, DiskError},
    lease::{DETACH, LaunchFailure, LaunchNews, LaunchRequest},
    record::SandboxRecord,
    registry::{self, RegistryError},
};

/// The creator's end of the lease: while it is open, the sandbox lives; when it closes, by the
/// creator's death or will, the sandbox is destroyed.
#[derive(Debug)]
pub(crate) struct LeaseHolder {
    news: Lines<BufReader<OwnedReadHalf>>,
    words: OwnedWriteHalf,
}

/// Why a sandbox could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The specification breaks a rule.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The image's name has no meaning.
    #[error(transparent)]
    ImageSource(#[from] mvm_image::ParseSourceError),
    /// The image cannot be made ready.
    #[error(transparent)]
    Image(#[from] mvm_image::MaterializeError),
    /// The content store cannot be opened.
    #[error("failed to open the image store")]
    Store(#[source] mvm_image::StoreError),
    /// There is no kernel and initramfs.
    #[error("there is no guest kernel in `{}`", path.display())]
    NotSetUp {
        /// Where it would be.
        path: PathBuf,
    },
    /// Kernel and initramfs cannot be used.
    #[error("the guest's kernel and initramfs cannot be used")]
    BootArtifacts(#[source] mvm_image::boot::BootArtifactsError),
    /// The disk cannot be made.
    #[error("failed to prepare the sandbox's disk")]
    Disk(#[from] DiskError),
    /// The name is taken, or the state directory cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// There is no randomness for an identifier.
    #[error("failed to read the host's random source")]
    Random(#[source] io::Error),
    /// The supervisor did not start.
    #[error("failed to start supervisor `{}`", program.display())]
    Supervisor {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection to the supervisor broke.
    #[error("lost the connection to the sandbox's supervisor")]
    Lease(#[source] io::Error),
    /// The supervisor died before the sandbox ran.
    #[error("the sandbox's supervisor ended before the sandbox ran")]
    SupervisorDied,
    /// The supervisor said why not.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

impl Coded for CreateError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Spec(error) => error.code(),
            Self::ImageSource(_) => ErrorCode::InvalidArgument,
            Self::NotSetUp { .. } => ErrorCode::NotFound,
            Self::Image(error) if is_absent(error) => ErrorCode::NotFound,
            Self::Image(_) | Self::BootArtifacts(_) => ErrorCode::BuildFailed,
            Self::Store(_) => ErrorCode::SandboxUnavailable,
            Self::Supervisor { .. } => ErrorCode::BackendUnsupported,
            Self::Disk(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::Random(_) => ErrorCode::SandboxUnavailable,
            Self::Lease(_) | Self::SupervisorDied => ErrorCode::TransportError,
            Self::Launch(error) => error.failure.code,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Spec(error) => error.hint(),
            Self::ImageSource(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Store(source) => source.hint(),
            Self::NotSetUp { .. } => Some("prepare this host: `mvmctl setup`".to_owned()),
            Self::BootArtifacts(source) => source.hint(),
            Self::Disk(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Supervisor { .. } => Some(format!(
                "install `mvmctl` on the `PATH`, or name it with `{}`",
                crate::SUPERVISOR_VARIABLE
            )),
            Self::Launch(error) => error.failure.hint.clone(),
            Self::Random(_) | Self::Lease(_) | Self::SupervisorDied => None,
        }
    }
}

/// Whether the image is not there, as opposed to being broken.
fn is_absent(error: &mvm_image::MaterializeError) -> bool {
    use mvm_image::{MaterializeError, SourceError};
    match error {
        MaterializeError::Source { source, .. } => match source {
            SourceError::UnknownDefault { .. }
            | SourceError::NoSuchDirectory { .. }
            | SourceError::NoSuchReference { .. } => true,
            SourceError::Open { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        },
        _ => false,
    }
}

/// The supervisor's account of why the sandbox does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchError {
    failure: LaunchFailure,
    cause: Option<Cause>,
}

/// A cause that crossed a process boundary as text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cause {
    text: String,
    next: Option<Box<Cause>>,
}

impl From<LaunchFailure> for LaunchError {
    fn from(failure: LaunchFailure) -> Self {
        let cause = failure
            .causes
            .iter()
            .skip(1)
            .rev()
            .fold(None, |next, text| {
                Some(Cause {
                    text: text.clone(),
                    next: next.map(Box::new),
                })
            });
        Self { failure, cause }
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            self.failure
                .causes
                .first()
                .map_or("unknown failure", String::as_str),
        )
    }
}

impl std::error::Error for LaunchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.next.as_deref().map(|next| next as _)
    }
}

/// Creates a sandbox and waits until its agent answers.
pub(crate) async fn launch(
    runtime: &Runtime,
    spec: &SandboxSpec,
    progress: &(dyn Progress + Sync),
) -> Result<(SandboxRecord, LeaseHolder), CreateError> {
    spec.validate()?;
    if let Some(name) = &spec.name {
        registry::check_name_free(&runtime.home, name)?;
    }
    let request = prepare(runtime, spec, progress)?;
    progress.stage("starting the microVM", None);
    let mut lease = start_supervisor(runtime, &request).await?;
    let news = lease.next_news().await?;
    progress.finish();
    match news {
        LaunchNews::Ready(record) => Ok((*record, lease)),
        LaunchNews::Failed(failure) => Err(LaunchError::from(failure).into()),
        LaunchNews::Detached => Err(CreateError::SupervisorDied),
    }
}

/// Resolves everything the supervisor needs.
fn prepare(
    runtime: &Runtime,
    spec: &SandboxSpec,
    progress: &(dyn Progress + Sync),
) -> Result<LaunchRequest, CreateError> {
    disk::check_free(&runtime.home)?;
    let path = runtime.home.boot();
    let boot = mvm_image::boot::current(&path).map_err(CreateError::BootArtifacts)?;
    let boot = boot.ok_or(CreateError::NotSetUp { path })?;
    let image = materialize(runtime, &spec.image, progress)?;
    let empty_disk = disk::empty(&runtime.home, spec.resources.disk_mib)?;
    let mut random = [0; 16];
    getrandom(&mut random, GetRandomFlags::empty())
        .map_err(|error| CreateError::Random(error.into()))?;
    Ok(LaunchRequest {
        home: runtime.home.root().to_owned(),
        id: SandboxId::from_random(u128::from_ne_bytes(random)),
        spec: spec.clone(),
        created_at_ms: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, crate::command::milliseconds),
        image_path: image.path,
        image_digest: image.digest.to_string(),
        kernel: boot.kernel,
        initramfs: boot.initramfs,
        empty_disk,
        defaults: defaults(spec, image.config),
        boot_console: runtime.boot_console,
    })
}

/// Makes an image ready, or finds it so.
pub(crate) fn materialize(
    runtime: &Runtime,
    name: &str,
    progress: &dyn Progress,
) -> Result<Image, CreateError> {
    let source: ImageSource = name.parse()?;
    let store = mvm_image::Store::open(runtime.home.store()).map_err(CreateError::Store)?;
    let options = MaterializeOptions {
        limits: mvm_image::Limits::default(),
        debian_layouts: &runtime.home.layouts(),
        progress,
    };
    Ok(mvm_image::materialize(&store, &source, &options)?)
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

async fn start_supervisor(
    runtime: &Runtime,
    request: &LaunchRequest,
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
    let (read, words) = stream.into_split();
    let mut lease = LeaseHolder {
        news: BufReader::new(read).lines(),
        words,
    };
    let mut line = serde_json::to_vec(request).map_err(|error| CreateError::Lease(error.into()))?;
    line.push(b'\n');
    lease
        .words
        .write_all(&line)
        .await
        .map_err(CreateError::Lease)?;
    Ok(lease)
}

impl LeaseHolder {
    async fn next_news(&mut self) -> Result<LaunchNews, CreateError> {
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
            LaunchNews::Ready(_) => Err(CreateError::SupervisorDied),
        }
    }

    /// Ends the lease and waits until the supervisor, and with it the sandbox, is gone.
    pub(crate) async fn release(mut self, limit: Duration) -> bool {
        drop(self.words);
        let gone = async { while let Ok(Some(_)) = self.news.next_line().await {} };
        tokio::time::timeout(limit, gone).await.is_ok()
    }
}
