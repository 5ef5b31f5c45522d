//! What is kept of a run: a record in the audit log, and on demand a signed receipt.
//!
//! Whoever sees a command end records it: the one process that has its output, and with it the
//! digests of what came. A command whose end nobody saw has no record of its own; that of its
//! sandbox's end is there.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use mvm_contract::{
    Coded, Digest, ErrorCode, RunId, SigningKey,
    audit::{Event, EventKind},
    canonical::WriteError,
    receipt::{EgressSummary, Exit, ExitReason, Output, ReceiptPredicate},
};
use mvm_vmm::accelerator::Isolation;
use sha2::{Digest as _, Sha256};

use crate::{
    audit::{AuditError, AuditLog, Durability},
    client::{ExitStatus, OutputStream, ProcessExit},
    command::milliseconds,
    home::Home,
    keys::{self, KeyStoreError},
    record::{SandboxRecord, now_ms},
};

/// What is kept of a run that has ended.
#[derive(Debug, Clone)]
pub struct RunAccount {
    /// The run.
    pub run_id: RunId,
    /// Where the audit log tells of its end, or why it does not. It may take a loss of power to
    /// be lost again, unless there is a receipt.
    pub audit_id: Result<String, Arc<RecordRunError>>,
    /// The signed receipt, if one was asked for and the run was recorded.
    pub receipt: Option<Vec<u8>>,
}

/// Why a run was not recorded. What it did is done.
#[derive(Debug, thiserror::Error)]
pub enum RecordRunError {
    /// The host's key cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// The audit log cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The receipt cannot be written down.
    #[error("the receipt cannot be written")]
    Receipt(#[from] WriteError),
    /// What is recorded of the sandbox's image is no digest.
    #[error("the sandbox's record names no digest of its image")]
    ImageDigest,
    /// The process that was to record it is ending.
    #[error("the run could not be recorded: this process is ending")]
    Ending,
    /// Another process was to record it, and did not.
    #[error("the server did not record the run")]
    Elsewhere,
}

impl Coded for RecordRunError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Keys(error) => error.code(),
            Self::Audit(error) => error.code(),
            Self::Receipt(_) | Self::ImageDigest | Self::Ending | Self::Elsewhere => {
                ErrorCode::SandboxUnavailable
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Keys(error) => error.hint(),
            Self::Audit(error) => error.hint(),
            Self::Receipt(_) | Self::ImageDigest | Self::Ending | Self::Elsewhere => None,
        }
    }
}

/// A run that goes on.
#[derive(Debug)]
pub(crate) struct RunRecorder {
    home: Home,
    sandbox: Box<SandboxRecord>,
    witness: Option<Box<Witness>>,
}

/// What a receipt will say, so far.
#[derive(Debug)]
struct Witness {
    /// The host's key when the run began: it is believed for that time, whatever comes.
    key: SigningKey,
    started_at_ms: u64,
    started: Instant,
    stdout: Digester,
    stderr: Digester,
}

/// The digest of a stream, as long as none of it was lost.
#[derive(Debug, Default)]
struct Digester {
    hash: Sha256,
    bytes: u64,
    is_incomplete: bool,
}

impl Digester {
    fn finish(self) -> Option<Output> {
        let digest = Digest::from_bytes(self.hash.finalize().into());
        (!self.is_incomplete).then_some(Output {
            digest,
            bytes: self.bytes,
        })
    }
}

impl RunRecorder {
    /// Begins to record a run in a sandbox, about to start.
    pub(crate) fn begin(
        home: &Home,
        sandbox: SandboxRecord,
        with_receipt: bool,
    ) -> Result<Self, RecordRunError> {
        let witness = if with_receipt {
            Some(Box::new(Witness {
                key: keys::host_signer(home)?,
                started_at_ms: now_ms(),
                started: Instant::now(),
                stdout: Digester::default(),
                stderr: Digester::default(),
            }))
        } else {
            None
        };
        Ok(Self {
            home: home.clone(),
            sandbox: Box::new(sandbox),
            witness,
        })
    }

    /// The identifier of the run of a process, the same for everybody who follows it.
    pub(crate) fn run_id(&self, process_id: u64) -> RunId {
        let mut hash = Sha256::new();
        hash.update(b"mvm run\0");
        hash.update(self.sandbox.id.as_str());
        hash.update(process_id.to_be_bytes());
        let mut bits = [0; 16];
        bits.copy_from_slice(&hash.finalize()[..16]);
        RunId::from_random(u128::from_be_bytes(bits))
    }

