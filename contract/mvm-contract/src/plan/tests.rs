use std::collections::BTreeSet;

use super::*;
use crate::SpecError;

fn plan() -> Plan {
    let digest = Digest::of(b"");
    Plan {
        version: PLAN_VERSION,
        kind: PlanKind::Run,
        image: PlanImage {
            source: "debian:python".to_owned(),
            digest,
            verdict: ImageVerdict::ArchiveSigned,
        },
        kernel_digest: digest,
        initramfs_digest: digest,
        agent_version: "0.1.0".to_owned(),
        workload_digest: None,
        resources: Resources::default(),
        network: NetworkPolicy::NONE,
        ingress: Vec::new(),
        secrets: Vec::new(),
        mounts: Vec::new(),
        environment: BTreeMap::new(),
        working_directory: None,
        user: None,
        name: None,
        ttl_seconds: None,
        limits: TimeLimits::default(),
        origin: Origin {
            path: LaunchPath::Boot,
            snapshot: None,
        },
        profile: Profile::default(),
        host: None,
        principal: "uid:1000".to_owned(),
        validity: Validity {
            not_before: 10,
            not_after: 20,
        },
        nonce: "0".repeat(32),
    }
}

/// The code of what is wrong once `change` was made to a good plan.
fn code(change: impl FnOnce(&mut Plan)) -> Option<&'static str> {
    let mut plan = plan();
    change(&mut plan);
    plan.validate().err().map(|flaw| flaw.code())
}

#[test]
fn a_plan_reads_back_from_its_canonical_bytes() {
    let bytes = crate::canonical::to_bytes(&plan()).unwrap();
    let document = crate::canonical::Document::read_canonical(&bytes, 10_000).unwrap();
    assert_eq!(document.integer("version"), Some(1));
    assert_eq!(document.integer("nonce"), None);
    assert_eq!(document.decode_exactly(), Ok(plan()));
}

#[test]
fn every_flaw_has_its_own_code() {
    let codes = [
        code(|plan| plan.nonce.truncate(31)),
        code(|plan| plan.validity.not_after = 10),
        code(|plan| plan.principal.clear()),
        code(|plan| plan.resources.vcpus = 0),
        code(|plan| plan.image.source = "python".to_owned()),
        code(|plan| plan.agent_version.clear()),
        code(|plan| {
            let _ = plan.environment.insert(String::new(), Digest::of(b""));
        }),
        code(|plan| plan.working_directory = Some(String::new())),
        code(|plan| plan.user = Some(String::new())),
        code(|plan| plan.ttl_seconds = Some(0)),
        code(|plan| plan.origin.path = LaunchPath::Fork),
        code(|plan| plan.network.mode = NetworkMode::Grants),
    ];
    let codes: BTreeSet<&str> = codes.into_iter().flatten().collect();
    assert_eq!(codes.len(), 12, "{codes:?}");
    assert!(codes.iter().all(|code| code.starts_with("MVM-PLAN-")));
    assert_eq!(code(|_| {}), None);
}

#[test]
fn a_flaw_in_resources_says_which() {
    let mut plan = plan();
    plan.resources.memory_mib = 0;
    assert!(matches!(
        plan.validate(),
        Err(PlanFlaw::Resources(SpecError::ResourceOutOfRange {
            resource: "memory",
            ..
        }))
    ));
}

#[test]
fn texts_are_those_of_json() {
    for path in LaunchPath::ALL {
        let json = serde_json::to_string(&path).unwrap();
        assert_eq!(json, format!("\"{}\"", path.as_str()));
    }
    for profile in Profile::ALL {
        let json = serde_json::to_string(&profile).unwrap();
        assert_eq!(json, format!("\"{}\"", profile.as_str()));
    }
}

#[test]
fn validity_is_never_negative() {
    let seconds = |not_before, not_after| {
        let validity = Validity {
            not_before,
            not_after,
        };
        validity.seconds()
    };
    assert_eq!(seconds(10, 20), 10);
    assert_eq!(seconds(20, 10), 0);
}
