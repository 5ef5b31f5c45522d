//! Rules: what the plan names by digest is what the host would use, and its seal holds.

use mvm_contract::{Digest, plan::Plan};

use crate::{Denial, HostFacts, Rule, Seal, denial::quoted};

pub(super) fn check(plan: &Plan, host: &HostFacts) -> Result<(), Denial> {
    check_image(plan, host)?;
    let (kernel, kernel_seal) = host.kernel;
    check_boot_digest(Rule::KernelDigest, "kernel", plan.kernel_digest, kernel)?;
    let (initramfs, initramfs_seal) = host.initramfs;
    let expected = plan.initramfs_digest;
    check_boot_digest(Rule::InitramfsDigest, "initramfs", expected, initramfs)?;
    for (what, seal) in [("kernel", kernel_seal), ("initramfs", initramfs_seal)] {
        if seal != Seal::Holds {
            let reason = format!("the {what} is not what was published on this host");
            return Err(Denial::new(Rule::BootSeal, reason));
        }
    }
    if plan.agent_version != host.agent_version {
        let reason = format!(
            "the plan is for agent {}, and this host has {}",
            quoted(&plan.agent_version),
            quoted(&host.agent_version)
        );
        return Err(Denial::new(Rule::AgentVersion, reason));
    }
    check_snapshot(plan, host)
}

///
fn check_image(plan: &Plan, host: &HostFacts) -> Result<(), Denial> {
    let digest = plan.image.digest;
    let Some(image) = host.images.get(&digest) else {
        let reason = format!("this host has no image `{digest}`");
        return Err(Denial::new(Rule::ImageDigest, reason));
    };
    if image.seal != Seal::Holds {
        let reason = format!("image `{digest}` is not what was published on this host");
        return Err(Denial::new(Rule::ImageSeal, reason));
    }
    if image.verdict != plan.image.verdict {
        let reason =
            format!("the origin of image `{digest}` was verified otherwise than the plan says");
        return Err(Denial::new(Rule::ImageVerdict, reason));
    }
    Ok(())
}

///
fn check_boot_digest(
    rule: Rule,
    what: &str,
    planned: Digest,
    present: Digest,
) -> Result<(), Denial> {
    if planned != present {
        let reason = format!("the plan is for {what} `{planned}`, and this host has `{present}`");
        return Err(Denial::new(rule, reason));
    }
    Ok(())
}

///
fn check_snapshot(plan: &Plan, host: &HostFacts) -> Result<(), Denial> {
    let Some(digest) = plan.origin.snapshot else {
        return Ok(());
    };
    match host.snapshots.get(&digest) {
        Some(Seal::Holds) => Ok(()),
        Some(Seal::Broken) => {
            let reason = format!("snapshot `{digest}` is not what was saved on this host");
            Err(Denial::new(Rule::SnapshotSeal, reason))
        }
        None => {
            let reason = format!("this host has no snapshot `{digest}`");
            Err(Denial::new(Rule::SnapshotDigest, reason))
        }
    }
}
