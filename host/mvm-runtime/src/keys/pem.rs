//! Keys as other tools write them: PKCS #8 and `SubjectPublicKeyInfo` in PEM (RFC 8410).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mvm_contract::{PublicKey, SigningKey};

/// An Ed25519 private key in PKCS #8, up to its 32 bytes (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const PRIVATE: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";

/// The private key in a PEM file, as `openssl genpkey -algorithm ed25519` writes it.
#[must_use]
pub fn read_private_key(text: &[u8]) -> Option<SigningKey> {
    let der = body(text, PRIVATE)?;
    let seed = der.strip_prefix(&PKCS8_PREFIX)?;
    Some(SigningKey::from_seed(seed.try_into().ok()?))
}

/// The PEM file of the private key made of these 32 bytes.
#[must_use]
pub fn write_private_key(seed: &[u8; 32]) -> String {
    framed(PRIVATE, &[&PKCS8_PREFIX[..], seed].concat())
}

/// The public key in a PEM file, as `openssl pkey -pubout` writes it.
#[must_use]
pub fn read_public_key(text: &[u8]) -> Option<PublicKey> {
    STANDARD.encode(body(text, PUBLIC)?).parse().ok()
}

/// The PEM file of a public key.
#[must_use]
pub fn write_public_key(key: &PublicKey) -> String {
    framed(PUBLIC, &key.to_der())
}

fn body(text: &[u8], label: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let text = text.strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let text = text.strip_suffix(&format!("-----END {label}-----"))?;
    let base64: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(base64).ok()
}

/// Both kinds fit into one line of 64 characters.
fn framed(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}
