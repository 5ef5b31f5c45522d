//! Losses of power, and logs of several segments.

use mvm_contract::audit::verify_continuation;

use super::*;

impl Host {
    fn note(&self, count: usize) {
        for _ in 0..count {
            let event = Event::new(EventKind::SandboxDestroyed);
            let mut log = self.open();
            log.append(event, &self.key, Durability::Eventual).unwrap();
        }
    }

    fn segments(&self) -> Vec<Segment> {
        segments(&self.home).unwrap()
    }

    fn durable_bytes(&self) -> u64 {
        self.open().transaction().unwrap().durable.offset
    }

    /// The verdict of each segment, going on from the one before.
    fn verdicts(&self) -> Vec<LogVerdict> {
        let mut previous = None;
        let mut verdicts = Vec::new();
        for Segment {
            log, checkpoint, ..
        } in self.segments()
        {
            let log = fs::read(log).unwrap();
            let sealed = fs::read(checkpoint).ok();
            let verdict = match previous {
                None => verify_log(&log, sealed.as_deref(), &self.roots()),
                Some(last) => verify_continuation(&log, sealed.as_deref(), &self.roots(), last),
            };
            previous = match verdict {
                LogVerdict::Intact { last, .. } => Some(last),
                _ => None,
            };
            verdicts.push(verdict);
        }
        verdicts
    }
}

#[test]
fn what_was_not_synced_may_be_lost_and_the_rest_goes_on() {
    let host = Host::new();
    host.admit("a").unwrap();
    let durable = host.log();
    host.note(3);
    let whole = host.log();
    for length in durable.len()..whole.len() {
        // The index is as it was last, or later than the log.
        fs::write(host.path(), &whole[..length]).unwrap();
        drop(host.open().transaction().unwrap());
    }
    fs::write(host.path(), &durable).unwrap();
    assert!(!host.admit("a").unwrap());
    assert!(host.admit("b").unwrap());
    host.open().checkpoint(&host.key).unwrap();
    assert!(matches!(
        host.verdicts()[..],
        [LogVerdict::Intact { records: 3, .. }]
    ));
}

#[test]
fn zeroes_in_place_of_lines_are_cut_off_unless_a_record_follows() {
    let host = Host::new();
    host.admit("a").unwrap();
    let durable = host.log();
    host.note(2);
    let whole = host.log();
    let tail = whole.len() - durable.len();
    let zeroed = |from: usize, to: usize| {
        let mut bytes = whole.clone();
        bytes[durable.len() + from..durable.len() + to].fill(0);
        fs::write(host.path(), bytes).unwrap();
        host.open().transaction().map(drop)
    };
    for (from, to) in [
        (0, tail),
        (100, tail),
        (0, tail - 40),
        (tail - 700, tail - 1),
    ] {
        zeroed(from, to).unwrap();
        assert!(host.log().len() < whole.len(), "{from} to {to}");
        assert!(host.log().starts_with(&durable));
    }
    assert!(matches!(
        zeroed(10, 20),
        Err(AuditError::Broken { line: 3, .. })
    ));
}

#[test]
fn what_need_not_be_synced_is_when_it_is_much() {
    let host = Host::new();
    host.note(1);
    assert_eq!(host.durable_bytes(), 0);
    while host.log().len() < UNSYNCED_BYTES as usize {
        assert_eq!(host.durable_bytes(), 0);
        host.note(1);
    }
    assert_eq!(host.durable_bytes(), host.log().len() as u64);
}

#[test]
fn a_checkpoint_of_no_log_begins_one() {
    let host = Host::new();
    host.open().checkpoint(&host.key).unwrap();
    assert!(matches!(
        host.verdicts()[..],
        [LogVerdict::Intact { records: 1, .. }]
    ));
    host.admit("a").unwrap();
    assert!(matches!(
        host.verdicts()[..],
        [LogVerdict::Unsealed {
            records: 2,
            sealed: 1
        }]
    ));
}

#[test]
fn a_long_log_is_closed_and_another_goes_on_from_it() {
    let host = Host::new();
    let nonces: Vec<String> = (0..12).map(|number| format!("nonce-{number}")).collect();
    for nonce in &nonces {
        let mut log = host.open();
        log.segment_bytes = 2000;
        let mut event = Event::new(EventKind::PlanAdmitted);
        event.nonce = Some(nonce.clone());
        log.append(event, &host.key, Durability::Durable).unwrap();
    }
    assert!(host.segments().len() > 2);
    host.open().checkpoint(&host.key).unwrap();
    let verdicts = host.verdicts();
    let is_intact = |verdict: &LogVerdict| matches!(verdict, LogVerdict::Intact { .. });
    assert!(verdicts.iter().all(is_intact), "{verdicts:?}");

    // What is spent is spent, in whichever segment, with the index or without.
    let all_spent = || nonces.iter().all(|nonce| !host.admit(nonce).unwrap());
    assert!(all_spent());
    host.forget_index();
    assert!(all_spent());

    // The oldest can be put away; the last cannot.
    let segments = host.segments();
    fs::remove_file(&segments[0].log).unwrap();
    host.forget_index();
    assert!(!host.admit(nonces.last().unwrap()).unwrap());
    assert!(host.admit("another").unwrap());
    fs::remove_file(&segments.last().unwrap().log).unwrap();
    assert!(matches!(
        host.admit("one more"),
        Err(AuditError::Shortened { .. })
    ));
}

#[test]
fn one_that_died_while_it_closed_a_log_loses_nothing() {
    let host = Host::new();
    host.admit("a").unwrap();
    host.open().rotate(&host.key).unwrap();
    // It wrote the last record, and neither the checkpoint nor the index.
    host.forget_index();
    fs::remove_file(&host.segments()[0].checkpoint).unwrap();
    assert!(!host.admit("a").unwrap());
    assert!(host.admit("b").unwrap());
    assert!(matches!(
        host.verdicts()[..],
        [
            LogVerdict::Intact { records: 3, .. },
            LogVerdict::Unsealed {
                records: 2,
                sealed: 0
            }
        ]
    ));
    // Nothing follows the last record of a closed log.
    let mut log = host.log();
    let lines: Vec<_> = log.split_inclusive(|byte| *byte == b'\n').collect();
    let first = lines[0].to_vec();
    log.extend(first);
    fs::write(host.path(), log).unwrap();
    host.forget_index();
    assert!(matches!(
        host.admit("c"),
        Err(AuditError::Broken { line: 4, .. })
    ));
}

#[test]
fn nonces_of_plans_that_ended_long_ago_are_forgotten() {
    let host = Host::new();
    let now = now_ms() / 1000;
    for (nonce, expires) in [
        ("old", now - 2 * REMEMBERED_SECONDS),
        ("recent", now - 1),
        ("valid", now + 60),
    ] {
        let mut event = Event::new(EventKind::PlanAdmitted);
        event.nonce = Some(nonce.to_owned());
        event.nonce_expires = Some(expires);
        host.open()
            .append(event, &host.key, Durability::Durable)
            .unwrap();
    }
    host.open().rotate(&host.key).unwrap();
    let mut log = host.open();
    let view = log.transaction().unwrap();
    let seen = ["old", "recent", "valid"].map(|nonce| view.seen(nonce));
    assert_eq!(seen, [false, true, true]);
}
