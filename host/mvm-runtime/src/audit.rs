//! The one writer of this host's audit log, and the ledger of spent plans in it.
//!
//! ```text
//! audit/log-000001.jsonl       a segment of the log: the truth
//! audit/log-000001.checkpoint  the newest checkpoint of that segment
//! audit/log-000002.jsonl       goes on from the first, whose last record says that it is closed
//! audit/index.db               where the log ends, and which nonces are spent: read off the log
//! ```
//!
//! A record that authorizes is synced before anybody is told. The index is never synced, and says
//! only how far the log was when it last was: after a loss of power it is as it was at some
//! earlier time, whole (SQLite's write-ahead log), and catches up from the log; without it, it is
//! made anew. Its write lock is the one under which processes append. So a nonce is spent exactly
//! when the record that holds it is durable.

mod index;
mod segment;

use std::fmt;

use mvm_admission::ReplayView;
use mvm_contract::{
    Coded, ErrorCode, SigningKey,
    audit::{Chain, Event, EventKind, LogId},
    canonical::WriteError,
};

use crate::{fault, home::Home, random, record::now_ms};
use index::Index;
use segment::{Files, Position};
pub use segment::{Segment, segments};

/// Where a log is closed and another goes on from it, bytes: what one reader can hold.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Bytes that are not synced, at most: the next to append reads them again.
const UNSYNCED_BYTES: u64 = 16 << 10;
/// How long a nonce is remembered after its plan has ended anyway, seconds: a clock that is set
/// back by less brings no plan back.
const REMEMBERED_SECONDS: u64 = 24 * 60 * 60;

/// Why the audit log cannot be written. What cannot be recorded is not done.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file of the log cannot be read or written.
    #[error("failed to {doing} `{}`", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The index cannot be used.
    #[error("failed to use the index of the audit log, `{}`", path.display())]
    Index {
        /// The index.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A line of the log is no record that follows the one before it.
    #[error("line {line} of `{}` is not a record that follows the one before it", path.display())]
    Broken {
        /// The segment.
        path: std::path::PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// The log is shorter than it was.
    #[error("`{}` has lost records", path.display())]
    Shortened {
        /// The segment.
        path: std::path::PathBuf,
    },
    /// A record cannot be written down.
    #[error("a record cannot be written")]
    Record(#[from] WriteError),
    /// There is no randomness for a new log's identifier.
    #[error("failed to read the host's random source")]
    Random(#[source] std::io::Error),
}

impl Coded for AuditError {
    fn code(&self) -> ErrorCode {
        ErrorCode::SandboxUnavailable
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Broken { .. } | Self::Shortened { .. } => Some(
                "see what became of it with `mvmctl audit verify`; nothing is launched until the \
                 log is what it was, or is moved away as a whole with its index"
                    .to_owned(),
            ),
            Self::Index { path, .. } => Some(format!(
                "it is made anew when `{}` is removed",
                path.display()
            )),
            _ => None,
        }
    }
}

/// Whether an appended record outlives a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It does, before the call returns: it authorizes something.
    Durable,
    /// Not for certain: it tells what became of something.
    Eventual,
}

/// Where a record is: the log and its place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditId {
    log: LogId,
    sequence: u64,
}

impl fmt::Display for AuditId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.log.as_str(), self.sequence)
    }
}

/// The audit log of a host. Opening it costs the same however long it is.
#[derive(Debug)]
pub(crate) struct AuditLog {
    files: Files,
    index: Index,
    segment_bytes: u64,
}

/// The log while this process alone appends to it. Dropped, it is as it was.
pub(crate) struct Transaction<'a> {
    index: index::Transaction<'a>,
    files: &'a Files,
    segment_bytes: u64,
    /// The end of the log.
    end: Position,
    /// Up to where it is synced for certain.
    durable: Position,
}

impl AuditLog {
    pub(crate) fn open(home: &Home) -> Result<Self, AuditError> {
        let folder = home.audit();
        let index = Index::open(&folder)?;
        Ok(Self {
            files: Files::new(folder),
            index,
            segment_bytes: SEGMENT_BYTES,
        })
    }

    /// Waits until no other process appends, and reads what others have appended.
    pub(crate) fn transaction(&mut self) -> Result<Transaction<'_>, AuditError> {
        let index = self.index.begin()?;
        let durable = index.position()?;
        let mut spent = Vec::new();
        let end = self.files.catch_up(&durable, &mut spent)?;
        for (nonce, expires) in spent {
            index.spend(&nonce, expires)?;
        }
        Ok(Transaction {
            index,
            files: &self.files,
            segment_bytes: self.segment_bytes,
            end,
            durable,
        })
    }

    /// Appends a record.
    pub(crate) fn append(
        &mut self,
        event: Event,
        key: &SigningKey,
        durability: Durability,
    ) -> Result<AuditId, AuditError> {
        self.transaction()?.append(event, key, durability)
    }

    /// Seals the log as it stands, and gives the checkpoint.
    pub(crate) fn checkpoint(&mut self, key: &SigningKey) -> Result<Vec<u8>, AuditError> {
        let mut transaction = self.transaction()?;
        // The last segment may be closed, and sealed as such: then this one begins.
        let chain = transaction.chain(key)?;
        // What is sealed is there.
        transaction.settle(Durability::Durable)?;
        let note = chain.checkpoint(key);
        let sealed = transaction.files.seal(transaction.end.segment, &note);
        sealed.and_then(|()| transaction.index.commit())?;
        Ok(note)
    }

    /// Closes the segment that is written, sealed; what is appended next begins another.
    pub(crate) fn rotate(&mut self, key: &SigningKey) -> Result<Vec<u8>, AuditError> {
        let mut transaction = self.transaction()?;
        let note = transaction.close(key)?;
        transaction.index.commit()?;
        Ok(note)
    }
}

