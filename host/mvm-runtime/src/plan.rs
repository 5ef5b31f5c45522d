//! Plans that this host writes and signs itself, for whoever asks it for a sandbox.

use std::{collections::BTreeMap, io, path::Path};

use mvm_contract::{
    Coded, Digest, ErrorCode, SandboxSpec, SigningKey,
    canonical::{self, WriteError},
    dsse::{self, PLAN_TYPE},
    plan::{
        ImageSourceKind, ImageVerdict, LaunchPath, NetworkPolicy, Origin, PLAN_VERSION, Plan,
        PlanFlaw, PlanImage, PlanKind, Profile, TimeLimits, Validity, value_digest,
    },
    policy::Bounds,
};
use serde::{Deserialize, Serialize};

use crate::{random, record::now_ms};

/// How long a plan may wait that is launched by the process that made it, seconds.
pub(crate) const OWN_VALIDITY_SECONDS: u64 = 60;
/// The clock may be set back so far between two steps of one launch, seconds.
const CLOCK_SLACK_SECONDS: u64 = 5;

/// The software a guest was booted with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestSoftware {
    /// Digest of its kernel.
    pub kernel_digest: Digest,
    /// Digest of its initramfs.
    pub initramfs_digest: Digest,
    /// Version of the agent in that.
    pub agent_version: String,
}

impl GuestSoftware {
    /// A guest of this kernel and initramfs, whose agent is of this program's version.
    pub(crate) fn of(kernel_digest: Digest, initramfs_digest: Digest) -> Self {
        Self {
            kernel_digest,
            initramfs_digest,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// A launch, as a plan describes it and as a supervisor does it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch<'a> {
    pub(crate) spec: &'a SandboxSpec,
    pub(crate) image_digest: &'a str,
    pub(crate) image_path: &'a Path,
    pub(crate) software: &'a GuestSoftware,
    pub(crate) path: LaunchPath,
    /// Digest of the manifest of the snapshot it goes on from.
    pub(crate) snapshot: Option<Digest>,
}

/// Why a plan cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is no randomness for a nonce.
    #[error("failed to read the host's random source")]
    Random(#[source] io::Error),
    /// The image's digest is none.
    #[error("`{digest}` is not a digest")]
    ImageDigest {
        /// What there is.
        digest: String,
    },
    /// What is asked for cannot be a plan.
    #[error("what is asked for cannot be a plan")]
    Flaw(#[from] PlanFlaw),
    /// It cannot be written down.
    #[error("the plan cannot be written")]
    Write(#[from] WriteError),
}

impl Coded for PlanError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Random(_) => ErrorCode::SandboxUnavailable,
            _ => ErrorCode::InvalidArgument,
        }
    }

    fn hint(&self) -> Option<String> {
        None
    }
}

/// The envelope of a new plan for a launch, signed with this host's key.
pub(crate) fn propose(
    launch: &Launch<'_>,
    profile: Profile,
    limits: TimeLimits,
    validity_seconds: u64,
    key: &SigningKey,
) -> Result<String, PlanError> {
    let nonce = hex::encode(random::bytes::<16>().map_err(PlanError::Random)?);
    let spec = launch.spec;
    let digest = launch.image_digest.parse();
    let digest = digest.map_err(|_| PlanError::ImageDigest {
        digest: launch.image_digest.to_owned(),
    })?;
    let now = now_ms() / 1000;
    let plan = Plan {
        version: PLAN_VERSION,
        kind: PlanKind::Sandbox,
        image: PlanImage {
            source: spec.image.clone(),
            digest,
            verdict: verdict_of(&spec.image),
        },
        kernel_digest: launch.software.kernel_digest,
        initramfs_digest: launch.software.initramfs_digest,
        agent_version: launch.software.agent_version.clone(),
        workload_digest: None,
        resources: spec.resources,
        network: NetworkPolicy::NONE,
        ingress: Vec::new(),
        secrets: Vec::new(),
        mounts: Vec::new(),
        environment: digests_of(&spec.environment, &nonce),
        working_directory: spec.working_directory.clone(),
        user: spec.user.clone(),
        name: spec.name.clone(),
        ttl_seconds: spec.ttl_seconds,
        limits,
        origin: Origin {
            path: launch.path,
            snapshot: launch.snapshot,
        },
        profile,
        host: Some(key.public_key().id()),
        principal: principal(),
        validity: Validity {
            not_before: now.saturating_sub(CLOCK_SLACK_SECONDS),
            not_after: now.saturating_add(validity_seconds),
        },
        nonce,
    };
    plan.validate()?;
    let bytes = canonical::to_bytes(&plan)?;
    let envelope = dsse::seal(PLAN_TYPE, &bytes, key)?;
    Ok(String::from_utf8_lossy(&envelope).into_owned())
}

/// The limits of a plan that asks for as much as a policy allows, and for no more than `kept`.
pub(crate) fn limits_within(bounds: &Bounds, kept: Option<u64>) -> TimeLimits {
    TimeLimits {
        start_seconds: None,
        command_seconds: bounds.command_seconds.into_iter().chain(kept).min(),
    }
}

/// What a plan says of an environment.
pub(crate) fn digests_of(
    environment: &BTreeMap<String, String>,
    nonce: &str,
) -> BTreeMap<String, Digest> {
    let digest = |(name, value): (&String, &String)| {
        let digest = value_digest(nonce, name, value);
        (name.clone(), digest)
    };
    environment.iter().map(digest).collect()
}

/// What is verified when an image of this source is made: every source is, in one of two ways.
pub(crate) fn verdict_of(source: &str) -> ImageVerdict {
    match ImageSourceKind::of(source) {
        Some(ImageSourceKind::Debian) => ImageVerdict::ArchiveSigned,
        _ => ImageVerdict::DigestVerified,
    }
}

/// On whose behalf this process launches: the user it runs as.
fn principal() -> String {
    format!("user:{}", rustix::process::getuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mvm_admission::{EnvelopeBytes, verify};
    use mvm_contract::trust::{KeyRole, TrustRoots, TrustedKey};

    #[test]
    fn a_plan_verifies_and_holds_no_value_of_the_environment() {
        let key = SigningKey::from_seed(&[1; 32]);
        let mut spec = SandboxSpec::default();
        let value = "hunter2-hunter2".to_owned();
        spec.environment.insert("TOKEN".to_owned(), value.clone());
        let digest = Digest::of(b"image").to_string();
        let launch = Launch {
            spec: &spec,
            image_digest: &digest,
            image_path: Path::new("/image"),
            software: &GuestSoftware::of(Digest::of(b"k"), Digest::of(b"i")),
            path: LaunchPath::Template,
            snapshot: None,
        };
        let limits = TimeLimits::default();
        let envelope = propose(&launch, Profile::Standard, limits, 60, &key).unwrap();
        let roots = TrustRoots {
            version: 1,
            keys: vec![TrustedKey {
                name: "host".to_owned(),
                role: KeyRole::Host,
                public_key: key.public_key(),
                not_before: 0,
                not_after: None,
                revoked_at: None,
            }],
        };
        let bytes = EnvelopeBytes::new(envelope.as_bytes());
        let verified = verify(bytes, &roots, now_ms() / 1000).unwrap();
        let plan = verified.value();
        assert_eq!(plan.environment, digests_of(&spec.environment, &plan.nonce));
        assert!(
            !canonical::to_bytes(plan)
                .unwrap()
                .windows(value.len())
                .any(|w| w == value.as_bytes())
        );
    }
}
