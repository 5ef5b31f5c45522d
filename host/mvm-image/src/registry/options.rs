//! How registries are reached.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// The environment variable with the loopback registries that are spoken to without TLS,
/// `HOST[:PORT]` each, separated by commas.
pub const MVM_INSECURE_REGISTRIES: &str = "MVM_INSECURE_REGISTRIES";

/// When a registry is asked about an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// When the image, or what its tag means, is not known here.
    #[default]
    Missing,
    /// Whenever it is named by a tag. An image that is named by its digest cannot change: it is
    /// fetched when it is missing.
    Always,
    /// Never: what is not here is an error.
    Never,
}

impl PullPolicy {
    /// The name it is asked for by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// How registries are reached, and how long they are waited for.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// When they are asked.
    pub pull: PullPolicy,
    /// Registries (`HOST[:PORT]`) that are spoken to without TLS; only loopback addresses are.
    pub insecure: Vec<String>,
    /// Refuse the registries in [`insecure`](Self::insecure).
    pub refuse_insecure: bool,
    /// The directory with Docker's `config.json`, which has or names the credentials.
    pub docker_config: Option<PathBuf>,
    /// Directories with one directory a registry (`HOST[:PORT]`), whose `*.crt` are trusted for
    /// it beside the system's certificates.
    pub certificates: Vec<PathBuf>,
    /// How long things may take.
    pub patience: Patience,
}

/// How long a registry is waited for, and how often it is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until there is a connection, TLS included.
    pub connect: Duration,
    /// From a request to the first byte of its answer.
    pub answer: Duration,
    /// In which an answer must grow by [`MIN_PROGRESS`](Self::MIN_PROGRESS) bytes, or end.
    pub stall: Duration,
    /// Tries in a row that bring nothing.
    pub tries: u32,
    /// Before the second try; it doubles with each one.
    pub pause: Duration,
    /// The longest wait that a registry may ask for (`Retry-After`).
    pub retry_after: Duration,
    /// For a program that knows credentials (`docker-credential-*`).
    pub credential_helper: Duration,
}

impl Patience {
    /// Bytes in each [`stall`](Self::stall).
    pub const MIN_PROGRESS: u64 = 1024;
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            tries: 5,
            pause: Duration::from_millis(500),
            retry_after: Duration::from_secs(60),
            credential_helper: Duration::from_secs(15),
        }
    }
}

impl Default for RegistryOptions {
    /// The system's certificates, and no credentials.
    fn default() -> Self {
        Self {
            pull: PullPolicy::default(),
            insecure: Vec::new(),
            refuse_insecure: false,
            docker_config: None,
            certificates: Vec::new(),
            patience: Patience::default(),
        }
    }
}

impl RegistryOptions {
    /// What this user's environment says: `DOCKER_CONFIG` or `~/.docker`, the `certs.d` of Docker
    /// and of Podman, and [`MVM_INSECURE_REGISTRIES`].
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let home = variable("HOME").map(PathBuf::from);
        let docker_config = variable("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| Some(home.as_ref()?.join(".docker")));
        let own = docker_config
            .iter()
            .map(|directory| directory.join("certs.d"))
            .chain(
                home.iter()
                    .map(|home| home.join(".config/containers/certs.d")),
            );
        let of_host = ["/etc/docker/certs.d", "/etc/containers/certs.d"].map(PathBuf::from);
        let insecure = env::var(MVM_INSECURE_REGISTRIES).unwrap_or_default();
        let insecure = insecure.split(',').map(str::trim);
        Self {
            insecure: insecure
                .filter(|name| !name.is_empty())
                .map(Into::into)
                .collect(),
            certificates: own.chain(of_host).collect(),
            docker_config,
            ..Self::default()
        }
    }
}
