//! What a server tells of sandboxes, snapshots and receipts.

use mvm_contract::{
    KeyId, LifecycleState, Resources, RunId, SandboxId, SandboxName, SnapshotId, plan::Profile,
    receipt::ReceiptFlaw,
};
use mvm_runtime::{Ended, Ownership};
use serde::Deserialize;

use super::HttpError;

/// What is recorded of a sandbox, as far as a server tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct SandboxRecord {
    /// Its identifier.
    pub id: SandboxId,
    /// Its name.
    pub name: Option<SandboxName>,
    /// Where it is in its life.
    pub state: LifecycleState,
    /// Why it is in that state, when it was not asked for.
    pub reason: Option<String>,
    /// The image that was asked for.
    pub image: String,
    /// Digest of its root filesystem.
    pub image_digest: String,
    /// What its microVM may use.
    pub resources: Resources,
    /// When it was created, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// When it ends by itself, milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
    /// Who ends it.
    pub ownership: Ownership,
    /// Where its guest came from: `boot`, `template`, `spare` or `snapshot`.
    pub origin: String,
    /// What separates the guest from the host: `hardware` or `emulated`.
    pub isolation: String,
    /// The built-in policy it was launched under.
    pub profile: Profile,
    /// Digest of the plan it was last launched by.
    pub plan_digest: String,
    /// Where the audit log tells of that.
    pub audit_id: String,
}

/// A part of a list.
#[derive(Debug, Deserialize)]
pub(super) struct SandboxPage {
    pub(super) items: Vec<SandboxRecord>,
    pub(super) next_cursor: Option<String>,
}

/// A snapshot, as far as a server tells of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct SnapshotRecord {
    /// Its identifier.
    pub id: SnapshotId,
    /// Its name.
    pub name: Option<SandboxName>,
    /// The sandbox it was taken of.
    pub sandbox: SandboxId,
    /// That sandbox's image.
    pub image: String,
    /// When it was taken, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// `delta` (pages over a template) or `stream` (all memory).
    pub method: String,
    /// Bytes it takes on the host, without the template.
    pub bytes: u64,
    /// How long the guest stood still, milliseconds.
    pub pause_ms: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct SnapshotPage {
    pub(super) items: Vec<SnapshotRecord>,
}

/// How a stop or destroy ended.
#[derive(Debug, Deserialize)]
pub(super) struct EndedBody {
    ended: EndedWord,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EndedWord {
    Now,
    Before,
}

impl From<EndedBody> for Ended {
    fn from(body: EndedBody) -> Self {
        match body.ended {
            EndedWord::Now => Self::Now,
            EndedWord::Before => Self::Before,
        }
    }
}

/// What a sandbox takes of its host.
#[derive(Debug, Deserialize)]
pub(super) struct UsageBody {
    memory_bytes: u64,
    cpu_ms: u64,
    disk_bytes: u64,
}

impl From<UsageBody> for mvm_runtime::Usage {
    fn from(body: UsageBody) -> Self {
        Self {
            memory_bytes: body.memory_bytes,
            cpu_ms: body.cpu_ms,
            disk_bytes: body.disk_bytes,
        }
    }
}

/// A receipt that a key signed which the server's host believes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedReceipt {
    /// The run it tells of.
    pub run: RunId,
    /// Who signed it.
    pub key: KeyId,
    /// What that key is called on the server's host.
    pub signer: Option<String>,
}

/// The verdict over a receipt.
#[derive(Debug, Deserialize)]
pub(super) struct ReceiptBody {
    valid: bool,
    flaw: Option<String>,
    run_id: Option<RunId>,
    key: Option<String>,
    signer: Option<String>,
}

impl ReceiptBody {
    pub(super) fn verdict(self) -> Result<Result<VerifiedReceipt, ReceiptFlaw>, HttpError> {
        let unclear = || HttpError::Answer {
            expected: "a verdict over a receipt",
        };
        if !self.valid {
            let flaw = self.flaw.ok_or_else(unclear)?;
            let known = ReceiptFlaw::ALL
                .into_iter()
                .find(|known| known.as_str() == flaw);
            return Ok(Err(known.ok_or_else(unclear)?));
        }
        let key = self.key.and_then(|key| key.parse().ok());
        Ok(Ok(VerifiedReceipt {
            run: self.run_id.ok_or_else(unclear)?,
            key: key.ok_or_else(unclear)?,
            signer: self.signer,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_one_or_the_other() {
        let read = |text: &str| serde_json::from_str::<ReceiptBody>(text).unwrap().verdict();
        let flaw = read(r#"{"valid":false,"flaw":"signature"}"#).unwrap();
        assert_eq!(flaw, Err(ReceiptFlaw::Signature));
        assert!(read(r#"{"valid":false}"#).is_err());
        assert!(read(r#"{"valid":false,"flaw":"other"}"#).is_err());
        assert!(read(r#"{"valid":true,"run_id":"run-aaaaaaaaaaaaaaaa"}"#).is_err());
    }
}