impl ReplayView for Transaction<'_> {
    fn seen(&self, nonce: &str) -> bool {
        // An index that does not answer lets nothing through.
        self.index.is_spent(nonce).unwrap_or(true)
    }
}

impl Transaction<'_> {
    /// Appends a record, after which others may. The first of a segment says that it begins.
    pub(crate) fn append(
        mut self,
        event: Event,
        key: &SigningKey,
        durability: Durability,
    ) -> Result<AuditId, AuditError> {
        if self.end.offset >= self.segment_bytes {
            self.close(key)?;
        }
        let spent = event
            .nonce
            .clone()
            .map(|nonce| (nonce, event.nonce_expires));
        let id = self.write(event, key)?;
        fault::point("audit.written");
        self.settle(durability)?;
        fault::point("audit.synced");
        if let Some((nonce, expires)) = spent {
            self.index.spend(&nonce, expires)?;
        }
        self.index.commit()?;
        Ok(id)
    }

    /// The segment that is written, which is begun where there is none.
    fn chain(&mut self, key: &SigningKey) -> Result<Chain, AuditError> {
        if let Some(chain) = &self.end.chain {
            return Ok(chain.clone());
        }
        // Whoever closed the one before may have died before it was sealed.
        if let Some(closed) = self.end.closed.take() {
            let note = closed.checkpoint(key);
            self.files.seal(self.end.segment - 1, &note)?;
        }
        let bits = random::bits().map_err(AuditError::Random)?;
        let chain = Chain::start(LogId::from_random(bits), self.end.goes_on_from);
        self.extend(&chain, Event::new(EventKind::LogOpened), key)
    }

    fn write(&mut self, event: Event, key: &SigningKey) -> Result<AuditId, AuditError> {
        let chain = self.chain(key)?;
        self.extend(&chain, event, key)?;
        Ok(AuditId {
            log: chain.log().clone(),
            sequence: chain.records(),
        })
    }

    fn extend(
        &mut self,
        chain: &Chain,
        event: Event,
        key: &SigningKey,
    ) -> Result<Chain, AuditError> {
        let (line, chain) = chain.append(event, now_ms(), key)?;
        self.files.write(self.end.segment, &line)?;
        self.end.offset += line.len() as u64;
        self.end.chain = Some(chain.clone());
        Ok(chain)
    }

    /// Syncs what must be, or what is so much that it should be, and tells the index.
    fn settle(&mut self, durability: Durability) -> Result<(), AuditError> {
        let durable_bytes = match &self.durable {
            durable if durable.segment == self.end.segment => durable.offset,
            _ => 0,
        };
        let unsynced = self.end.offset - durable_bytes;
        if durability == Durability::Eventual && unsynced < UNSYNCED_BYTES {
            return Ok(());
        }
        // Its name, too, where nothing of it is known to be there.
        self.files.sync(self.end.segment, durable_bytes == 0)?;
        self.index.move_to(&self.end)?;
        self.durable = self.end.clone();
        Ok(())
    }

    /// Ends the segment that is written: its last record says so, and a checkpoint seals it.
    fn close(&mut self, key: &SigningKey) -> Result<Vec<u8>, AuditError> {
        self.write(Event::new(EventKind::LogClosed), key)?;
        self.settle(Durability::Durable)?;
        let chain = self.chain(key)?;
        let note = chain.checkpoint(key);
        self.files.seal(self.end.segment, &note)?;
        self.end = Position::after(self.end.segment, &chain);
        self.index.move_to(&self.end)?;
        self.durable = self.end.clone();
        let now = now_ms() / 1000;
        self.index.forget(now.saturating_sub(REMEMBERED_SECONDS))?;
        Ok(note)
    }
}

/// Seals this host's log as it stands.
pub fn seal(home: &Home) -> Result<Vec<u8>, crate::AdmissionError> {
    let key = crate::keys::host_signer(home)?;
    Ok(AuditLog::open(home)?.checkpoint(&key)?)
}

/// Closes the segment of this host's log that is written, and gives the checkpoint that seals it.
pub fn rotate(home: &Home) -> Result<Vec<u8>, crate::AdmissionError> {
    let key = crate::keys::host_signer(home)?;
    Ok(AuditLog::open(home)?.rotate(&key)?)
}

#[cfg(test)]
mod tests;
