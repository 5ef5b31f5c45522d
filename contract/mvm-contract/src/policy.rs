//! What a host lets plans do: the built-in profiles, the host's policy file, and their composition.
//!
//! Every side only narrows. Composed, denials win, numbers take the smaller and lists intersect, in
//! whatever order: [`Bounds::meet`] is commutative, associative and idempotent, and never lets
//! through what one side alone would not.

mod profile;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    KeyId,
    canonical::{Document, ReadError, ShapeError},
    plan::{ImageSourceKind, LaunchPath, Profile},
};

/// The version of policy files this code reads and writes.
pub const POLICY_VERSION: u32 = 1;
/// The largest policy file, in bytes.
pub const MAX_POLICY_BYTES: usize = 256 * 1024;

/// The host's policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostPolicy {
    /// [`POLICY_VERSION`].
    pub version: u32,
    /// The profiles that plans may ask for; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profiles: Option<BTreeSet<Profile>>,
    /// The profiles that refuse emulation of themselves and may use it on this host all the same.
    /// This is the one thing a host can widen, and it does so by name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub emulated_profiles: BTreeSet<Profile>,
    /// What holds for every plan.
    #[serde(default)]
    pub bounds: Bounds,
}

/// What plans may do. A bound that is not there bounds nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Most guest memory, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Most virtual processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// Largest disk, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_mib: Option<u32>,
    /// Longest time to live, seconds; a plan without one lives for ever and is then refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// Longest limit of a command, seconds; a plan without one is then refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_seconds: Option<u64>,
    /// Longest validity of a plan, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validity_seconds: Option<u64>,
    /// The kinds of image sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_sources: Option<BTreeSet<ImageSourceKind>>,
    /// The image's source must name a digest.
    #[serde(skip_serializing_if = "is_false")]
    pub require_digest_pin: bool,
    /// Isolation by an emulator is refused.
    #[serde(skip_serializing_if = "is_false")]
    pub refuse_emulated: bool,
    /// Environment variables are refused.
    #[serde(skip_serializing_if = "is_false")]
    pub refuse_adhoc_environment: bool,
    /// The ways of launching.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_paths: Option<BTreeSet<LaunchPath>>,
    /// The principals plans may speak for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principals: Option<BTreeSet<String>>,
    /// The keys, among those that are trusted to sign plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<BTreeSet<KeyId>>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Why a policy file is refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is not one JSON document.
    #[error("the host policy is not JSON that is read")]
    Json(#[source] ReadError),
    /// It is JSON of another shape.
    #[error("the host policy does not have its fields")]
    Shape(#[source] ShapeError),
    /// It is of another version.
    #[error("the host policy is of version {version}, not {POLICY_VERSION}")]
    Version {
        /// Which one.
        version: u32,
    },
}

impl Default for HostPolicy {
    /// The policy of a host that has no policy file: the profiles alone decide.
    fn default() -> Self {
        Self {
            version: POLICY_VERSION,
            profiles: None,
            emulated_profiles: BTreeSet::new(),
            bounds: Bounds::default(),
        }
    }
}

impl HostPolicy {
    /// Reads a policy file.
    pub fn read(bytes: &[u8]) -> Result<Self, PolicyError> {
        let document = Document::read(bytes, MAX_POLICY_BYTES).map_err(PolicyError::Json)?;
        let policy: Self = document.decode().map_err(PolicyError::Shape)?;
        match policy.version {
            POLICY_VERSION => Ok(policy),
            version => Err(PolicyError::Version { version }),
        }
    }

    /// Whether plans may ask for `profile`.
    #[must_use]
    pub fn allows_profile(&self, profile: Profile) -> bool {
        allows(self.profiles.as_ref(), &profile)
    }

    /// What a plan of `profile` may do on this host.
    #[must_use]
    pub fn bounds_for(&self, profile: Profile) -> Bounds {
        let mut of_profile = Bounds::of_profile(profile);
        if self.emulated_profiles.contains(&profile) {
            of_profile.refuse_emulated = false;
        }
        of_profile.meet(&self.bounds)
    }
}

/// Whether a list allows `value`; a list that is not there allows everything.
pub fn allows<T: Ord>(list: Option<&BTreeSet<T>>, value: &T) -> bool {
    list.is_none_or(|list| list.contains(value))
}

impl Bounds {
    /// What both sides let through.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        Self {
            memory_mib: smaller(self.memory_mib, other.memory_mib),
            vcpus: smaller(self.vcpus, other.vcpus),
            disk_mib: smaller(self.disk_mib, other.disk_mib),
            ttl_seconds: smaller(self.ttl_seconds, other.ttl_seconds),
            command_seconds: smaller(self.command_seconds, other.command_seconds),
            validity_seconds: smaller(self.validity_seconds, other.validity_seconds),
            image_sources: both(self.image_sources.as_ref(), other.image_sources.as_ref()),
            require_digest_pin: self.require_digest_pin || other.require_digest_pin,
            refuse_emulated: self.refuse_emulated || other.refuse_emulated,
            refuse_adhoc_environment: self.refuse_adhoc_environment
                || other.refuse_adhoc_environment,
            launch_paths: both(self.launch_paths.as_ref(), other.launch_paths.as_ref()),
            principals: both(self.principals.as_ref(), other.principals.as_ref()),
            keys: both(self.keys.as_ref(), other.keys.as_ref()),
        }
    }
}

fn smaller<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn both<T: Ord + Clone>(
    one: Option<&BTreeSet<T>>,
    other: Option<&BTreeSet<T>>,
) -> Option<BTreeSet<T>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one & other),
        (one, other) => one.or(other).cloned(),
    }
}

#[cfg(test)]
mod tests;
