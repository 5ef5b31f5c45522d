//! The two things a plan can be here. Neither can be made but by the functions of this crate.

use mvm_contract::{Digest, KeyId, plan::Plan, policy::Bounds, receipt::Isolation};

/// A value whose exact bytes a trusted key signed, in its one form. Whether it may run is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    digest: Digest,
    key: KeyId,
    signer: String,
}

impl<T> Verified<T> {
    pub(crate) const fn new(value: T, digest: Digest, key: KeyId, signer: String) -> Self {
        Self {
            value,
            digest,
            key,
            signer,
        }
    }

    /// The value.
    #[must_use]
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// Digest of the bytes that were signed.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The key that signed them.
    #[must_use]
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// The key's name in the trust roots.
    #[must_use]
    pub fn signer(&self) -> &str {
        &self.signer
    }
}

/// A plan that may run here, now and once. It is not `Clone`: who launches it uses it up.
#[derive(Debug)]
pub struct AdmittedPlan {
    verified: Verified<Plan>,
    bounds: Bounds,
    isolation: Isolation,
}

impl AdmittedPlan {
    pub(crate) const fn new(
        verified: Verified<Plan>,
        bounds: Bounds,
        isolation: Isolation,
    ) -> Self {
        Self {
            verified,
            bounds,
            isolation,
        }
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        self.verified.value()
    }

    /// Digest of the plan's signed bytes: what receipts and audit records name it by.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.verified.digest()
    }

    /// The key that signed it.
    #[must_use]
    pub const fn key(&self) -> KeyId {
        self.verified.key()
    }

    /// The key's name in the trust roots.
    #[must_use]
    pub fn signer(&self) -> &str {
        self.verified.signer()
    }

    /// What it was held against: its profile and the host's policy, composed.
    #[must_use]
    pub const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// What separates the guest from the host, as it was said when the plan was admitted. The
    /// launch must not be weaker.
    #[must_use]
    pub const fn isolation(&self) -> Isolation {
        self.isolation
    }
}
