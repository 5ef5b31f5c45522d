use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

fn put(store: &Store, content: &[u8]) -> Entry {
    let mut staging = store.begin().unwrap();
    staging.write_all(content).unwrap();
    store.publish(staging).unwrap()
}

fn count(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn published_content_is_named_sealed_and_read_only() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let entry = put(&store, b"hello");
    assert_eq!(entry.digest, Digest::of(b"hello"));
    assert_eq!(fs::read(&entry.path).unwrap(), b"hello");
    assert_eq!(
        fs::metadata(&entry.path).unwrap().permissions().mode() & 0o7777,
        0o444
    );
    entry.check_seal().unwrap();
    let again = put(&store, b"hello");
    again.check_seal().unwrap();
    store
        .entry(&entry.digest)
        .unwrap()
        .unwrap()
        .check_seal()
        .unwrap();
    store.verify(&entry.digest).unwrap();
    assert_eq!(count(&home.path().join("staging")), 0);
    assert_eq!(count(&home.path().join("locks")), 0);
}

#[test]
fn touched_content_breaks_its_seal_and_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let entry = put(&store, b"hello");
    fs::set_permissions(&entry.path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&entry.path, b"hullo").unwrap();
    fs::set_permissions(&entry.path, fs::Permissions::from_mode(0o444)).unwrap();
    let found = store.entry(&entry.digest).unwrap().unwrap();
    assert!(matches!(
        found.check_seal(),
        Err(StoreError::SealBroken {
            field: "change time",
            ..
        })
    ));
    assert!(matches!(
        store.verify(&entry.digest),
        Err(StoreError::Corrupt { .. })
    ));
    put(&store, b"hello").check_seal().unwrap();
    store.verify(&entry.digest).unwrap();
}

#[test]
fn a_lost_seal_is_renewed_only_by_reading_the_bytes() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let entry = put(&store, b"hello");
    fs::remove_dir_all(home.path().join("seals")).unwrap();
    let store = Store::open(home.path()).unwrap();
    let found = store.entry(&entry.digest).unwrap().unwrap();
    assert!(matches!(
        found.check_seal(),
        Err(StoreError::SealMissing { .. })
    ));
    store.verify(&entry.digest).unwrap().check_seal().unwrap();
    store
        .entry(&entry.digest)
        .unwrap()
        .unwrap()
        .check_seal()
        .unwrap();
}

#[test]
fn opening_removes_what_dead_writers_left_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let alive = store.begin().unwrap();
    let held = store.lock("held").unwrap();
    fs::write(home.path().join("staging/dead"), b"half").unwrap();
    fs::write(home.path().join("locks/dead"), b"").unwrap();
    Store::open(home.path()).unwrap();
    assert!(alive.path().exists());
    assert_eq!(count(&home.path().join("staging")), 1);
    assert_eq!(count(&home.path().join("locks")), 1);
    drop((alive, held));
    assert_eq!(count(&home.path().join("staging")), 0);
    assert_eq!(count(&home.path().join("locks")), 0);
}

#[test]
fn many_writers_of_the_same_content_all_succeed_while_others_open() {
    let home = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let store = Store::open(home.path()).unwrap();
                    put(&store, b"hello").check_seal().unwrap();
                }
            });
        }
    });
    assert_eq!(count(&home.path().join("blobs/sha256")), 1);
    assert_eq!(count(&home.path().join("staging")), 0);
}

#[test]
fn records_are_replaced_whole_and_survive_garbage() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let name = RecordName::new("images", "abc-v1").unwrap();
    assert_eq!(store.load_record::<Vec<u8>>(&name).unwrap(), None);
    store.save_record(&name, &vec![1_u8]).unwrap();
    store.save_record(&name, &vec![2_u8]).unwrap();
    assert_eq!(store.load_record::<Vec<u8>>(&name).unwrap(), Some(vec![2]));
    fs::write(home.path().join("records/images/abc-v1.json"), b"[1").unwrap();
    assert_eq!(store.load_record::<Vec<u8>>(&name).unwrap(), None);
    for bad in ["", ".", "..", "a/b", "A", "a b"] {
        assert!(RecordName::new("images", bad).is_err());
        assert!(RecordName::new(bad, "key").is_err());
    }
}
