//! Signed envelopes: DSSE v1.0.2, in its JSON form.
//!
//! Narrower than the specification, each for a reason:
//! - *Off-spec:* unknown fields are refused. No signature covers them, and nobody here reads them.
//! - *Off-spec:* `keyid` is required. It picks one key; keys are never tried one after another.
//! - Exactly one signature. What a second one would mean nobody has decided, so it would be ignored.
//! - Base64 is the standard alphabet, padded, with no stray bits: one envelope has one spelling.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    canonical::{self, Document, ReadError, ShapeError, WriteError},
    key::{KeyId, PublicKey, SigningKey},
};

/// The payload type of plans.
pub const PLAN_TYPE: &str = "application/vnd.mvm.plan.v1+json";
/// The payload type of in-toto statements, such as receipts.
pub const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";
/// The type under which audit records are signed; they travel as lines, not in envelopes.
pub const AUDIT_RECORD_TYPE: &str = "application/vnd.mvm.audit-record.v1+json";

/// The largest envelope that is looked at, in bytes.
pub const MAX_ENVELOPE_BYTES: usize = 256 * 1024;

/// An envelope whose signature nobody has checked: its payload is of no use yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    key_id: KeyId,
    signature: [u8; 64],
}

/// The envelope as it stands in JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    keyid: String,
    sig: String,
}

/// Why bytes are not an envelope.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// They are too many, or not one JSON document.
    #[error("the envelope is not JSON that is read")]
    Json(#[source] ReadError),
    /// They are JSON of another shape.
    #[error("the envelope does not have the fields of DSSE v1")]
    Shape(#[source] ShapeError),
    /// There is not exactly one signature.
    #[error("the envelope has {count} signatures, not one")]
    SignatureCount {
        /// How many there are.
        count: usize,
    },
    /// Payload or signature is not base64 in its one spelling, or of another length.
    #[error("`{field}` is not padded standard base64 of the right length")]
    Encoding {
        /// Which field.
        field: &'static str,
    },
    /// The key is not named by an identifier.
    #[error("`keyid` is not the identifier of a key")]
    KeyId,
}

/// The bytes that are signed: the pre-authentication encoding of DSSE v1.
#[must_use]
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

/// Signs a payload and puts it in an envelope, whose bytes are canonical.
pub fn seal(payload_type: &str, payload: &[u8], key: &SigningKey) -> Result<Vec<u8>, WriteError> {
    let signature = key.sign(&pre_authentication_encoding(payload_type, payload));
    canonical::to_bytes(&Wire {
        payload: STANDARD.encode(payload),
        payload_type: payload_type.to_owned(),
        signatures: vec![WireSignature {
            keyid: key.public_key().id().to_string(),
            sig: STANDARD.encode(signature),
        }],
    })
}

impl Envelope {
    /// Reads an envelope; of its payload nothing is read.
    pub fn read(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let wire: Wire = Document::read(bytes, MAX_ENVELOPE_BYTES)
            .map_err(EnvelopeError::Json)?
            .decode()
            .map_err(EnvelopeError::Shape)?;
        let [signature] = wire.signatures.as_slice() else {
            let count = wire.signatures.len();
            return Err(EnvelopeError::SignatureCount { count });
        };
        let decode = |field, text: &str| {
            let encoding = |_| EnvelopeError::Encoding { field };
            STANDARD.decode(text).map_err(encoding)
        };
        Ok(Self {
            payload: decode("payload", &wire.payload)?,
            signature: decode("sig", &signature.sig)?
                .try_into()
                .map_err(|_| EnvelopeError::Encoding { field: "sig" })?,
            key_id: signature.keyid.parse().map_err(|_| EnvelopeError::KeyId)?,
            payload_type: wire.payload_type,
        })
    }

    /// What the payload claims to be.
    #[must_use]
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The payload, for which nobody vouches: to be shown, not to be acted on.
    #[must_use]
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// Which key claims to have signed.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The payload's exact bytes, if `key` signed them as what they claim to be.
    #[must_use]
    pub fn verified_payload(&self, key: &PublicKey) -> Option<&[u8]> {
        let message = pre_authentication_encoding(&self.payload_type, &self.payload);
        key.verifies(&message, &self.signature)
            .then_some(self.payload.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[3; 32])
    }

    #[test]
    fn the_specifications_example() {
        assert_eq!(
            pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn only_the_signed_bytes_come_out() {
        let bytes = seal(PLAN_TYPE, b"{}", &key()).unwrap();
        let envelope = Envelope::read(&bytes).unwrap();
        let public = key().public_key();
        assert_eq!(envelope.key_id(), public.id());
        assert_eq!(envelope.verified_payload(&public), Some(&b"{}"[..]));

        let mut other_type = envelope.clone();
        other_type.payload_type = STATEMENT_TYPE.to_owned();
        assert_eq!(other_type.verified_payload(&public), None);
        let mut other_payload = envelope.clone();
        other_payload.payload.push(b' ');
        assert_eq!(other_payload.verified_payload(&public), None);
        let stranger = SigningKey::from_seed(&[4; 32]).public_key();
        assert_eq!(envelope.verified_payload(&stranger), None);
    }

    #[test]
    fn what_the_signature_does_not_cover_has_one_form() {
        let text = String::from_utf8(seal(PLAN_TYPE, b"{ }", &key()).unwrap()).unwrap();
        assert!(Envelope::read(text.replace(',', " , ").as_bytes()).is_ok());
        for (from, to) in [
            ("{\"payload\"", "{\"extra\":1,\"payload\""),
            ("\"payloadType\"", "\"payload\""),
            ("\"eyB9\"", "\"eyB9=\""),
            ("\"eyB9\"", "\"eyB9\\n\""),
            ("==\"}]", "\"}]"),
            ("\"signatures\":[", "\"signatures\":[],\"x\":["),
        ] {
            let damaged = text.replacen(from, to, 1);
            assert_ne!(damaged, text, "{from}");
            assert!(Envelope::read(damaged.as_bytes()).is_err(), "{to}");
        }
        let upper = text.replace(
            &key().public_key().id().to_string(),
            &key().public_key().id().to_string().to_uppercase(),
        );
        assert!(matches!(
            Envelope::read(upper.as_bytes()),
            Err(EnvelopeError::KeyId)
        ));
    }
}
