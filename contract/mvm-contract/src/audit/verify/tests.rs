use super::*;
use crate::{
    SigningKey,
    audit::{Event, EventKind, LogId},
    trust::{KeyRole, TrustedKey},
};

const START_MS: u64 = 1_000_000;

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn roots() -> TrustRoots {
    let key = |name: &str, seed: u8, role| TrustedKey {
        name: name.to_owned(),
        role,
        public_key: SigningKey::from_seed(&[seed; 32]).public_key(),
        not_before: 1_000,
        not_after: None,
        revoked_at: Some(1_007),
    };
    TrustRoots {
        version: 1,
        keys: vec![
            key("host", 1, KeyRole::Host),
            key("plans", 2, KeyRole::Plan),
            key("second", 3, KeyRole::Record),
        ],
    }
}

/// A log of records one second apart, and its end.
fn log(count: u64, identity: u128) -> (Vec<Vec<u8>>, Chain) {
    let mut chain = Chain::start(LogId::from_random(identity), None);
    let mut lines = Vec::new();
    for number in 0..count {
        let event = Event::new(EventKind::PlanAdmitted);
        let time_ms = START_MS + number * 1000;
        let (line, next) = chain.append(event, time_ms, &key()).unwrap();
        lines.push(line);
        chain = next;
    }
    (lines, chain)
}

fn judge(lines: &[Vec<u8>], checkpoint: Option<&[u8]>) -> LogVerdict {
    verify_log(&lines.concat(), checkpoint, &roots())
}

#[test]
fn a_sealed_log_is_intact() {
    for count in 1..7 {
        let (lines, chain) = log(count, 1);
        let verdict = judge(&lines, Some(&chain.checkpoint(&key())));
        let expected = LogVerdict::Intact {
            records: count,
            last: chain.last(),
        };
        assert_eq!(verdict, expected);
    }
}

#[test]
fn what_no_checkpoint_covers_is_unsealed() {
    let (lines, _) = log(5, 1);
    let unsealed = |sealed| LogVerdict::Unsealed { records: 5, sealed };
    assert_eq!(judge(&lines, None), unsealed(0));
    let (_, earlier) = log(3, 1);
    assert_eq!(
        judge(&lines, Some(&earlier.checkpoint(&key()))),
        unsealed(3)
    );
    let (_, empty) = log(0, 1);
    assert_eq!(judge(&lines, Some(&empty.checkpoint(&key()))), unsealed(0));
}

#[test]
fn a_record_that_was_edited_is_named() {
    let (lines, chain) = log(5, 1);
    let seal = chain.checkpoint(&key());
    let edited = LogVerdict::Edited { line: 3 };
    for (from, to) in [
        ("\"sequence\":2", "\"sequence\":7"),
        ("plan-admitted", "plan-denied"),
        ("\"record\":", "\"record\": "),
        ("\"version\":1", "\"version\":2"),
        ("{\"kind\"", "{\"extra\":1,\"kind\""),
        ("\"signature\":\"", "\"signature\":\"AA"),
        ("{\"key\"", "\n{\"key\""),
    ] {
        let mut lines = lines.clone();
        let text = String::from_utf8(lines[2].clone()).unwrap();
        lines[2] = text.replacen(from, to, 1).into_bytes();
        assert_ne!(lines[2], text.as_bytes(), "{from}");
        assert_eq!(judge(&lines, Some(&seal)), edited, "{from}");
    }
    // The signature of another record.
    let signature = |line: &[u8]| {
        let signed = SignedRecord::read(&line[..line.len() - 1]).unwrap();
        signed.signature
    };
    let text = String::from_utf8(lines[2].clone()).unwrap();
    let mut swapped = lines.clone();
    let (own, other) = (signature(&lines[2]), signature(&lines[3]));
    swapped[2] = text.replace(&own, &other).into_bytes();
    assert_eq!(judge(&swapped, Some(&seal)), edited);
}

#[test]
fn records_that_moved_went_or_were_cut_off_are_told_apart() {
    let (lines, chain) = log(5, 1);
    let seal = chain.checkpoint(&key());
    let mut reordered = lines.clone();
    reordered.swap(1, 3);
    assert_eq!(
        judge(&reordered, Some(&seal)),
        LogVerdict::Reordered { line: 3 }
    );
    let mut repeated = lines.clone();
    repeated.insert(2, lines[1].clone());
    assert_eq!(
        judge(&repeated, Some(&seal)),
        LogVerdict::Reordered { line: 3 }
    );
    for missing in 0..4 {
        let mut removed = lines.clone();
        removed.remove(missing);
        let sequence = missing as u64;
        let verdict = judge(&removed, Some(&seal));
        assert_eq!(verdict, LogVerdict::Removed { sequence });
        assert_eq!(judge(&removed, None), LogVerdict::Removed { sequence });
    }
    let truncated = |records| LogVerdict::Truncated { records, sealed: 5 };
    assert_eq!(judge(&lines[..4], Some(&seal)), truncated(4));
    assert_eq!(judge(&[], Some(&seal)), truncated(0));
    let bytes = lines.concat();
    let cut = &bytes[..bytes.len() - 1];
    assert_eq!(verify_log(cut, Some(&seal), &roots()), truncated(4));
    let torn = LogVerdict::Truncated {
        records: 4,
        sealed: 0,
    };
    assert_eq!(verify_log(cut, None, &roots()), torn);
    assert_eq!(
        verify_log(b"{", None, &roots()),
        LogVerdict::Truncated {
            records: 0,
            sealed: 0
        }
    );
}

