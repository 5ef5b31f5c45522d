use super::*;
use crate::{
    dsse::{PLAN_TYPE, STATEMENT_TYPE},
    trust::{KeyRole, TrustRoots, TrustedKey},
};

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn roots(role: KeyRole) -> TrustRoots {
    TrustRoots {
        version: 1,
        keys: vec![TrustedKey {
            name: "host".to_owned(),
            role,
            public_key: key().public_key(),
            not_before: 100,
            not_after: Some(200),
            revoked_at: None,
        }],
    }
}

fn predicate() -> ReceiptPredicate {
    let output = Output {
        digest: Digest::of(b"42\n"),
        bytes: 3,
    };
    ReceiptPredicate {
        run: RunId::from_random(1),
        sandbox: SandboxId::from_random(2),
        plan_digest: Digest::of(b"plan"),
        image_digest: Digest::of(b"image"),
        host: key().public_key().id(),
        principal: "uid:1000".to_owned(),
        profile: Profile::Standard,
        launch_path: LaunchPath::Spare,
        started_at_ms: 150_000,
        duration_ms: 7,
        exit: Exit {
            reason: ExitReason::Exited,
            status: Some(0),
        },
        outputs: BTreeMap::from([("stdout".to_owned(), output)]),
        egress: EgressSummary::default(),
        isolation: Isolation::Emulated,
        jail: BTreeMap::from([("seccomp".to_owned(), true)]),
    }
}

#[test]
fn a_receipt_proves_what_it_says() {
    let envelope = predicate().seal(&key()).unwrap();
    for role in [KeyRole::Host, KeyRole::Record] {
        let receipt = verify(&envelope, &roots(role)).unwrap();
        assert_eq!(receipt.predicate, predicate());
        assert_eq!(receipt.key, key().public_key().id());
    }
}

#[test]
fn a_receipt_of_the_wrong_key_time_or_bytes_proves_nothing() {
    let envelope = predicate().seal(&key()).unwrap();
    assert_eq!(
        verify(&envelope, &roots(KeyRole::Plan)),
        Err(ReceiptFlaw::UnknownKey)
    );
    let stranger = predicate().seal(&SigningKey::from_seed(&[2; 32])).unwrap();
    assert_eq!(
        verify(&stranger, &roots(KeyRole::Host)),
        Err(ReceiptFlaw::UnknownKey)
    );
    for started_at_ms in [99_999, 200_000] {
        let mut predicate = predicate();
        predicate.started_at_ms = started_at_ms;
        assert_eq!(
            verify(&predicate.seal(&key()).unwrap(), &roots(KeyRole::Host)),
            Err(ReceiptFlaw::KeyNotValid)
        );
    }
    assert_eq!(
        verify(b"{}", &roots(KeyRole::Host)),
        Err(ReceiptFlaw::NotAnEnvelope)
    );
    let text = String::from_utf8(envelope).unwrap();
    let edited = text.replace("\"payload\":\"e", "\"payload\":\"f");
    assert_eq!(
        verify(edited.as_bytes(), &roots(KeyRole::Host)),
        Err(ReceiptFlaw::Signature)
    );
}

#[test]
fn a_signed_statement_that_is_no_receipt_proves_nothing() {
    let statement = |subject: Vec<Subject>, predicate_type: &str| {
        let statement = Statement {
            statement_type: STATEMENT.to_owned(),
            subject,
            predicate_type: predicate_type.to_owned(),
            predicate: predicate(),
        };
        canonical::to_bytes(&statement).unwrap()
    };
    let good = statement(predicate().subjects(), PREDICATE_TYPE);
    let check = |payload: &[u8], payload_type: &str| {
        let envelope = dsse::seal(payload_type, payload, &key()).unwrap();
        verify(&envelope, &roots(KeyRole::Host)).map(|_| ())
    };
    assert_eq!(check(&good, STATEMENT_TYPE), Ok(()));
    assert_eq!(check(&good, PLAN_TYPE), Err(ReceiptFlaw::PayloadType));
    let fewer = statement(predicate().subjects().split_off(1), PREDICATE_TYPE);
    assert_eq!(check(&fewer, STATEMENT_TYPE), Err(ReceiptFlaw::NotAReceipt));
    let other = statement(predicate().subjects(), "urn:mvm:receipt:v2");
    assert_eq!(check(&other, STATEMENT_TYPE), Err(ReceiptFlaw::NotAReceipt));
    let spaced = [&good[..], b"\n"].concat();
    assert_eq!(
        check(&spaced, STATEMENT_TYPE),
        Err(ReceiptFlaw::NotAReceipt)
    );
}
