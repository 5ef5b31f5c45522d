//! Admission: the step between a supervisor that was asked for a sandbox and the sandbox.
//!
//! The plan's envelope is verified and judged against this host's keys, policy and store
//! (`mvm-admission`); what is about to be launched is compared with it, field by field; and its
//! nonce is spent in the audit log, durably, before anything runs. All of it happens in the
//! supervisor: no other process can make a sandbox, and none can make an [`Admitted`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mvm_admission::{
    Admission, AdmittedPlan, Denial, EnvelopeBytes, HostFacts, ImageFacts, ReplayView, Request,
    Seal, Verified,
};
use mvm_contract::{
    Coded, Digest, ErrorCode, KeyId, SandboxId,
    audit::{Event, EventKind},
    plan::{LaunchPath, Plan, PlanKind, Profile},
};
use mvm_vmm::Host;
use serde::{Deserialize, Serialize};

use crate::{
    audit::{AuditError, AuditId, AuditLog, Durability},
    fault,
    home::Home,
    keys::{self, KeyStoreError},
    plan::{self, Launch},
    record::{SandboxRecord, now_ms},
    run,
};

/// The rules whose denials are a policy's, not a flaw of the plan.
const POLICY_RULES: std::ops::RangeInclusive<u16> = 46..=59;

/// A launch that was admitted. It cannot be made but by [`admit`], nor copied.
#[derive(Debug)]
pub(crate) struct Admitted {
    plan: AdmittedPlan,
    commands: CommandTerms,
    audit: AuditId,
}

/// What is kept of an admission: names and digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionRecord {
    /// Digest of the plan's bytes.
    pub plan_digest: Digest,
    /// The key that signed it.
    pub key: KeyId,
    /// On whose behalf.
    pub principal: String,
    /// Under which built-in policy.
    pub profile: Profile,
    /// The way it was launched.
    pub launch_path: LaunchPath,
    /// What it says of commands.
    #[serde(default)]
    pub commands: CommandTerms,
    /// Where the audit log says so.
    pub audit_id: String,
}

/// What a plan and the host's policy say of every command in a sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandTerms {
    /// The longest it runs, seconds; without a value, for as long as it likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_seconds: Option<u64>,
    /// It brings no environment variable of its own.
    #[serde(default)]
    pub refuse_environment: bool,
}

/// Why a launch was not admitted.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// A rule forbids it.
    #[error("rule {rule} ({name}) denies the plan: {reason}", rule = .0.rule, name = rule_name(.0), reason = .0.reason)]
    Denied(Denial),
    /// What is to be launched is not what the plan says.
    #[error("the {what} to be launched is not what the plan says")]
    Differs {
        /// In what.
        what: &'static str,
    },
    /// The sandbox was admitted to live for less.
    #[error("sandbox `{id}` may live for at most {most} more seconds")]
    TtlExceeded {
        /// The sandbox.
        id: SandboxId,
        /// How long.
        most: u64,
    },
    /// The plan asks for something that this version does not enforce.
    #[error("the plan asks for {what}, which this version does not enforce")]
    Unenforced {
        /// For what.
        what: &'static str,
    },
    /// The host's keys or policy cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// The audit log cannot be written: what cannot be recorded does not run.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

fn rule_name(denial: &Denial) -> String {
    format!("{:?}", denial.rule)
}

impl Coded for AdmissionError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Denied(denial) => code_of(denial),
            Self::Differs { .. } | Self::Unenforced { .. } => ErrorCode::AdmissionFailed,
            Self::TtlExceeded { .. } => ErrorCode::PolicyDenied,
            Self::Keys(error) => error.code(),
            Self::Audit(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Denied(denial) => Some(denial.remedy.clone()),
            Self::Differs { .. } => Some("make a plan of what is to be launched".to_owned()),
            Self::TtlExceeded { .. } => {
                Some("give it less, or launch it again by another plan".to_owned())
            }
            Self::Unenforced { .. } => Some("make a plan without it".to_owned()),
            Self::Keys(error) => error.hint(),
            Self::Audit(error) => error.hint(),
        }
    }
}

/// The code of a denial.
pub(crate) fn code_of(denial: &Denial) -> ErrorCode {
    if POLICY_RULES.contains(&denial.rule.number()) {
        ErrorCode::PolicyDenied
    } else {
        ErrorCode::AdmissionFailed
    }
}

