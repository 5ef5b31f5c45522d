//! SHA-256 digests in the OCI spelling `sha256:<64 lowercase hex digits>`.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::schema::text_schema;

/// The SHA-256 of some content; the only algorithm that is accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

text_schema!(Digest, "^sha256:[0-9a-f]{64}$");

/// Why a text is not a digest that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestError {
    /// The part before the colon names an algorithm other than `sha256`.
    #[error("unsupported digest algorithm `{algorithm}`, only `sha256` is accepted")]
    Algorithm {
        /// What stood before the colon.
        algorithm: String,
    },
    /// There is no colon, or what follows it is not 64 lowercase hex digits.
    #[error("malformed digest `{text}`, expected `sha256:` and 64 lowercase hex digits")]
    Malformed {
        /// The text as given.
        text: String,
    },
}

impl Digest {
    /// The digest with these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// The digest of everything `reader` yields, and how many bytes that was. What the reader reads
    /// is the caller's: nothing is opened here.
    pub fn of_reader(reader: &mut impl Read) -> io::Result<(Self, u64)> {
        let mut hash = Sha256::new();
        let mut size: u64 = 0;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => return Ok((Self(hash.finalize().into()), size)),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hash.update(&buffer[..count]);
            size += count as u64;
        }
    }

    /// The raw 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParseDigestError::Malformed { text: text.into() };
        let (algorithm, digits) = text.split_once(':').ok_or_else(malformed)?;
        if algorithm != "sha256" {
            return Err(ParseDigestError::Algorithm {
                algorithm: algorithm.into(),
            });
        }
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(malformed());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| malformed())?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseDigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_text_round_trips() {
        let digest = Digest::of(b"content");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert_eq!(
            Digest::of_reader(&mut &b"content"[..]).unwrap(),
            (digest, 7)
        );
    }

    #[test]
    fn other_algorithms_and_spellings_are_refused() {
        let upper = format!("sha256:{}", "A".repeat(64));
        assert!(matches!(
            "sha512:00".parse::<Digest>(),
            Err(ParseDigestError::Algorithm { algorithm }) if algorithm == "sha512"
        ));
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:00",
            &upper,
            "sha256:../../etc/passwd",
        ] {
            assert!(matches!(
                text.parse::<Digest>(),
                Err(ParseDigestError::Malformed { .. })
            ));
        }
    }
}
