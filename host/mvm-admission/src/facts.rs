//! What a host says of itself, for plans to be held against.

use std::collections::{BTreeMap, BTreeSet};

use mvm_contract::{Digest, KeyId, plan::ImageVerdict, receipt::Isolation};

/// What a host says of itself. What is not in here, the host does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// The host's own key.
    pub key: KeyId,
    /// What would separate the guest from it.
    pub isolation: Isolation,
    /// What it enforces beyond what every host does.
    pub features: BTreeSet<Feature>,
    /// The root filesystems in its store, or those of them that the plan may mean.
    pub images: BTreeMap<Digest, ImageFacts>,
    /// The kernel it boots, and whether its seal holds.
    pub kernel: (Digest, Seal),
    /// The initramfs it boots, and whether its seal holds.
    pub initramfs: (Digest, Seal),
    /// Version of the agent in that initramfs.
    pub agent_version: String,
    /// The snapshots it has, or those of them that the plan may mean.
    pub snapshots: BTreeMap<Digest, Seal>,
}

/// What the store says of a root filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageFacts {
    /// How far its origin was verified when it was made.
    pub verdict: ImageVerdict,
    /// Whether it is what was published.
    pub seal: Seal,
}

/// Whether something in the store is what was published there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// It was looked at, and is.
    Holds,
    /// It is not, or nobody has looked.
    Broken,
}

/// Parts of a plan that a host may be able to enforce. A plan that uses one that its host does not
/// enforce is denied: nothing in a plan is ever ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Network grants.
    Egress,
    /// Offered ports.
    Ingress,
    /// Secret references.
    Secrets,
    /// Mounts of host directories.
    Mounts,
    /// Workloads that were compiled.
    Workload,
}

/// Which nonces are spent. Whoever answers holds the lock under which nonces are spent.
pub trait ReplayView {
    /// Whether a plan with this nonce was admitted before.
    fn seen(&self, nonce: &str) -> bool;
}

impl ReplayView for BTreeSet<String> {
    fn seen(&self, nonce: &str) -> bool {
        self.contains(nonce)
    }
}
