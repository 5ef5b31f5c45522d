//! The audit log: append-only lines, each a signed record that names the one before it.
//!
//! ```text
//! line      canonical JSON of { key, record, signature }, ended by a line feed
//! signed    the DSSE pre-authentication encoding of the record's canonical bytes
//! chain     record.previous = SHA-256 of the canonical bytes of the record before
//! leaf      the record's canonical bytes, in the Merkle tree of RFC 6962
//! sealed    by a checkpoint (C2SP tlog-checkpoint) over the first so many leaves
//! ```
//!
//! A record holds digests and names; never what a command was, what its environment held, or what
//! it said. Everything here is computed over bytes given: there is one writer, and it is elsewhere.

mod chain;
mod checkpoint;
mod merkle;
mod verify;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Digest, KeyId, PublicKey, RunId, SandboxId, SigningKey,
    canonical::{self, Document, WriteError},
    dsse::{AUDIT_RECORD_TYPE, pre_authentication_encoding},
    plan::Profile,
    schema::text_schema,
};

pub use chain::Chain;
pub use checkpoint::{Checkpoint, CheckpointError};
pub use merkle::{Frontier, leaf_hash};
pub use verify::{LogVerdict, verify_continuation, verify_log};

/// The version of records this code reads and writes.
pub const RECORD_VERSION: u32 = 1;
/// The longest line, in bytes.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// What tells one log from every other: 32 lowercase hexadecimal digits of randomness.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogId(String);

text_schema!(LogId, "^[0-9a-f]{32}$");

/// Why a text does not identify a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a log's identifier (32 lowercase hexadecimal digits)")]
pub struct LogIdError;

impl LogId {
    /// The identifier made of these random bits.
    #[must_use]
    pub fn from_random(bits: u128) -> Self {
        Self(format!("{bits:032x}"))
    }

    /// The identifier as text; safe as a file name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LogId {
    type Error = LogIdError;

    fn try_from(text: String) -> Result<Self, LogIdError> {
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 32 && text.bytes().all(hexadecimal) {
            Ok(Self(text))
        } else {
            Err(LogIdError)
        }
    }
}

impl From<LogId> for String {
    fn from(log: LogId) -> Self {
        log.0
    }
}

/// Something that happened, at its place in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The log it is in.
    pub log: LogId,
    /// Its place, from 0.
    pub sequence: u64,
    /// Digest of the record before. For the first: of the last record of the log that this one
    /// goes on from, or 32 zero bytes.
    pub previous: Digest,
    /// When, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What happened.
    pub event: Event,
}

/// What happened: names and digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The kind of thing.
    pub kind: EventKind,
    /// The run it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxId>,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The plan's profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Digest of the plan's bytes, or of the envelope's where no plan could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_digest: Option<Digest>,
    /// Digest of the root filesystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<Digest>,
    /// Digest of the receipt's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_digest: Option<Digest>,
    /// The key it is about: that signed the plan, or that was added or revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The nonce of the plan that was admitted: spent by this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The second, since the Unix epoch, at which that plan ends anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce_expires: Option<u64>,
    /// The number of the rule that denied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

impl Event {
    /// An event of this kind, of which nothing else is said yet.
    #[must_use]
    pub const fn new(kind: EventKind) -> Self {
        Self {
            kind,
            run: None,
            sandbox: None,
            principal: None,
            profile: None,
            plan_digest: None,
            image_digest: None,
            receipt_digest: None,
            key: None,
            nonce: None,
            nonce_expires: None,
            rule: None,
        }
    }
}

/// The kinds of things that are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The log begins.
    LogOpened,
    /// The log ends; another goes on from it.
    LogClosed,
    /// A plan was admitted: its nonce is spent.
    PlanAdmitted,
    /// A plan was denied.
    PlanDenied,
    /// A sandbox runs.
    SandboxStarted,
    /// A command ended.
    RunEnded,
    /// A sandbox was saved.
    SnapshotTaken,
    /// A sandbox is gone.
    SandboxDestroyed,
    /// A key is trusted from now on.
    KeyTrusted,
    /// A key is trusted no more.
    KeyRevoked,
    /// The host's policy is another.
    PolicyChanged,
}

/// A record and its signature: one line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedRecord {
    /// Who signed it.
    pub key: KeyId,
    /// The record.
    pub record: Record,
    /// The Ed25519 signature, base64.
    pub signature: String,
}

impl Record {
    /// The record's canonical bytes: what is signed, chained, and a leaf of the tree.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WriteError> {
        canonical::to_bytes(self)
    }

    /// Signs the record.
    pub fn sign(self, key: &SigningKey) -> Result<SignedRecord, WriteError> {
        let message = pre_authentication_encoding(AUDIT_RECORD_TYPE, &self.to_bytes()?);
        Ok(SignedRecord {
            key: key.public_key().id(),
            record: self,
            signature: STANDARD.encode(key.sign(&message)),
        })
    }
}

impl SignedRecord {
    /// Reads one line, without its line feed. Whether the signature holds is another question.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        let document = Document::read_canonical(line, MAX_LINE_BYTES).ok()?;
        let signed: Self = document.decode_exactly().ok()?;
        (signed.record.version == RECORD_VERSION).then_some(signed)
    }

    /// The record's canonical bytes, if `key` signed them.
    #[must_use]
    pub fn verified_bytes(&self, key: &PublicKey) -> Option<Vec<u8>> {
        let bytes = self.record.to_bytes().ok()?;
        let signature = STANDARD.decode(&self.signature).ok()?.try_into().ok()?;
        let message = pre_authentication_encoding(AUDIT_RECORD_TYPE, &bytes);
        key.verifies(&message, &signature).then_some(bytes)
    }
}

#[cfg(test)]
mod tests;
