//! The one writer of this host's audit log, and the ledger of spent plans in it.
//!
//! ```text
//! audit/log.jsonl     the log: the truth, synced for every record that authorizes something
//! audit/checkpoint    the newest checkpoint of it
//! audit/index.db      where the log ends, and which nonces are spent: all read off the log
//! ```
//!
//! The index is never synced. After a loss of power it is as it was at some earlier time, whole
//! (SQLite's write-ahead log), and catches up from the log; without it, it is made anew. Its write
//! lock is the one under which processes append. So a nonce is spent exactly when the record that
//! holds it is durable, which is before anybody is told.

mod index;

use std::{
    fmt, fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use mvm_admission::ReplayView;
use mvm_contract::{
    Coded, ErrorCode, SigningKey,
    audit::{Chain, Event, EventKind, LogId, SignedRecord},
    canonical::WriteError,
};

use crate::{durable, fault, home::Home, random, record::now_ms};
use index::{Index, Position};

const LOG: &str = "log.jsonl";
const CHECKPOINT: &str = "checkpoint";

/// Why the audit log cannot be written. What cannot be recorded is not done.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file of the log cannot be read or written.
    #[error("failed to {doing} `{}`", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The index cannot be used.
    #[error("failed to use the index of the audit log, `{}`", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A line of the log is no record that follows the one before it.
    #[error("line {line} of `{}` is not a record that follows the one before it", path.display())]
    Broken {
        /// The log.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// The log is shorter than it was.
    #[error("`{}` has lost records", path.display())]
    Shortened {
        /// The log.
        path: PathBuf,
    },
    /// A record cannot be written down.
    #[error("a record cannot be written")]
    Record(#[from] WriteError),
    /// There is no randomness for a new log's identifier.
    #[error("failed to read the host's random source")]
    Random(#[source] io::Error),
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
    folder: PathBuf,
    index: Index,
}

/// The log while this process alone appends to it. Dropped, it is as it was.
pub(crate) struct Transaction<'a> {
    index: index::Transaction<'a>,
    folder: &'a Path,
    file: fs::File,
    position: Position,
}

impl AuditLog {
    pub(crate) fn open(home: &Home) -> Result<Self, AuditError> {
        let folder = home.audit();
        let index = Index::open(&folder)?;
        Ok(Self { folder, index })
    }

    /// Waits until no other process appends, and reads what others have appended.
    pub(crate) fn transaction(&mut self) -> Result<Transaction<'_>, AuditError> {
        let path = self.folder.join(LOG);
        let mut options = fs::OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let index = self.index.begin()?;
        let file = options.open(&path).map_err(failed("open", &path))?;
        let (index, position) = index.catch_up(&file, &path)?;
        Ok(Transaction {
            index,
            folder: &self.folder,
            file,
            position,
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
        let transaction = self.transaction()?;
        let path = transaction.folder.join(LOG);
        // What is sealed is there.
        let synced = transaction.file.sync_data();
        synced.map_err(failed("sync", &path))?;
        let chain = match &transaction.position.chain {
            Some(chain) => chain.clone(),
            None => Chain::start(new_log()?, None),
        };
        let note = chain.checkpoint(key);
        let path = transaction.folder.join(CHECKPOINT);
        durable::replace(&path, &note).map_err(failed("write", &path))?;
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
    /// Appends a record, after which others may. The first of a log says that it begins.
    pub(crate) fn append(
        mut self,
        event: Event,
        key: &SigningKey,
        durability: Durability,
    ) -> Result<AuditId, AuditError> {
        let path = self.folder.join(LOG);
        let time = now_ms();
        let (mut bytes, chain) = match self.position.chain.take() {
            Some(chain) => (Vec::new(), chain),
            None => {
                let chain = Chain::start(new_log()?, None);
                let opened = Event::new(EventKind::LogOpened);
                chain.append(opened, time, key)?
            }
        };
        let id = AuditId {
            log: chain.log().clone(),
            sequence: chain.records(),
        };
        let spent = event.nonce.clone();
        let (line, chain) = chain.append(event, time, key)?;
        bytes.extend(line);
        // In one write: whoever dies leaves all of it, or a line that is cut off.
        let written = io::Write::write_all(&mut self.file, &bytes);
        written.map_err(failed("write", &path))?;
        fault::point("audit.written");
        if durability == Durability::Durable {
            let synced = self.file.sync_data();
            synced.map_err(failed("sync", &path))?;
            if self.position.offset == 0 {
                // The file's name, too.
                let folder = fs::File::open(self.folder).and_then(|folder| folder.sync_all());
                folder.map_err(failed("sync", self.folder))?;
            }
        }
        fault::point("audit.synced");
        if let Some(nonce) = spent {
            self.index.spend(&nonce)?;
        }
        let offset = self.position.offset + bytes.len() as u64;
        let chain = Some(chain);
        self.index.move_to(&Position { offset, chain })?;
        self.index.commit()?;
        Ok(id)
    }
}

/// Seals this host's log as it stands.
pub fn seal(home: &Home) -> Result<Vec<u8>, crate::AdmissionError> {
    let key = crate::keys::host_signer(home)?;
    Ok(AuditLog::open(home)?.checkpoint(&key)?)
}

/// The file of this host's log, and that of its newest checkpoint.
#[must_use]
pub fn files(home: &Home) -> [PathBuf; 2] {
    [LOG, CHECKPOINT].map(|name| home.audit().join(name))
}

/// Reads one line that comes next in a log.
fn step(chain: Option<Chain>, line: &[u8]) -> Option<(Chain, Option<String>)> {
    let record = SignedRecord::read(line)?.record;
    let chain = match chain {
        Some(chain) => chain,
        None => Chain::start(record.log.clone(), None),
    };
    let nonce = record.event.nonce.clone();
    Some((chain.follow(&record)?, nonce))
}

fn new_log() -> Result<LogId, AuditError> {
    let bits = random::bits().map_err(AuditError::Random)?;
    Ok(LogId::from_random(bits))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::File {
        doing,
        path,
        source,
    }
}

#[cfg(test)]
mod tests;
