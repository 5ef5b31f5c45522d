//! Verifying a receipt, without anything but the receipt and the trust roots.

use super::{PREDICATE_TYPE, ReceiptPredicate, STATEMENT, Statement};
use crate::{
    KeyId,
    canonical::Document,
    dsse::{Envelope, MAX_ENVELOPE_BYTES, STATEMENT_TYPE},
    trust::{KeyStanding, TrustRoots},
};

/// A receipt that a trusted key signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReceipt {
    /// What it says.
    pub predicate: ReceiptPredicate,
    /// Who signed it.
    pub key: KeyId,
}

/// Why a receipt proves nothing. A verdict, not a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptFlaw {
    /// The bytes are no envelope.
    NotAnEnvelope,
    /// The envelope holds something else.
    PayloadType,
    /// No trusted key of this identifier signs records.
    UnknownKey,
    /// The key was not believed when the run began.
    KeyNotValid,
    /// The signature is not the key's of these bytes.
    Signature,
    /// What was signed is no receipt in its one form.
    NotAReceipt,
}

impl ReceiptFlaw {
    /// Every flaw.
    pub const ALL: [Self; 6] = [
        Self::NotAnEnvelope,
        Self::PayloadType,
        Self::UnknownKey,
        Self::KeyNotValid,
        Self::Signature,
        Self::NotAReceipt,
    ];

    /// The flaw as it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAnEnvelope => "not-an-envelope",
            Self::PayloadType => "payload-type",
            Self::UnknownKey => "unknown-key",
            Self::KeyNotValid => "key-not-valid",
            Self::Signature => "signature",
            Self::NotAReceipt => "not-a-receipt",
        }
    }
}

/// Verifies a receipt. The key must have been believed when the run began; that it expired since
/// does not matter. The time is the signer's word: from when a key may be in other hands, its
/// `revoked_at` must be set before, and what it then signs with older times only the audit log
/// shows to be new.
pub fn verify(envelope: &[u8], roots: &TrustRoots) -> Result<VerifiedReceipt, ReceiptFlaw> {
    let envelope = Envelope::read(envelope).map_err(|_| ReceiptFlaw::NotAnEnvelope)?;
    if envelope.payload_type() != STATEMENT_TYPE {
        return Err(ReceiptFlaw::PayloadType);
    }
    let key = roots
        .key(envelope.key_id())
        .filter(|key| key.role.signs_records())
        .ok_or(ReceiptFlaw::UnknownKey)?;
    let payload = envelope
        .verified_payload(&key.public_key)
        .ok_or(ReceiptFlaw::Signature)?;
    let statement: Statement = Document::read_canonical(payload, MAX_ENVELOPE_BYTES)
        .map_err(|_| ReceiptFlaw::NotAReceipt)?
        .decode_exactly()
        .map_err(|_| ReceiptFlaw::NotAReceipt)?;
    if statement.statement_type != STATEMENT
        || statement.predicate_type != PREDICATE_TYPE
        || statement.subject != statement.predicate.subjects()
    {
        return Err(ReceiptFlaw::NotAReceipt);
    }
    let started_at = statement.predicate.started_at_ms / 1000;
    if key.standing(started_at) != KeyStanding::Valid {
        return Err(ReceiptFlaw::KeyNotValid);
    }
    Ok(VerifiedReceipt {
        predicate: statement.predicate,
        key: envelope.key_id(),
    })
}
