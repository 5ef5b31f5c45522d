//! Trust roots: the keys a host believes, each for one role and one span of time.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    canonical::{Document, ReadError, ShapeError},
    key::{KeyId, PublicKey},
    plan::is_printable,
};

/// The version of trust roots this code reads and writes.
pub const TRUST_ROOTS_VERSION: u32 = 1;
/// The largest file of trust roots, in bytes.
pub const MAX_TRUST_ROOTS_BYTES: usize = 256 * 1024;
/// The longest name of a key, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// The keys that are believed. Made by [`TrustRoots::read`] or checked by [`TrustRoots::validate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustRoots {
    /// [`TRUST_ROOTS_VERSION`].
    pub version: u32,
    /// The keys; no two of one name, and no key twice.
    pub keys: Vec<TrustedKey>,
}

/// One key that is believed. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// What people call it.
    pub name: String,
    /// What it may sign.
    pub role: KeyRole,
    /// The key.
    pub public_key: PublicKey,
    /// It is believed from this second on.
    pub not_before: u64,
    /// It is believed up to this second, not in it; without it, for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<u64>,
    /// It is not believed from this second on, whatever else is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<u64>,
}

/// What a key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyRole {
    /// Plans.
    Plan,
    /// Receipts, and the audit log with its checkpoints.
    Record,
    /// All of these: the key of a host.
    Host,
}

impl KeyRole {
    /// Whether such a key may sign plans.
    #[must_use]
    pub const fn signs_plans(self) -> bool {
        matches!(self, Self::Plan | Self::Host)
    }

    /// Whether such a key may sign what happened.
    #[must_use]
    pub const fn signs_records(self) -> bool {
        matches!(self, Self::Record | Self::Host)
    }
}

/// Whether a key is believed at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStanding {
    /// It is.
    Valid,
    /// Not yet.
    NotYetValid,
    /// Not any more.
    Expired,
    /// It was withdrawn.
    Revoked,
}