#[test]
fn two_histories_under_one_key_are_a_fork() {
    let (lines, chain) = log(5, 1);
    let seal = chain.checkpoint(&key());
    let mut other = Chain::start(LogId::from_random(1), None);
    let mut other_lines = Vec::new();
    for number in 0..5 {
        let event = Event::new(EventKind::PlanDenied);
        let (line, next) = other.append(event, START_MS + number, &key()).unwrap();
        other_lines.push(line);
        other = next;
    }
    let forked = |sequence| LogVerdict::Forked { sequence };
    // The whole other history, against the seal of this one.
    assert_eq!(judge(&other_lines, Some(&seal)), forked(4));
    // Spliced, so that the chain breaks.
    let spliced = [&lines[..2], &other_lines[2..]].concat();
    assert_eq!(judge(&spliced, Some(&seal)), forked(2));
    // Both in one file.
    let both = [&lines[..], &other_lines[4..]].concat();
    assert_eq!(judge(&both, Some(&seal)), forked(4));
    // A record of another log.
    let (foreign, _) = log(6, 2);
    let mixed = [&lines[..], &foreign[5..]].concat();
    assert_eq!(judge(&mixed, None), forked(5));
}

#[test]
fn only_trusted_keys_record_and_seal() {
    let (lines, chain) = log(5, 1);
    let stranger = SigningKey::from_seed(&[9; 32]);
    let plans = SigningKey::from_seed(&[2; 32]);
    let second = SigningKey::from_seed(&[3; 32]);
    for wrong in [&stranger, &plans] {
        let (line, next) = chain
            .append(Event::new(EventKind::LogClosed), START_MS, wrong)
            .unwrap();
        let longer = [&lines[..], &[line]].concat();
        assert_eq!(
            judge(&longer, Some(&next.checkpoint(&key()))),
            LogVerdict::Untrusted { line: 6 }
        );
        assert_eq!(
            judge(&lines, Some(&chain.checkpoint(wrong))),
            LogVerdict::CheckpointInvalid
        );
    }
    assert!(matches!(
        judge(&lines, Some(&chain.checkpoint(&second))),
        LogVerdict::Intact { .. }
    ));
    // Seven seconds in, all keys are revoked.
    let (late, _) = log(8, 1);
    assert_eq!(judge(&late, None), LogVerdict::Untrusted { line: 8 });
    let (_, foreign) = log(5, 2);
    assert_eq!(
        judge(&lines, Some(&foreign.checkpoint(&key()))),
        LogVerdict::CheckpointInvalid
    );
}

#[test]
fn an_empty_log_is_unsealed_and_an_empty_line_is_no_record() {
    let unsealed = LogVerdict::Unsealed {
        records: 0,
        sealed: 0,
    };
    assert_eq!(judge(&[], None), unsealed);
    let edited = LogVerdict::Edited { line: 1 };
    assert_eq!(verify_log(b"\n", None, &roots()), edited);
    assert_eq!(verify_log(b"\n\n", None, &roots()), edited);
}

#[test]
fn a_log_goes_on_from_the_one_before_it_or_something_is_missing() {
    let (_, first) = log(3, 1);
    let mut chain = Chain::start(LogId::from_random(2), Some(first.last()));
    let mut lines = Vec::new();
    for number in 0..2 {
        let event = Event::new(EventKind::PlanAdmitted);
        let (line, next) = chain
            .append(event, START_MS + number * 1000, &key())
            .unwrap();
        lines.extend(line);
        chain = next;
    }
    let seal = chain.checkpoint(&key());
    let judge = |previous| verify_continuation(&lines, Some(&seal), &roots(), previous);
    assert!(matches!(
        judge(first.last()),
        LogVerdict::Intact { records: 2, .. }
    ));
    let (_, shorter) = log(2, 1);
    for other in [shorter.last(), Digest::from_bytes([0; 32])] {
        assert_eq!(judge(other), LogVerdict::Removed { sequence: 0 });
    }
}
