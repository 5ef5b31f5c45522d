//! The execution plan: everything a launch will use, bound by digests.
//!
//! A plan is canonical JSON ([`crate::canonical`]) in a signed envelope ([`crate::dsse`]). It has
//! one form: a field that has no value is left out, every other is written. It holds names and
//! digests of what is private, never the values.

mod environment;
mod image;
mod network;
mod validate;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, KeyId, Resources, SandboxName};

pub use environment::value_digest;
pub use image::{ImageSourceKind, ImageVerdict, PlanImage, is_pinned};
pub use network::{
    EgressGrant, EgressProtocol, IngressPort, MountReference, NetworkMode, NetworkPolicy,
    SecretReference,
};
pub use validate::PlanFlaw;
pub(crate) use validate::is_printable;

/// The version of plans this code reads and writes.
pub const PLAN_VERSION: u32 = 1;

/// What a launch will use. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// What is launched.
    pub kind: PlanKind,
    /// The root filesystem.
    pub image: PlanImage,
    /// Digest of the guest's kernel.
    pub kernel_digest: Digest,
    /// Digest of the guest's initramfs, whose `/init` is the agent.
    pub initramfs_digest: Digest,
    /// Version of the agent in it.
    pub agent_version: String,
    /// Digest of the workload's IR, where the plan was made of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_digest: Option<Digest>,
    /// What the microVM may use.
    pub resources: Resources,
    /// What the guest may connect to.
    pub network: NetworkPolicy,
    /// Ports of the guest that the host offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<IngressPort>,
    /// Secrets the guest may use without seeing them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretReference>,
    /// Directories of the host that the guest sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountReference>,
    /// Environment of every command: names, and the digest of each value ([`value_digest`]).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Digest>,
    /// Working directory of commands that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// User of commands that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The sandbox's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<SandboxName>,
    /// The sandbox is destroyed so many seconds after its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// Limits in time.
    pub limits: TimeLimits,
    /// How the guest comes to be.
    pub origin: Origin,
    /// Under which built-in policy it runs.
    pub profile: Profile,
    /// The only host that may run it; without it, any host that trusts the signer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<KeyId>,
    /// On whose behalf.
    pub principal: String,
    /// When it may be admitted.
    pub validity: Validity,
    /// What makes it usable once: at least 32 lowercase hexadecimal digits of randomness.
    pub nonce: String,
}

/// What a plan launches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlanKind {
    /// A sandbox for one command; it is destroyed when the command has ended.
    Run,
    /// A sandbox that lives until it is ended.
    Sandbox,
}

/// Limits in time, in seconds; without a value there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeLimits {
    /// Until the guest's agent answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_seconds: Option<u64>,
    /// For each command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_seconds: Option<u64>,
}

/// How a guest comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The way of launching.
    pub path: LaunchPath,
    /// The snapshot's digest, on the paths that start from one and on no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Digest>,
}

/// The ways of launching.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LaunchPath {
    /// The guest boots.
    Boot,
    /// It is forked from the image's template.
    Template,
    /// It is a fork of the image's template that was made beforehand.
    Spare,
    /// A new sandbox goes on from a snapshot.
    Restore,
    /// A new sandbox is split off a living one, through a snapshot of it.
    Fork,
    /// A sandbox that was saved to disk comes back.
    Resume,
}

impl LaunchPath {
    /// Every way.
    pub const ALL: [Self; 6] = [
        Self::Boot,
        Self::Template,
        Self::Spare,
        Self::Restore,
        Self::Fork,
        Self::Resume,
    ];

    /// Whether the guest's memory comes from a snapshot, which the plan then names.
    #[must_use]
    pub const fn starts_from_snapshot(self) -> bool {
        matches!(self, Self::Restore | Self::Fork | Self::Resume)
    }

    /// The way as it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Template => "template",
            Self::Spare => "spare",
            Self::Restore => "restore",
            Self::Fork => "fork",
            Self::Resume => "resume",
        }
    }
}

/// The built-in policies ([`crate::policy::Bounds::of_profile`]).
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// For code nobody has looked at.
    Restrictive,
    /// What a plan gets that asks for nothing else.
    #[default]
    Standard,
    /// For work on one's own machine.
    Dev,
    /// For what others rely on: nothing mutable, nothing ad hoc, nothing emulated.
    Production,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 4] = [
        Self::Restrictive,
        Self::Standard,
        Self::Dev,
        Self::Production,
    ];

    /// The profile as it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restrictive => "restrictive",
            Self::Standard => "standard",
            Self::Dev => "dev",
            Self::Production => "production",
        }
    }
}

/// When a plan may be admitted, in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validity {
    /// From this second on.
    pub not_before: u64,
    /// Up to this second, not in it.
    pub not_after: u64,
}

impl Validity {
    /// How long it lasts, in seconds; 0 when it ends before it begins.
    #[must_use]
    pub const fn seconds(&self) -> u64 {
        self.not_after.saturating_sub(self.not_before)
    }
}

#[cfg(test)]
mod tests;