impl Admitted {
    /// How long the guest's agent may take to answer.
    pub(crate) fn start_limit(&self) -> Option<Duration> {
        self.plan
            .plan()
            .limits
            .start_seconds
            .map(Duration::from_secs)
    }

    /// What is kept of it.
    pub(crate) fn record(&self) -> AdmissionRecord {
        let plan = self.plan.plan();
        AdmissionRecord {
            plan_digest: self.plan.digest(),
            key: self.plan.key(),
            principal: plan.principal.clone(),
            profile: plan.profile,
            launch_path: plan.origin.path,
            commands: self.commands,
            audit_id: self.audit.to_string(),
        }
    }
}

/// Admits the launch of a sandbox by a plan, and spends the plan.
pub(crate) fn admit(
    home: &Home,
    host: &Host,
    envelope: &str,
    launch: &Launch<'_>,
    software_seal: Seal,
    sandbox: &SandboxId,
) -> Result<Admitted, AdmissionError> {
    let signer = keys::host_signer(home)?;
    let mut log = AuditLog::open(home)?;
    // From here on this process alone spends nonces.
    let spending = log.transaction()?;
    let mut event = Event::new(EventKind::PlanAdmitted);
    event.sandbox = Some(sandbox.clone());
    let (plan, commands) = match decide(home, host, envelope, launch, software_seal, &spending) {
        Ok(plan) => plan,
        Err(error) => {
            event.kind = EventKind::PlanDenied;
            event.plan_digest = Some(Digest::of(envelope.as_bytes()));
            if let AdmissionError::Denied(denial) = &error {
                event.rule = Some(denial.rule.to_string());
            }
            spending.append(event, &signer, Durability::Eventual)?;
            return Err(error);
        }
    };
    event.plan_digest = Some(plan.digest());
    event.key = Some(plan.key());
    event.principal = Some(plan.plan().principal.clone());
    event.profile = Some(plan.plan().profile);
    event.image_digest = Some(plan.plan().image.digest);
    event.nonce = Some(plan.plan().nonce.clone());
    event.nonce_expires = Some(plan.plan().validity.not_after);
    fault::point("admission.decided");
    let audit = spending.append(event, &signer, Durability::Durable)?;
    fault::point("admission.spent");
    Ok(Admitted {
        plan,
        commands,
        audit,
    })
}

/// Whether a sandbox may live for so many seconds from now: no longer than the host's policy lets
/// it, nor, by a plan that this host did not sign itself, than that says.
pub(crate) fn permit_ttl(
    home: &Home,
    record: &SandboxRecord,
    seconds: Option<u64>,
) -> Result<(), AdmissionError> {
    let bounds = keys::host_policy(home)?.bounds_for(record.admission.profile);
    let is_own = record.admission.key == keys::host_signer(home)?.public_key().id();
    let left = record.time_left().map(|left| left.as_secs());
    let of_plan = left.filter(|_| !is_own && record.spec.ttl_seconds.is_some());
    match bounds.ttl_seconds.into_iter().chain(of_plan).min() {
        Some(most) if seconds.is_none_or(|seconds| seconds > most) => {
            let id = record.id.clone();
            Err(AdmissionError::TtlExceeded { id, most })
        }
        _ => Ok(()),
    }
}

/// The plan in an envelope, if a key that this host believes signed it. Whether it may run is
/// open.
pub fn verify_plan(home: &Home, envelope: &[u8]) -> Result<Verified<Plan>, AdmissionError> {
    let roots = keys::trust_roots(home)?;
    let bytes = EnvelopeBytes::new(envelope);
    mvm_admission::verify(bytes, &roots, now_ms() / 1000).map_err(AdmissionError::Denied)
}

/// Whether a launch would be admitted now. Nothing is spent or recorded.
pub(crate) fn preview(
    home: &Home,
    host: &Host,
    envelope: &str,
    launch: &Launch<'_>,
    software_seal: Seal,
) -> Result<(), AdmissionError> {
    let mut log = AuditLog::open(home)?;
    let view = log.transaction()?;
    decide(home, host, envelope, launch, software_seal, &view).map(drop)
}

