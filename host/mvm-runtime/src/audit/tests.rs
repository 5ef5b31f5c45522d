use std::{fs, path::PathBuf};

use mvm_contract::{
    audit::{LogVerdict, verify_log},
    trust::TrustRoots,
};

use super::*;
use crate::keys;

mod segments;

struct Host {
    _root: tempfile::TempDir,
    home: Home,
    key: SigningKey,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let home = Home::open(root.path()).unwrap();
        let key = keys::host_signer(&home).unwrap();
        Self {
            _root: root,
            home,
            key,
        }
    }

    fn open(&self) -> AuditLog {
        AuditLog::open(&self.home).unwrap()
    }

    /// Admits a plan of this nonce, unless it was before.
    fn admit(&self, nonce: &str) -> Result<bool, AuditError> {
        let mut log = self.open();
        let spending = log.transaction()?;
        if spending.seen(nonce) {
            return Ok(false);
        }
        let mut event = Event::new(EventKind::PlanAdmitted);
        event.nonce = Some(nonce.to_owned());
        spending.append(event, &self.key, Durability::Durable)?;
        Ok(true)
    }

    fn path(&self) -> PathBuf {
        self.home.audit().join("log-000001.jsonl")
    }

    fn log(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn roots(&self) -> TrustRoots {
        keys::trust_roots(&self.home).unwrap()
    }

    fn forget_index(&self) {
        for entry in fs::read_dir(self.home.audit()).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("index.db") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

#[test]
fn what_is_appended_verifies_and_is_sealed_by_a_checkpoint() {
    let host = Host::new();
    for nonce in ["a", "b", "c"] {
        assert!(host.admit(nonce).unwrap());
    }
    let verdict = verify_log(&host.log(), None, &host.roots());
    assert_eq!(
        verdict,
        LogVerdict::Unsealed {
            records: 4,
            sealed: 0
        }
    );
    let note = host.open().checkpoint(&host.key).unwrap();
    let verdict = verify_log(&host.log(), Some(&note), &host.roots());
    assert!(
        matches!(verdict, LogVerdict::Intact { records: 4, .. }),
        "{verdict:?}"
    );
    for path in fs::read_dir(host.home.audit()).unwrap().flatten() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path:?}");
    }
}

#[test]
fn of_many_at_once_one_spends_a_nonce() {
    let host = Host::new();
    let won: usize = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let nonces = (0..10).map(|nonce| nonce.to_string());
                    nonces.filter(|nonce| host.admit(nonce).unwrap()).count()
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).sum()
    });
    assert_eq!(won, 10);
    let verdict = verify_log(&host.log(), None, &host.roots());
    assert!(
        matches!(verdict, LogVerdict::Unsealed { records: 11, .. }),
        "{verdict:?}"
    );
}

#[test]
fn a_line_cut_at_any_byte_is_mended_and_nothing_durable_is_lost() {
    let host = Host::new();
    host.admit("kept").unwrap();
    let whole = host.log();
    host.admit("torn").unwrap();
    let both = host.log();
    for cut in whole.len()..both.len() {
        // As after a loss of power: the index knows of neither, or of the first alone.
        host.forget_index();
        fs::write(host.path(), &both[..cut]).unwrap();
        assert!(!host.admit("kept").unwrap(), "{cut}");
        assert_eq!(host.log(), whole, "{cut}");
    }
    host.forget_index();
    fs::write(host.path(), &both).unwrap();
    assert!(!host.admit("torn").unwrap());
}

#[test]
fn an_older_index_catches_up_and_a_lost_one_is_made_anew() {
    let host = Host::new();
    host.admit("first").unwrap();
    let older = host.home.audit().join("index.db");
    let kept = host.home.root().join("kept.db");
    let database = rusqlite::Connection::open(&older).unwrap();
    database
        .execute("VACUUM INTO ?1", [kept.to_str().unwrap()])
        .unwrap();
    drop(database);
    for nonce in ["second", "third"] {
        assert!(host.admit(nonce).unwrap());
    }
    host.forget_index();
    fs::copy(&kept, &older).unwrap();
    for nonce in ["first", "second", "third"] {
        assert!(!host.admit(nonce).unwrap(), "{nonce}");
    }
    host.forget_index();
    for nonce in ["first", "second", "third"] {
        assert!(!host.admit(nonce).unwrap(), "{nonce}");
    }
}

#[test]
fn a_log_that_lost_or_changed_records_lets_nothing_be_admitted() {
    let host = Host::new();
    for nonce in ["a", "b"] {
        host.admit(nonce).unwrap();
    }
    let log = host.log();
    let last = log[..log.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap();
    fs::write(host.path(), &log[..=last]).unwrap();
    assert!(matches!(host.admit("c"), Err(AuditError::Shortened { .. })));
    host.forget_index();
    let swapped: Vec<_> = log.split_inclusive(|byte| *byte == b'\n').rev().collect();
    fs::write(host.path(), swapped.concat()).unwrap();
    assert!(matches!(
        host.admit("c"),
        Err(AuditError::Broken { line: 1, .. })
    ));
}

#[test]
fn a_drop_before_the_end_changes_nothing() {
    let host = Host::new();
    host.admit("a").unwrap();
    let before = host.log();
    drop(host.open().transaction().unwrap());
    assert_eq!(host.log(), before);
    assert!(host.admit("b").unwrap());
}
