//! Receipts: what one run did, as a signed in-toto statement (Statement v1).
//!
//! The predicate is the one source of every statement; the subjects repeat its digests in the
//! form that in-toto tools look for, and a receipt whose subjects say something else is refused.

mod verify;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Digest, KeyId, RunId, SandboxId, SigningKey,
    canonical::{self, WriteError},
    dsse,
    plan::{LaunchPath, Profile},
};

pub use verify::{ReceiptFlaw, VerifiedReceipt, verify};

/// The statement's type (in-toto Attestation Framework v1).
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// The predicate's type.
pub const PREDICATE_TYPE: &str = "urn:mvm:receipt:v1";

/// What one run did. It has names, numbers and digests; never what was run, or what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptPredicate {
    /// The run.
    pub run: RunId,
    /// The sandbox it ran in.
    pub sandbox: SandboxId,
    /// Digest of the plan's bytes, as they were admitted.
    pub plan_digest: Digest,
    /// Digest of the root filesystem.
    pub image_digest: Digest,
    /// The key of the host it ran on.
    pub host: KeyId,
    /// On whose behalf.
    pub principal: String,
    /// The plan's profile.
    pub profile: Profile,
    /// How the guest came to be.
    pub launch_path: LaunchPath,
    /// When the command started, milliseconds since the Unix epoch.
    pub started_at_ms: u64,
    /// How long it ran.
    pub duration_ms: u64,
    /// How it ended.
    pub exit: Exit,
    /// What it left, by name (`stdout`, `stderr`, artifacts).
    pub outputs: BTreeMap<String, Output>,
    /// What it asked of the network.
    pub egress: EgressSummary,
    /// What separated the guest from the host.
    pub isolation: Isolation,
    /// The layers around the hypervisor, and whether each was in force.
    pub jail: BTreeMap<String, bool>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// What became of it.
    pub reason: ExitReason,
    /// Its exit code, or the number of the signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExitReason {
    /// It exited by itself.
    Exited,
    /// A signal ended it.
    Signalled,
    /// Its time was over.
    TimedOut,
    /// It never started.
    NotStarted,
    /// Its sandbox ended before it did.
    SandboxEnded,
}

/// Something a command left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

/// What a run asked of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EgressSummary {
    /// Flows that were opened.
    pub allowed: u64,
    /// Flows that were denied.
    pub denied: u64,
    /// Flows by the rule that decided.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_rule: BTreeMap<String, u64>,
}

/// What separates a guest from its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// The processor's virtualization extension.
    Hardware,
    /// An emulator, which its own project does not call a security boundary.
    Emulated,
}

/// An in-toto statement whose predicate is a receipt's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: ReceiptPredicate,
}

/// Something a statement is about (in-toto `ResourceDescriptor`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

impl ReceiptPredicate {
    /// The signed receipt, as the bytes of its envelope.
    pub fn seal(self, key: &SigningKey) -> Result<Vec<u8>, WriteError> {
        let statement = Statement {
            statement_type: STATEMENT.to_owned(),
            subject: self.subjects(),
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: self,
        };
        dsse::seal(dsse::STATEMENT_TYPE, &canonical::to_bytes(&statement)?, key)
    }

    /// The plan first, then each output.
    fn subjects(&self) -> Vec<Subject> {
        let subject = |name: &str, digest: &Digest| Subject {
            name: name.to_owned(),
            digest: BTreeMap::from([("sha256".to_owned(), digest.hex())]),
        };
        let outputs = self.outputs.iter();
        std::iter::once(subject("plan", &self.plan_digest))
            .chain(outputs.map(|(name, output)| subject(name, &output.digest)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
