//! Bytes of any kind are denied, never admitted by chance, and never a panic.

use std::sync::LazyLock;

use mvm_admission::{Admission, EnvelopeBytes, Rule, admit, verify};
use mvm_contract::{
    dsse::{self, PLAN_TYPE},
    plan::Plan,
};
use proptest::prelude::*;
use serde_json::Value;

use crate::corpus::{self, Built, Case};

static GOOD: LazyLock<Built> = LazyLock::new(|| Case::default().build());

fn is_denied(admission: &Admission) -> bool {
    matches!(admission, Admission::Denied(_))
}

/// The canonical bytes of the good plan.
fn good_payload() -> Vec<u8> {
    let good = &*GOOD;
    let verified = verify(EnvelopeBytes::new(&good.envelope), &good.roots, good.now).unwrap();
    mvm_contract::canonical::to_bytes(verified.value()).unwrap()
}

proptest! {
    #[test]
    fn any_bytes_are_denied(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let good = &*GOOD;
        prop_assert!(is_denied(&admit(&good.request(&bytes))));
    }

    #[test]
    fn a_changed_envelope_is_denied_or_the_same_plan(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let good = &*GOOD;
        let mut bytes = good.envelope.clone();
        for (index, byte) in edits {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        // White space may change; what is signed may not.
        if let Admission::Admitted(admitted) = admit(&good.request(&bytes)) {
            let Admission::Admitted(original) = good.admit() else { unreachable!() };
            prop_assert_eq!(admitted.digest(), original.digest());
        }
    }

    /// Even a trusted key signs nothing that is not a plan in its one form.
    #[test]
    fn changed_bytes_that_a_trusted_key_signs_are_denied_or_a_plan(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let good = &*GOOD;
        let mut payload = good_payload();
        for (index, byte) in edits {
            let index = index.index(payload.len());
            payload[index] = byte;
        }
        for payload in [&payload[..], &payload[..cut.index(payload.len())]] {
            let envelope = dsse::seal(PLAN_TYPE, payload, &corpus::key("ci")).unwrap();
            if let Admission::Admitted(admitted) = admit(&good.request(&envelope)) {
                let again = mvm_contract::canonical::to_bytes(admitted.plan()).unwrap();
                prop_assert_eq!(again, payload);
            }
        }
    }

    /// Any value in any place of a plan.
    #[test]
    fn any_value_in_any_place_is_denied_or_a_plan(
        place in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![
            Value::Null,
            Value::Bool(true),
            Value::from(0),
            Value::from(-1),
            Value::from(u64::MAX),
            Value::from(0.5),
            Value::from(""),
            Value::from("unknown field `x`"),
            Value::from(vec![0; 100]),
            serde_json::json!({ "": {} }),
        ]),
    ) {
        let good = &*GOOD;
        let mut plan: Value = serde_json::from_slice(&good_payload()).unwrap();
        let mut pointers = Vec::new();
        places(&plan, "", &mut pointers);
        let pointer = &pointers[place.index(pointers.len())];
        *plan.pointer_mut(pointer).unwrap() = value;
        let payload = mvm_contract::canonical::to_bytes(&plan).unwrap();
        let envelope = dsse::seal(PLAN_TYPE, &payload, &corpus::key("ci")).unwrap();
        if let Ok(verified) = verify(EnvelopeBytes::new(&envelope), &good.roots, good.now) {
            let plan: &Plan = verified.value();
            prop_assert!(plan.validate().is_ok());
            prop_assert_eq!(mvm_contract::canonical::to_bytes(plan).unwrap(), payload);
        }
    }
}

/// The pointer of every value.
fn places(value: &Value, pointer: &str, pointers: &mut Vec<String>) {
    pointers.push(pointer.to_owned());
    if let Value::Object(fields) = value {
        for (name, value) in fields {
            places(value, &format!("{pointer}/{name}"), pointers);
        }
    }
}

#[test]
fn the_largest_envelope_is_looked_at_and_no_larger() {
    let good = &*GOOD;
    let mut bytes = good.envelope.clone();
    bytes.resize(dsse::MAX_ENVELOPE_BYTES, b' ');
    assert!(!is_denied(&admit(&good.request(&bytes))));
    bytes.push(b' ');
    let Admission::Denied(denial) = admit(&good.request(&bytes)) else {
        panic!("admitted");
    };
    assert_eq!(denial.rule, Rule::EnvelopeSize);
}

#[test]
fn what_a_stranger_wrote_is_not_repeated_raw_or_at_length() {
    let good = &*GOOD;
    let payload_type = format!("\u{1b}[2J{}", "x".repeat(10_000));
    let envelope = dsse::seal(&payload_type, b"{}", &corpus::key("stranger")).unwrap();
    let Admission::Denied(denial) = admit(&good.request(&envelope)) else {
        panic!("admitted");
    };
    assert_eq!(denial.rule, Rule::PayloadType);
    assert!(!denial.reason.contains(char::is_control));
    assert!(denial.reason.len() < 300, "{}", denial.reason);
}