    pub(crate) fn output(&mut self, stream: OutputStream, bytes: &[u8]) {
        if let Some(digester) = self.digester(stream) {
            digester.hash.update(bytes);
            digester.bytes += bytes.len() as u64;
        }
    }

    pub(crate) fn gap(&mut self, stream: OutputStream) {
        if let Some(digester) = self.digester(stream) {
            digester.is_incomplete = true;
        }
    }

    fn digester(&mut self, stream: OutputStream) -> Option<&mut Digester> {
        let witness = self.witness.as_mut()?;
        Some(match stream {
            OutputStream::Stdout => &mut witness.stdout,
            OutputStream::Stderr => &mut witness.stderr,
        })
    }

    /// Records the end of the run. It waits for the disk where there is a receipt.
    pub(crate) fn end(self, process_id: u64, exit: &ProcessExit) -> RunAccount {
        let run_id = self.run_id(process_id);
        match self.try_end(&run_id, exit) {
            Ok((audit_id, receipt)) => RunAccount {
                run_id,
                audit_id: Ok(audit_id),
                receipt,
            },
            Err(error) => RunAccount {
                run_id,
                audit_id: Err(Arc::new(error)),
                receipt: None,
            },
        }
    }

    fn try_end(
        self,
        run_id: &RunId,
        exit: &ProcessExit,
    ) -> Result<(String, Option<Vec<u8>>), RecordRunError> {
        let Self {
            home,
            sandbox,
            witness,
        } = self;
        let signer = keys::host_signer(&home)?;
        let mut event = Event::new(EventKind::RunEnded);
        event.run = Some(run_id.clone());
        event.sandbox = Some(sandbox.id.clone());
        event.plan_digest = Some(sandbox.admission.plan_digest);
        let mut durability = Durability::Eventual;
        let receipt = match witness {
            Some(witness) => {
                durability = Durability::Durable;
                let key = witness.key.clone();
                let image = sandbox.image_digest.parse();
                let image = image.map_err(|_| RecordRunError::ImageDigest)?;
                let predicate = witness.predicate(run_id, &sandbox, image, exit);
                let receipt = predicate.seal(&key)?;
                event.receipt_digest = Some(Digest::of(&receipt));
                Some(receipt)
            }
            None => None,
        };
        let id = AuditLog::open(&home)?.append(event, &signer, durability)?;
        Ok((id.to_string(), receipt))
    }
}

impl Witness {
    fn predicate(
        self,
        run_id: &RunId,
        sandbox: &SandboxRecord,
        image_digest: Digest,
        exit: &ProcessExit,
    ) -> ReceiptPredicate {
        let streams = [("stdout", self.stdout), ("stderr", self.stderr)];
        let outputs = streams
            .into_iter()
            .filter_map(|(name, stream)| Some((name.to_owned(), stream.finish()?)))
            .collect();
        // The guest's own word on how long it took is bounded by what passed here.
        let duration = exit.duration.min(self.started.elapsed());
        ReceiptPredicate {
            run: run_id.clone(),
            sandbox: sandbox.id.clone(),
            plan_digest: sandbox.admission.plan_digest,
            image_digest,
            host: self.key.public_key().id(),
            principal: sandbox.admission.principal.clone(),
            profile: sandbox.admission.profile,
            launch_path: sandbox.admission.launch_path,
            started_at_ms: self.started_at_ms,
            duration_ms: milliseconds(duration),
            exit: told(exit),
            outputs,
            egress: EgressSummary::default(),
            isolation: isolation(sandbox.isolation),
            jail: layers(sandbox),
        }
    }
}

fn told(exit: &ProcessExit) -> Exit {
    let (reason, status) = match exit.status {
        ExitStatus::Code(code) => (ExitReason::Exited, code),
        ExitStatus::Signal(signal) => (ExitReason::Signalled, signal),
    };
    Exit {
        reason: if exit.timed_out {
            ExitReason::TimedOut
        } else {
            reason
        },
        status: Some(i32::from(status)),
    }
}

pub(crate) const fn isolation(isolation: Isolation) -> mvm_contract::receipt::Isolation {
    match isolation {
        Isolation::Hardware => mvm_contract::receipt::Isolation::Hardware,
        Isolation::Emulated => mvm_contract::receipt::Isolation::Emulated,
    }
}

/// Each layer of the jail by its name, and whether it is in force.
fn layers(sandbox: &SandboxRecord) -> BTreeMap<String, bool> {
    let layers = sandbox.jail.layers.keys();
    layers
        .map(|layer| {
            let name = serde_json::to_value(layer).unwrap_or_default();
            let name = name.as_str().unwrap_or_default().to_owned();
            (name, sandbox.jail.is_applied(*layer))
        })
        .collect()
}
