//! Ed25519 keys (RFC 8032) and how they are named.
//!
//! A key's identifier is the SHA-256, in hexadecimal, of its public key as `SubjectPublicKeyInfo`
//! in DER (RFC 5280, RFC 8410). With Python's `cryptography`:
//!
//! ```text
//! der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
//! keyid = hashlib.sha256(der).hexdigest()
//! ```
//!
//! `securesystemslib` takes this identifier with `SSlibKey.from_crypto(key, keyid=keyid)`; its own
//! default identifier is another. The DER bytes in base64 are the body of a PEM file as
//! `openssl pkey -pubout` writes it.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::Signer as _;
use serde::{Deserialize, Serialize};

use crate::{Digest, schema::text_schema};

/// `SubjectPublicKeyInfo` of every Ed25519 key up to its 32 bytes (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The identifier of a public key: 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; 32]);

/// A public key that signatures are verified with. Keys of small order, whose signatures hold for
/// any message, are none.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

/// A private key. It is wiped from memory when it is dropped, and prints as its identifier.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

text_schema!(KeyId, "^[0-9a-f]{64}$");
text_schema!(PublicKey, "^MCowBQYDK2VwAyEA[A-Za-z0-9+/]{43}=$");

/// Why a text is not a key or its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not an identifier.
    #[error("not a key's identifier (64 lowercase hexadecimal digits)")]
    Identifier,
    /// Not an Ed25519 public key.
    #[error("not an Ed25519 public key (base64 of `SubjectPublicKeyInfo` in DER)")]
    PublicKey,
    /// A point for which signatures prove nothing.
    #[error("a public key of small order, for which anyone can sign")]
    Weak,
}

impl KeyId {
    /// The raw 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PublicKey {
    /// The key with these 32 bytes (RFC 8032).
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key =
            ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::PublicKey)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self(key))
    }

    /// The raw 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key as `SubjectPublicKeyInfo` in DER (RFC 8410).
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], self.as_bytes()].concat()
    }

    /// The key's identifier.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(*Digest::of(&self.to_der()).as_bytes())
    }

    /// Whether `signature` is this key's of exactly these bytes. Strict (RFC 8032, 5.1.7, without
    /// the cofactor, and nothing of small order): one message has one signature, whoever checks.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(message, &signature).is_ok()
    }
}

impl SigningKey {
    /// The key made of these 32 bytes of randomness (RFC 8032, 5.1.5).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// What others verify with.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The signature of `message`; the same bytes each time.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.public_key().id())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyError::Identifier)?;
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(KeyError::Identifier);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&STANDARD.encode(self.to_der()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let der = STANDARD.decode(text).map_err(|_| KeyError::PublicKey)?;
        let bytes = der.strip_prefix(&SPKI_PREFIX).ok_or(KeyError::PublicKey)?;
        Self::from_bytes(bytes.try_into().map_err(|_| KeyError::PublicKey)?)
    }
}

macro_rules! text_form {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = KeyError;
            fn try_from(text: String) -> Result<Self, KeyError> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}

text_form!(KeyId, PublicKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_test_vector_of_the_rfc() {
        // RFC 8032, 7.1, TEST 1.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        let mut bytes = [0; 32];
        hex::decode_to_slice(seed, &mut bytes).unwrap();
        let key = SigningKey::from_seed(&bytes);
        assert_eq!(hex::encode(key.sign(b"")), signature);
        assert!(key.public_key().verifies(b"", &key.sign(b"")));
        assert!(!key.public_key().verifies(b"x", &key.sign(b"")));
        assert!(!format!("{key:?}").contains(&seed[..8]));
    }

    #[test]
    fn keys_and_identifiers_parse_back() {
        let key = SigningKey::from_seed(&[7; 32]).public_key();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(key.id().to_string().parse(), Ok(key.id()));
        let upper = key.id().to_string().to_uppercase();
        assert_eq!(upper.parse::<KeyId>(), Err(KeyError::Identifier));
        assert_eq!("AA==".parse::<PublicKey>(), Err(KeyError::PublicKey));
    }

    #[test]
    fn a_key_of_small_order_is_no_key() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(&identity), Err(KeyError::Weak));
        assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(KeyError::Weak));
    }
}
