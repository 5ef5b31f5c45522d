use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn home() -> (tempfile::TempDir, Home) {
    let root = tempfile::tempdir().unwrap();
    let home = Home::open(root.path()).unwrap();
    (root, home)
}

fn other(seed: u8, name: &str) -> TrustedKey {
    TrustedKey {
        name: name.to_owned(),
        role: KeyRole::Plan,
        public_key: SigningKey::from_seed(&[seed; 32]).public_key(),
        not_before: 0,
        not_after: None,
        revoked_at: None,
    }
}

#[test]
fn the_signer_is_made_once_for_its_owner_alone() {
    let (_root, home) = home();
    let one = host_signer(&home).unwrap().public_key();
    assert_eq!(host_signer(&home).unwrap().public_key(), one);
    let mode = fs::metadata(signer_path(&home))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let roots = trust_roots(&home).unwrap();
    assert_eq!(roots.key(one.id()).unwrap().name, HOST_KEY_NAME);
}

#[test]
fn keys_cross_pem_and_openssl_writes_the_same() {
    let seed = [7; 32];
    let key = SigningKey::from_seed(&seed);
    let private = write_private_key(&seed);
    let read = read_private_key(private.as_bytes()).unwrap();
    assert_eq!(read.public_key(), key.public_key());
    let public = write_public_key(&key.public_key());
    assert_eq!(read_public_key(public.as_bytes()), Some(key.public_key()));
    assert!(read_private_key(public.as_bytes()).is_none());
    assert!(read_public_key(private.as_bytes()).is_none());
    assert!(read_private_key(b"").is_none());
}

#[test]
fn a_trusted_key_is_believed_until_it_is_revoked() {
    let (_root, home) = home();
    let id = trust(&home, other(1, "ci")).unwrap();
    assert!(
        trust_roots(&home)
            .unwrap()
            .key(id)
            .unwrap()
            .revoked_at
            .is_none()
    );
    let twice = trust(&home, other(1, "again"));
    assert!(matches!(twice, Err(KeyStoreError::Refused { .. })));
    assert_eq!(revoke(&home, "ci", 50).unwrap(), id);
    assert_eq!(revoke(&home, &id.to_string(), 60).unwrap(), id);
    let roots = trust_roots(&home).unwrap();
    assert_eq!(roots.key(id).unwrap().revoked_at, Some(50));
    let unknown = revoke(&home, "nobody", 1);
    assert!(matches!(unknown, Err(KeyStoreError::NotFound { .. })));
    assert!(matches!(
        revoke(&home, "host", 1),
        Err(KeyStoreError::OwnKey)
    ));
    assert!(matches!(
        trust(&home, other(2, "host")),
        Err(KeyStoreError::OwnKey)
    ));
}

#[test]
fn a_new_signer_leaves_the_old_one_for_what_it_recorded() {
    let (_root, home) = home();
    let old = host_signer(&home).unwrap().public_key().id();
    let new = rotate(&home, 100).unwrap();
    assert_ne!(old, new);
    let roots = trust_roots(&home).unwrap();
    assert!(roots.key(new).unwrap().role.signs_plans());
    let kept = roots.key(old).unwrap();
    assert!(kept.role.signs_records() && !kept.role.signs_plans());
    assert_eq!(kept.not_after, Some(101));
}

#[test]
fn a_damaged_policy_is_refused_and_an_absent_one_is_the_default() {
    let (_root, home) = home();
    assert_eq!(host_policy(&home).unwrap(), HostPolicy::default());
    fs::write(home.policy(), br#"{"version":1,"bounds":{"memory":3}}"#).unwrap();
    assert!(matches!(
        host_policy(&home),
        Err(KeyStoreError::Policy { .. })
    ));
}
