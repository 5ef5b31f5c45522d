//! Rules A-033 and up: a verified plan against the time, the host, and its policy.

mod bounds;
mod digests;

use mvm_contract::{plan::Plan, policy::HostPolicy, trust::TrustRoots};

use crate::{
    Admission, AdmittedPlan, Denial, EnvelopeBytes, Feature, HostFacts, ReplayView, Rule, Verified,
    verify,
};

pub use bounds::screen_source;

/// Everything that decides on one plan.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The plan, as it came.
    pub envelope: EnvelopeBytes<'a>,
    /// Who may sign plans.
    pub roots: &'a TrustRoots,
    /// The host's policy; the plan's profile is composed with it.
    pub policy: &'a HostPolicy,
    /// What the host is and has.
    pub host: &'a HostFacts,
    /// Which nonces are spent.
    pub replay: &'a dyn ReplayView,
    /// Seconds since the Unix epoch.
    pub now: u64,
}

/// Verifies and judges in one step.
pub fn admit(request: &Request<'_>) -> Admission {
    match verify(request.envelope, request.roots, request.now) {
        Ok(verified) => judge(
            verified,
            request.policy,
            request.host,
            request.replay,
            request.now,
        ),
        Err(denial) => Admission::Denied(denial),
    }
}

/// Whether a verified plan may run on this host at `now` (seconds since the Unix epoch). Verified
/// at the same time: the signer's standing is not looked at again.
pub fn judge(
    verified: Verified<Plan>,
    policy: &HostPolicy,
    host: &HostFacts,
    replay: &dyn ReplayView,
    now: u64,
) -> Admission {
    let plan = verified.value();
    let bounds = policy.bounds_for(plan.profile);
    let checked = check_time(plan, now)
        .and_then(|()| check_replay(plan, replay))
        .and_then(|()| check_host(plan, host))
        .and_then(|()| digests::check(plan, host))
        .and_then(|()| bounds::check(&verified, policy, &bounds, host.isolation))
        .and_then(|()| check_features(plan, host));
    match checked {
        Ok(()) => Admission::Admitted(AdmittedPlan::new(verified, bounds, host.isolation)),
        Err(denial) => Admission::Denied(denial),
    }
}

///
fn check_time(plan: &Plan, now: u64) -> Result<(), Denial> {
    let (begin, end) = (plan.validity.not_before, plan.validity.not_after);
    if now < begin {
        let reason = format!("the plan is valid from {begin} on, and it is {now}");
        return Err(Denial::new(Rule::NotYetValid, reason));
    }
    if now >= end {
        let reason = format!("the plan was valid until {end}, and it is {now}");
        return Err(Denial::new(Rule::Expired, reason));
    }
    Ok(())
}

///
fn check_replay(plan: &Plan, replay: &dyn ReplayView) -> Result<(), Denial> {
    if replay.seen(&plan.nonce) {
        let reason = "a plan with this nonce was admitted before";
        return Err(Denial::new(Rule::Replayed, reason));
    }
    Ok(())
}

///
fn check_host(plan: &Plan, host: &HostFacts) -> Result<(), Denial> {
    match plan.host {
        Some(named) if named != host.key => {
            let reason = format!("the plan is for host {named}, and this is {}", host.key);
            Err(Denial::new(Rule::OtherHost, reason))
        }
        _ => Ok(()),
    }
}

/// what the plan uses and not every host enforces.
fn check_features(plan: &Plan, host: &HostFacts) -> Result<(), Denial> {
    let used = [
        (
            !plan.network.grants.is_empty(),
            Feature::Egress,
            Rule::EgressUnsupported,
            "network grants",
        ),
        (
            !plan.ingress.is_empty(),
            Feature::Ingress,
            Rule::IngressUnsupported,
            "offered ports",
        ),
        (
            !plan.secrets.is_empty(),
            Feature::Secrets,
            Rule::SecretsUnsupported,
            "secret references",
        ),
        (
            !plan.mounts.is_empty(),
            Feature::Mounts,
            Rule::MountsUnsupported,
            "mounts",
        ),
        (
            plan.workload_digest.is_some(),
            Feature::Workload,
            Rule::WorkloadUnsupported,
            "a compiled workload",
        ),
    ];
    for (is_used, feature, rule, what) in used {
        if is_used && !host.features.contains(&feature) {
            let reason = format!("the plan has {what}, which this host does not enforce");
            return Err(Denial::new(rule, reason));
        }
    }
    Ok(())
}
