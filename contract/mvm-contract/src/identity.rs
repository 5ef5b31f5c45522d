//! Names and identifiers of sandboxes, snapshots and runs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::schema::text_schema;

/// Characters of an identifier after its prefix; each carries 5 bits.
const ID_CHARACTERS: usize = 16;
/// RFC 4648 base32, lowercase.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

macro_rules! identifier {
    ($(#[$documentation:meta])* $type:ident, $prefix:literal) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// What every one begins with.
            pub const PREFIX: &str = $prefix;

            /// The identifier made of these random bits; those beyond the low 80 are not used.
            #[must_use]
            pub fn from_random(bits: u128) -> Self {
                let mut text = String::with_capacity(Self::PREFIX.len() + ID_CHARACTERS);
                text.push_str(Self::PREFIX);
                for position in 0..ID_CHARACTERS {
                    let digit = (bits >> (position * 5)) & 31;
                    text.push(char::from(ALPHABET[digit as usize]));
                }
                Self(text)
            }

            /// The identifier as text; safe as a file name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = IdentityError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text.strip_prefix(Self::PREFIX) {
                    Some(rest)
                        if rest.len() == ID_CHARACTERS
                            && rest.bytes().all(|b| ALPHABET.contains(&b)) =>
                    {
                        Ok(Self(text.to_owned()))
                    }
                    _ => Err(IdentityError::Id {
                        text: text.to_owned(),
                        prefix: Self::PREFIX,
                    }),
                }
            }
        }
    };
}

identifier!(
    /// A sandbox's identifier: `sb-` and 16 characters of lowercase base32 (80 random bits).
    SandboxId,
    "sb-"
);

identifier!(
    /// A snapshot's identifier: `sn-` and 16 characters of lowercase base32 (80 random bits).
    SnapshotId,
    "sn-"
);

identifier!(
    /// The identifier of one run, on everything that tells of it: `run-` and 16 characters of
    /// lowercase base32 (80 random bits).
    RunId,
    "run-"
);

text_schema!(SandboxId, "^sb-[a-z2-7]{16}$");
text_schema!(SnapshotId, "^sn-[a-z2-7]{16}$");
text_schema!(RunId, "^run-[a-z2-7]{16}$");
text_schema!(SandboxName, "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$");

/// A name the user gave a sandbox or a snapshot: 1 to 63 characters of `a-z`, `0-9` and `-`, first a letter,
/// last not `-` (RFC 1123 labels, so that it also serves as the guest's hostname). It may not
/// have the form of an identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SandboxName(String);

impl SandboxName {
    /// The longest name, in characters.
    pub const MAX_CHARACTERS: usize = 63;

    /// The name as text; safe as a file name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not an identifier or a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not an identifier.
    #[error("`{text}` is not an identifier (`{prefix}` and 16 characters of a-z, 2-7)")]
    Id {
        /// What was given.
        text: String,
        /// What it would begin with.
        prefix: &'static str,
    },
    /// Not a name.
    #[error(
        "`{text}` is not a name (1 to 63 characters of a-z, 0-9 and `-`, first a letter, last not `-`)"
    )]
    Name {
        /// What was given.
        text: String,
    },
    /// A name in the form of an identifier.
    #[error("`{text}` has the form of an identifier and cannot be a name")]
    NameLooksLikeId {
        /// What was given.
        text: String,
    },
}

impl FromStr for SandboxName {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (1..=Self::MAX_CHARACTERS).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !valid {
            return Err(IdentityError::Name {
                text: text.to_owned(),
            });
        }
        if text.parse::<SandboxId>().is_ok() || text.parse::<SnapshotId>().is_ok() {
            return Err(IdentityError::NameLooksLikeId {
                text: text.to_owned(),
            });
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! text_form {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = IdentityError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }
    )*};
}

text_form!(SandboxId, SnapshotId, RunId, SandboxName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_parses_back() {
        let id = SandboxId::from_random(0x1234_5678_9abc_def0_1234);
        assert_eq!(id.as_str().parse::<SandboxId>().unwrap(), id);
        assert_ne!(id, SandboxId::from_random(0x1234_5678_9abc_def0_1235));
    }

    #[test]
    fn names_that_could_mean_something_else_are_refused() {
        for text in [
            "",
            "A",
            "-a",
            "a-",
            "1a",
            "a/b",
            "..",
            "a b",
            "ä",
            &"a".repeat(64),
        ] {
            assert!(text.parse::<SandboxName>().is_err(), "{text:?}");
        }
        let id = SandboxId::from_random(7);
        assert!(matches!(
            id.as_str().parse::<SandboxName>(),
            Err(IdentityError::NameLooksLikeId { .. })
        ));
        for text in ["a", "web-1", &"a".repeat(63)] {
            assert!(text.parse::<SandboxName>().is_ok(), "{text:?}");
        }
    }
}