/// Why trust roots are refused.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// They are not one JSON document.
    #[error("the trust roots are not JSON that is read")]
    Json(#[source] ReadError),
    /// They are JSON of another shape.
    #[error("the trust roots do not have their fields")]
    Shape(#[source] ShapeError),
    /// They are of another version.
    #[error("the trust roots are of version {version}, not {TRUST_ROOTS_VERSION}")]
    Version {
        /// Which one.
        version: u32,
    },
    /// A name that a line cannot hold.
    #[error("key {id} has a name that is not 1 to 128 printable ASCII characters without spaces")]
    Name {
        /// The key.
        id: KeyId,
    },
    /// Two keys of one name, or one key twice.
    #[error("key `{name}` or its name stands twice")]
    Twice {
        /// The name of the second.
        name: String,
    },
    /// A key is never believed.
    #[error("key `{name}` ends before it begins")]
    Span {
        /// Its name.
        name: String,
    },
}

impl TrustRoots {
    /// Reads and checks a file of trust roots.
    pub fn read(bytes: &[u8]) -> Result<Self, TrustError> {
        let document = Document::read(bytes, MAX_TRUST_ROOTS_BYTES).map_err(TrustError::Json)?;
        let roots: Self = document.decode().map_err(TrustError::Shape)?;
        roots.validate()?;
        Ok(roots)
    }

    /// Checks what the fields alone do not say.
    pub fn validate(&self) -> Result<(), TrustError> {
        let version = self.version;
        if version != TRUST_ROOTS_VERSION {
            return Err(TrustError::Version { version });
        }
        let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for key in &self.keys {
            let (name, id) = (key.name.clone(), key.public_key.id());
            if !is_printable(&name, MAX_NAME_BYTES) {
                return Err(TrustError::Name { id });
            }
            if !names.insert(&key.name) || !ids.insert(id) {
                return Err(TrustError::Twice { name });
            }
            if key.not_after.is_some_and(|end| end <= key.not_before) {
                return Err(TrustError::Span { name });
            }
        }
        Ok(())
    }

    /// The key of this identifier.
    #[must_use]
    pub fn key(&self, id: KeyId) -> Option<&TrustedKey> {
        self.keys.iter().find(|key| key.public_key.id() == id)
    }
}

impl TrustedKey {
    /// Whether it is believed at `now`. That it was revoked is said before all else.
    #[must_use]
    pub fn standing(&self, now: u64) -> KeyStanding {
        if self.revoked_at.is_some_and(|end| now >= end) {
            KeyStanding::Revoked
        } else if now < self.not_before {
            KeyStanding::NotYetValid
        } else if self.not_after.is_some_and(|end| now >= end) {
            KeyStanding::Expired
        } else {
            KeyStanding::Valid
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    fn key(seed: u8) -> TrustedKey {
        TrustedKey {
            name: format!("key-{seed}"),
            role: KeyRole::Plan,
            public_key: SigningKey::from_seed(&[seed; 32]).public_key(),
            not_before: 10,
            not_after: Some(20),
            revoked_at: Some(15),
        }
    }

    fn read(keys: Vec<TrustedKey>) -> Result<TrustRoots, TrustError> {
        let roots = TrustRoots { version: 1, keys };
        TrustRoots::read(&serde_json::to_vec(&roots).unwrap())
    }

    #[test]
    fn a_key_is_believed_from_its_first_second_up_to_its_last() {
        let mut one = key(1);
        assert_eq!(one.standing(9), KeyStanding::NotYetValid);
        assert_eq!(one.standing(10), KeyStanding::Valid);
        assert_eq!(one.standing(14), KeyStanding::Valid);
        assert_eq!(one.standing(15), KeyStanding::Revoked);
        one.revoked_at = None;
        assert_eq!(one.standing(19), KeyStanding::Valid);
        assert_eq!(one.standing(20), KeyStanding::Expired);
        one.not_after = None;
        assert_eq!(one.standing(u64::MAX), KeyStanding::Valid);
        one.revoked_at = Some(0);
        assert_eq!(one.standing(5), KeyStanding::Revoked);
    }

    #[test]
    fn roots_that_contradict_themselves_are_refused() {
        let roots = read(vec![key(1), key(2)]).unwrap();
        assert_eq!(roots.key(key(2).public_key.id()), Some(&key(2)));
        assert_eq!(roots.key(key(3).public_key.id()), None);

        let same_key = TrustedKey {
            name: "other".to_owned(),
            ..key(1)
        };
        let same_name = TrustedKey {
            name: "key-1".to_owned(),
            ..key(2)
        };
        for second in [same_key, same_name] {
            let refused = read(vec![key(1), second]);
            assert!(matches!(refused, Err(TrustError::Twice { .. })));
        }
        let mut empty = key(1);
        empty.not_after = Some(10);
        assert!(matches!(read(vec![empty]), Err(TrustError::Span { .. })));
        let mut unnamed = key(1);
        unnamed.name = "two words".to_owned();
        assert!(matches!(read(vec![unnamed]), Err(TrustError::Name { .. })));
        let weak = r#"{"version":1,"keys":[{"name":"a","role":"plan","not_before":0,"public_key":"MCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}"#;
        assert!(matches!(
            TrustRoots::read(weak.as_bytes()),
            Err(TrustError::Shape(_))
        ));
    }

    #[test]
    fn roots_are_read_up_to_their_largest() {
        let mut bytes = br#"{"version":1,"keys":[]}"#.to_vec();
        bytes.resize(262_144, b' ');
        assert!(TrustRoots::read(&bytes).is_ok());
        bytes.push(b' ');
        assert!(matches!(TrustRoots::read(&bytes), Err(TrustError::Json(_))));
    }

    #[test]
    fn a_role_signs_its_own() {
        assert!(KeyRole::Plan.signs_plans() && !KeyRole::Plan.signs_records());
        assert!(!KeyRole::Record.signs_plans() && KeyRole::Record.signs_records());
        assert!(KeyRole::Host.signs_plans() && KeyRole::Host.signs_records());
    }
}
