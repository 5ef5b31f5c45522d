use proptest::{option, prelude::*};

use super::*;

fn any_set<T: std::fmt::Debug + Ord + Clone + 'static>(
    all: Vec<T>,
) -> impl Strategy<Value = Option<BTreeSet<T>>> {
    let count = all.len();
    option::of(prop::sample::subsequence(all, 0..=count).prop_map(BTreeSet::from_iter))
}

fn any_bounds() -> impl Strategy<Value = Bounds> {
    let sources = vec![
        ImageSourceKind::Debian,
        ImageSourceKind::Nix,
        ImageSourceKind::Oci,
    ];
    let principals = vec!["alice".to_owned(), "bob".to_owned(), "carol".to_owned()];
    let keys = (1..4)
        .map(|seed| crate::SigningKey::from_seed(&[seed; 32]).public_key().id())
        .collect();
    let numbers = (
        option::of(0..4_u32),
        option::of(0..4_u32),
        option::of(0..4_u32),
        option::of(0..4_u64),
        option::of(0..4_u64),
        option::of(0..4_u64),
    );
    let lists = (
        any_set(sources),
        any_set(LaunchPath::ALL.to_vec()),
        any_set(principals),
        any_set(keys),
    );
    let denials = (any::<bool>(), any::<bool>(), any::<bool>());
    (numbers, lists, denials).prop_map(|(numbers, lists, denials)| Bounds {
        memory_mib: numbers.0,
        vcpus: numbers.1,
        disk_mib: numbers.2,
        ttl_seconds: numbers.3,
        command_seconds: numbers.4,
        validity_seconds: numbers.5,
        image_sources: lists.0,
        launch_paths: lists.1,
        principals: lists.2,
        keys: lists.3,
        require_digest_pin: denials.0,
        refuse_emulated: denials.1,
        refuse_adhoc_environment: denials.2,
    })
}

/// Whether `narrow` lets through nothing that `wide` does not, field by field.
fn is_within(narrow: &Bounds, wide: &Bounds) -> bool {
    fn number<T: PartialOrd>(narrow: Option<T>, wide: Option<T>) -> bool {
        wide.is_none_or(|wide| narrow.is_some_and(|narrow| narrow <= wide))
    }
    fn list<T: Ord>(narrow: Option<&BTreeSet<T>>, wide: Option<&BTreeSet<T>>) -> bool {
        wide.is_none_or(|wide| narrow.is_some_and(|narrow| narrow.is_subset(wide)))
    }
    let denial = |narrow: bool, wide: bool| narrow || !wide;
    number(narrow.memory_mib, wide.memory_mib)
        && number(narrow.vcpus, wide.vcpus)
        && number(narrow.disk_mib, wide.disk_mib)
        && number(narrow.ttl_seconds, wide.ttl_seconds)
        && number(narrow.command_seconds, wide.command_seconds)
        && number(narrow.validity_seconds, wide.validity_seconds)
        && list(narrow.image_sources.as_ref(), wide.image_sources.as_ref())
        && list(narrow.launch_paths.as_ref(), wide.launch_paths.as_ref())
        && list(narrow.principals.as_ref(), wide.principals.as_ref())
        && list(narrow.keys.as_ref(), wide.keys.as_ref())
        && denial(narrow.require_digest_pin, wide.require_digest_pin)
        && denial(narrow.refuse_emulated, wide.refuse_emulated)
        && denial(
            narrow.refuse_adhoc_environment,
            wide.refuse_adhoc_environment,
        )
}

proptest! {
    #[test]
    fn composition_only_narrows(one in any_bounds(), other in any_bounds(), third in any_bounds()) {
        let both = one.meet(&other);
        prop_assert_eq!(&both, &other.meet(&one));
        prop_assert_eq!(&one.meet(&one), &one);
        prop_assert_eq!(both.meet(&third), one.meet(&other.meet(&third)));
        prop_assert!(is_within(&both, &one) && is_within(&both, &other));
        // And narrows no more than it must.
        prop_assert!(!is_within(&third, &one) || !is_within(&third, &other) || is_within(&third, &both));
        prop_assert_eq!(one.meet(&Bounds::default()), one);
    }

    #[test]
    fn no_profile_is_widened_but_by_name(bounds in any_bounds()) {
        for profile in Profile::ALL {
            let policy = HostPolicy { bounds: bounds.clone(), ..HostPolicy::default() };
            let composed = policy.bounds_for(profile);
            prop_assert!(is_within(&composed, &Bounds::of_profile(profile)));
            prop_assert!(is_within(&composed, &bounds));
        }
    }
}

#[test]
fn production_is_emulated_only_by_name() {
    let mut policy = HostPolicy::default();
    assert!(policy.bounds_for(Profile::Production).refuse_emulated);
    policy.emulated_profiles.insert(Profile::Dev);
    assert!(policy.bounds_for(Profile::Production).refuse_emulated);
    policy.emulated_profiles.insert(Profile::Production);
    assert!(!policy.bounds_for(Profile::Production).refuse_emulated);
    assert!(policy.bounds_for(Profile::Production).require_digest_pin);
    // A denial wins over the name.
    policy.bounds.refuse_emulated = true;
    assert!(policy.bounds_for(Profile::Production).refuse_emulated);
}

#[test]
fn a_policy_file_is_read_strictly() {
    let read = |text: &str| HostPolicy::read(text.as_bytes());
    assert_eq!(read("{\"version\": 1}\n").unwrap(), HostPolicy::default());
    let policy = read(r#"{"version":1,"profiles":["dev"],"bounds":{"vcpus":2}}"#).unwrap();
    assert!(policy.allows_profile(Profile::Dev) && !policy.allows_profile(Profile::Standard));
    assert_eq!(policy.bounds_for(Profile::Dev).vcpus, Some(2));
    assert!(matches!(
        read(r#"{"version":2}"#),
        Err(PolicyError::Version { version: 2 })
    ));
    for text in [
        r#"{"version":1,"bound":{}}"#,
        r#"{"version":1,"bounds":{"memory":1}}"#,
        r#"{"version":1,"bounds":{"vcpus":"2"}}"#,
        r#"{"version":1,"profiles":["prod"]}"#,
    ] {
        assert!(matches!(read(text), Err(PolicyError::Shape(_))), "{text}");
    }
    assert!(matches!(
        read(r#"{"version":1,"version":1}"#),
        Err(PolicyError::Json(_))
    ));
}

#[test]
fn a_policy_is_written_as_it_is_read() {
    let mut policy = HostPolicy::default();
    policy.bounds.require_digest_pin = true;
    policy.bounds.refuse_emulated = true;
    policy.bounds.refuse_adhoc_environment = true;
    policy.bounds.vcpus = Some(2);
    let bytes = serde_json::to_vec(&policy).unwrap();
    assert_eq!(HostPolicy::read(&bytes).unwrap(), policy);
}

#[test]
fn a_policy_file_is_read_up_to_its_largest() {
    let mut bytes = b"{\"version\":1}".to_vec();
    bytes.resize(262_144, b' ');
    assert!(HostPolicy::read(&bytes).is_ok());
    bytes.push(b' ');
    assert!(matches!(
        HostPolicy::read(&bytes),
        Err(PolicyError::Json(ReadError::TooLarge { limit: 262_144 }))
    ));
}