fn decide(
    home: &Home,
    host: &Host,
    envelope: &str,
    launch: &Launch<'_>,
    software_seal: Seal,
    replay: &dyn ReplayView,
) -> Result<(AdmittedPlan, CommandTerms), AdmissionError> {
    let own = keys::host_signer(home)?.public_key().id();
    let roots = keys::trust_roots(home)?;
    let policy = keys::host_policy(home)?;
    let facts = facts(home, host, launch, software_seal, own);
    let admission = mvm_admission::admit(&Request {
        envelope: EnvelopeBytes::new(envelope.as_bytes()),
        roots: &roots,
        policy: &policy,
        host: &facts,
        replay,
        now: now_ms() / 1000,
    });
    match admission {
        Admission::Admitted(plan) => {
            compare(&plan, launch)?;
            let bounds = policy.bounds_for(plan.plan().profile);
            let commands = CommandTerms {
                limit_seconds: plan.plan().limits.command_seconds,
                refuse_environment: bounds.refuse_adhoc_environment,
            };
            Ok((plan, commands))
        }
        Admission::Denied(denial) => Err(AdmissionError::Denied(denial)),
    }
}

/// Adds to the audit log what became of a sandbox. Its owner is not kept waiting for a log that
/// cannot be written: what authorizes is recorded before, and durably.
pub(crate) fn note(home: &Home, kind: EventKind, record: &SandboxRecord) {
    let mut event = Event::new(kind);
    event.sandbox = Some(record.id.clone());
    event.plan_digest = Some(record.admission.plan_digest);
    if let Ok(signer) = keys::host_signer(home)
        && let Ok(mut log) = AuditLog::open(home)
    {
        let _ = log.append(event, &signer, Durability::Eventual);
    }
}

/// What this host is, as far as this launch is concerned.
fn facts(
    home: &Home,
    host: &Host,
    launch: &Launch<'_>,
    software_seal: Seal,
    key: KeyId,
) -> HostFacts {
    let mut images = BTreeMap::new();
    if let Some((digest, seal)) = image_seal(home, launch) {
        let verdict = plan::verdict_of(&launch.spec.image);
        images.insert(digest, ImageFacts { verdict, seal });
    }
    let software = launch.software;
    HostFacts {
        key,
        isolation: run::isolation(host.accelerator().isolation),
        features: BTreeSet::new(),
        images,
        kernel: (software.kernel_digest, software_seal),
        initramfs: (software.initramfs_digest, software_seal),
        agent_version: software.agent_version.clone(),
        // Its manifest was authenticated when its digest was taken.
        snapshots: launch
            .snapshot
            .map(|digest| (digest, Seal::Holds))
            .into_iter()
            .collect(),
    }
}

/// The image that is about to be used, if the store has it there.
fn image_seal(home: &Home, launch: &Launch<'_>) -> Option<(Digest, Seal)> {
    let digest: Digest = launch.image_digest.parse().ok()?;
    // A template names the store it was made over.
    let store = launch
        .image_path
        .ancestors()
        .nth(3)
        .map_or_else(|| home.store(), Into::into);
    let entry = mvm_image::Store::open(store).ok()?.entry(&digest).ok()??;
    if entry.path != launch.image_path {
        return None;
    }
    let seal = match entry.check_seal() {
        Ok(()) => Seal::Holds,
        Err(_) => Seal::Broken,
    };
    Some((digest, seal))
}

/// Whether a launch is the one that was admitted.
fn compare(admitted: &AdmittedPlan, launch: &Launch<'_>) -> Result<(), AdmissionError> {
    let (plan, spec) = (admitted.plan(), launch.spec);
    let differing = [
        (plan.origin.path != launch.path, "way of launching"),
        (plan.origin.snapshot != launch.snapshot, "snapshot"),
        (plan.image.source != spec.image, "image"),
        (
            plan.image.digest.to_string() != launch.image_digest,
            "image digest",
        ),
        (plan.resources != spec.resources, "resources"),
        (plan.name != spec.name, "name"),
        (plan.ttl_seconds != spec.ttl_seconds, "time to live"),
        (
            plan.working_directory != spec.working_directory,
            "working directory",
        ),
        (plan.user != spec.user, "user"),
        (
            plan.environment != plan::digests_of(&spec.environment, &plan.nonce),
            "environment",
        ),
    ];
    if let Some((_, what)) = differing.into_iter().find(|(differs, _)| *differs) {
        return Err(AdmissionError::Differs { what });
    }
    if plan.kind != PlanKind::Sandbox {
        return Err(AdmissionError::Unenforced {
            what: "a sandbox for one command",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
