//! What the steps of admission hand on, and what a denial says.

use mvm_admission::{
    Admission, Denial, EnvelopeBytes, ReplayView, Rule, Verified, judge, screen_source, verify,
};
use mvm_contract::{
    Digest,
    plan::{Plan, Profile},
    policy::HostPolicy,
};

use crate::corpus::{self, Built, Case};

fn verified(built: &Built) -> Verified<Plan> {
    verify(EnvelopeBytes::new(&built.envelope), &built.roots, built.now).unwrap()
}

fn denial_of(attack: &str) -> Denial {
    match corpus::attacks()[attack].build().admit() {
        Admission::Denied(denial) => denial,
        Admission::Admitted(_) => panic!("{attack} is admitted"),
    }
}

#[test]
fn an_admitted_plan_says_who_signed_what() {
    let built = Case::default().build();
    let verified = verified(&built);
    let bytes = mvm_contract::canonical::to_bytes(verified.value()).unwrap();
    assert_eq!(verified.digest(), Digest::of(&bytes));
    assert_eq!(verified.key(), corpus::key("ci").public_key().id());
    assert_eq!(verified.signer(), "ci");

    let Admission::Admitted(admitted) = built.admit() else {
        panic!("denied");
    };
    assert_eq!(admitted.plan(), verified.value());
    assert_eq!(admitted.digest(), verified.digest());
    assert_eq!(admitted.key(), verified.key());
    assert_eq!(admitted.signer(), "ci");
    let bounds = built.policy.bounds_for(Profile::Standard);
    assert_eq!(admitted.bounds(), &bounds);
    assert_eq!(admitted.bounds().memory_mib, Some(2048));
}

/// What is asked before the store is touched needs neither signature nor host.
#[test]
fn a_mutable_reference_is_refused_by_its_name_alone() {
    let production = HostPolicy::default().bounds_for(Profile::Production);
    let refused = |source: &str| screen_source(source, &production).map_err(|denial| denial.rule);
    assert_eq!(refused("oci:example.org/app:1"), Err(Rule::PinRequired));
    let pinned = format!("oci:example.org/app@{}", Digest::of(b""));
    assert_eq!(refused(&pinned), Ok(()));
    assert_eq!(refused("elsewhere:app"), Err(Rule::ImageSourceRefused));
    let standard = HostPolicy::default().bounds_for(Profile::Standard);
    assert_eq!(screen_source("oci:example.org/app:1", &standard), Ok(()));
}

/// The ledger is asked only about plans that could run at this time, and nothing of the host is
/// looked at for a plan that ran before.
#[test]
fn the_ledger_is_asked_after_the_time_and_before_the_host() {
    struct Unasked;
    impl ReplayView for Unasked {
        fn seen(&self, _: &str) -> bool {
            panic!("asked")
        }
    }
    let built = Case::default().build();
    let late = judge(
        verified(&built),
        &built.policy,
        &built.host,
        &Unasked,
        u64::MAX,
    );
    assert!(matches!(late, Admission::Denied(denial) if denial.rule == Rule::Expired));

    let mut replayed = Case::default().build();
    replayed
        .spent
        .insert(verified(&replayed).value().nonce.clone());
    replayed.host.images.clear();
    replayed.host.key = corpus::key("stranger").public_key().id();
    let denied = replayed.admit();
    assert!(matches!(denied, Admission::Denied(denial) if denial.rule == Rule::Replayed));
}

#[test]
fn a_denial_says_how_the_rule_is_broken_and_what_to_do() {
    for (attack, reason) in [
        ("duplicate-memory", "key `memory_mib` stands twice"),
        (
            "envelope-duplicate-payload",
            "in the envelope, key `payload` stands twice",
        ),
        (
            "unknown-field-inside",
            "field `resources.gpus` is not known",
        ),
        ("memory-below-range", "memory must be between 128"),
        (
            "ttl-endless",
            "the plan asks for no limit, and at most 3600 seconds to live",
        ),
        (
            "memory-above-ceiling",
            "the plan asks for 2049, and at most 2048 MiB",
        ),
        ("number-fraction", "a number is a fraction"),
        (
            "white-space",
            "the plan is not the canonical bytes (RFC 8785)",
        ),
        ("key-expired", "key `ci` is trusted no more"),
        ("no-signature", "the envelope has 0 signatures, not one"),
        (
            "envelope-too-large",
            "the envelope has more than 262144 bytes",
        ),
    ] {
        let denial = denial_of(attack);
        assert!(
            denial.reason.starts_with(reason),
            "{attack}: {}",
            denial.reason
        );
        assert_eq!(denial.remedy, denial.rule.remedy());
    }
}

/// A value that stands where only its digest may must not come back in a text.
#[test]
fn values_are_not_repeated() {
    let plan = r#"{"attack":"x","rule":"A-019","set":{"/environment":{"TOKEN":"hunter2"}}}"#;
    let case: Case = serde_json::from_str(plan).unwrap();
    let Admission::Denied(denial) = case.build().admit() else {
        panic!("admitted");
    };
    assert_eq!(denial.rule, Rule::PlanForm);
    assert!(denial.reason.contains("environment.TOKEN"));
    assert!(!format!("{denial:?}").contains("hunter2"));
}
