//! Where a log stands, for whoever appends to it.

use serde::{Deserialize, Serialize};

use super::{Checkpoint, Event, Frontier, LogId, RECORD_VERSION, Record};
use crate::{
    Digest, SigningKey,
    canonical::{self, WriteError},
};

/// The end of a log: all that its next record depends on. Its size grows with the logarithm of the
/// log's, so that appending costs the same however long the log is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    log: LogId,
    previous: Digest,
    frontier: Frontier,
}

impl Chain {
    /// A new log, which goes on from the one whose last record has the digest `previous`.
    #[must_use]
    pub fn start(log: LogId, previous: Option<Digest>) -> Self {
        Self {
            log,
            previous: previous.unwrap_or(Digest::from_bytes([0; 32])),
            frontier: Frontier::default(),
        }
    }

    /// The log.
    #[must_use]
    pub const fn log(&self) -> &LogId {
        &self.log
    }

    /// How many records it has.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.frontier.size()
    }

    /// Digest of its last record.
    #[must_use]
    pub const fn last(&self) -> Digest {
        self.previous
    }

    /// The line, with its line feed, that records `event` next, and the log as it stands with it.
    /// The log is at the new end only when the line is durable: until then keep this one.
    pub fn append(
        &self,
        event: Event,
        time_ms: u64,
        key: &SigningKey,
    ) -> Result<(Vec<u8>, Self), WriteError> {
        let record = Record {
            version: RECORD_VERSION,
            log: self.log.clone(),
            sequence: self.records(),
            previous: self.previous,
            time_ms,
            event,
        };
        let bytes = record.to_bytes()?;
        let mut line = canonical::to_bytes(&record.sign(key)?)?;
        line.push(b'\n');
        let mut next = self.clone();
        next.step(&bytes);
        Ok((line, next))
    }

    /// The log with a record that was read from it, if that is the one that comes next. Whether
    /// its signature holds is another question.
    #[must_use]
    pub fn follow(mut self, record: &Record) -> Option<Self> {
        let comes_next = record.log == self.log
            && record.sequence == self.records()
            && record.previous == self.previous;
        let bytes = record.to_bytes().ok()?;
        comes_next.then(|| {
            self.step(&bytes);
            self
        })
    }

    /// Seals the log as it stands.
    #[must_use]
    pub fn checkpoint(&self, key: &SigningKey) -> Vec<u8> {
        Checkpoint {
            log: self.log.clone(),
            size: self.records(),
            root: self.frontier.root(),
        }
        .seal(key)
    }

    /// Goes on over one record of these canonical bytes.
    pub(super) fn step(&mut self, record: &[u8]) {
        self.previous = Digest::of(record);
        self.frontier.push(record);
    }

    /// The root of all records so far.
    pub(super) fn root(&self) -> Digest {
        self.frontier.root()
    }
}
