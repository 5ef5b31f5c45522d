//! Rules: what the plan's profile and the host's policy let it do.

use mvm_contract::{
    plan::{ImageSourceKind, Plan, is_pinned},
    policy::{Bounds, HostPolicy, allows},
    receipt::Isolation,
};

use crate::{Denial, Rule, Verified, denial::quoted};

pub(super) fn check(
    verified: &Verified<Plan>,
    policy: &HostPolicy,
    bounds: &Bounds,
    isolation: Isolation,
) -> Result<(), Denial> {
    let plan = verified.value();
    let profile = plan.profile.as_str();
    if !policy.allows_profile(plan.profile) {
        let reason = format!("this host does not allow profile `{profile}`");
        return Err(Denial::new(Rule::ProfileRefused, reason));
    }
    check_signer(verified, bounds)?;
    check_numbers(plan, bounds)?;
    screen_source(&plan.image.source, bounds)?;
    if bounds.refuse_emulated && isolation == Isolation::Emulated {
        let reason = format!("profile `{profile}` or this host refuses emulated isolation");
        return Err(Denial::new(Rule::EmulatedRefused, reason));
    }
    if bounds.refuse_adhoc_environment && !plan.environment.is_empty() {
        let reason = format!("profile `{profile}` or this host refuses environment variables");
        return Err(Denial::new(Rule::EnvironmentRefused, reason));
    }
    if !allows(bounds.launch_paths.as_ref(), &plan.origin.path) {
        let path = plan.origin.path.as_str();
        let reason = format!("profile `{profile}` or this host refuses launch path `{path}`");
        return Err(Denial::new(Rule::LaunchPathRefused, reason));
    }
    Ok(())
}

/// whether an image may be used that the user named like this: decided by its name alone, so that
/// it can be asked before any network or store is touched. `bounds` are those of the profile and
/// the host ([`HostPolicy::bounds_for`]).
pub fn screen_source(source: &str, bounds: &Bounds) -> Result<(), Denial> {
    let allowed = ImageSourceKind::of(source)
        .is_some_and(|kind| allows(bounds.image_sources.as_ref(), &kind));
    if !allowed {
        let reason = format!("image source {} is not of an allowed kind", quoted(source));
        return Err(Denial::new(Rule::ImageSourceRefused, reason));
    }
    if bounds.require_digest_pin && !is_pinned(source) {
        let source = quoted(source);
        let reason = format!("image source {source} names no digest: what it means can change");
        return Err(Denial::new(Rule::PinRequired, reason));
    }
    Ok(())
}

///
fn check_signer(verified: &Verified<Plan>, bounds: &Bounds) -> Result<(), Denial> {
    if !allows(bounds.keys.as_ref(), &verified.key()) {
        let signer = verified.signer();
        let reason = format!("this host's policy does not let key `{signer}` launch");
        return Err(Denial::new(Rule::KeyRefused, reason));
    }
    let principal = &verified.value().principal;
    if !allows(bounds.principals.as_ref(), principal) {
        let principal = quoted(principal);
        let reason = format!("this host's policy does not let principal {principal} launch");
        return Err(Denial::new(Rule::PrincipalRefused, reason));
    }
    Ok(())
}

///
fn check_numbers(plan: &Plan, bounds: &Bounds) -> Result<(), Denial> {
    let wide = |number: Option<u32>| number.map(u64::from);
    let resources = plan.resources;
    // What a plan does not bound is without bound.
    let numbers = [
        (
            Rule::MemoryCeiling,
            "MiB of memory",
            Some(resources.memory_mib.into()),
            wide(bounds.memory_mib),
        ),
        (
            Rule::ProcessorCeiling,
            "processors",
            Some(resources.vcpus.into()),
            wide(bounds.vcpus),
        ),
        (
            Rule::DiskCeiling,
            "MiB of disk",
            Some(resources.disk_mib.into()),
            wide(bounds.disk_mib),
        ),
        (
            Rule::TtlCeiling,
            "seconds to live",
            plan.ttl_seconds,
            bounds.ttl_seconds,
        ),
        (
            Rule::CommandCeiling,
            "seconds for a command",
            plan.limits.command_seconds,
            bounds.command_seconds,
        ),
        (
            Rule::ValidityCeiling,
            "seconds of validity",
            Some(plan.validity.seconds()),
            bounds.validity_seconds,
        ),
    ];
    for (rule, what, asked, most) in numbers {
        let Some(most) = most else { continue };
        if asked.is_none_or(|asked| asked > most) {
            let asked = asked.map_or_else(|| "no limit".to_owned(), |asked| asked.to_string());
            let reason =
                format!("the plan asks for {asked}, and at most {most} {what} are allowed");
            return Err(Denial::new(rule, reason));
        }
    }
    Ok(())
}
