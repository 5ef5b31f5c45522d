//! What became of a log, read off its bytes, one checkpoint and the trust roots.

use std::collections::BTreeMap;

use super::{Chain, Checkpoint, Record, SignedRecord};
use crate::{
    Digest,
    trust::{KeyStanding, TrustRoots},
};

/// What is to be said of a log: the first that holds, in the order of [`verify_log`]: each line, the
/// order of all, the checkpoint, the chain, the end. Lines count from 1, sequence numbers from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogVerdict {
    /// A line is not what was signed, or is no record at all.
    Edited {
        /// The first such line.
        line: u64,
    },
    /// A record is signed by a key that was not trusted for records at its time.
    Untrusted {
        /// The first such line.
        line: u64,
    },
    /// There are two histories: two records of one place, of two logs, or a record that does not
    /// name the one before it, or other records than those that were sealed.
    Forked {
        /// The first place where they part.
        sequence: u64,
    },
    /// All records may be there, and are not in their order.
    Reordered {
        /// The first line out of its place.
        line: u64,
    },
    /// Records are missing before others.
    Removed {
        /// The first that is missing.
        sequence: u64,
    },
    /// The checkpoint is not one of this log by a trusted key.
    CheckpointInvalid,
    /// Records at the end are missing, or the last line is not whole.
    Truncated {
        /// How many whole records there are.
        records: u64,
        /// How many were sealed.
        sealed: u64,
    },
    /// All is in order, and records at the end are not sealed: they could be taken away unseen.
    Unsealed {
        /// How many records there are.
        records: u64,
        /// How many of them are sealed.
        sealed: u64,
    },
    /// All is in order, and sealed to the last record.
    Intact {
        /// How many records there are.
        records: u64,
        /// Digest of the last.
        last: Digest,
    },
}

impl LogVerdict {
    /// The verdict as it is written in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Edited { .. } => "edited",
            Self::Untrusted { .. } => "untrusted",
            Self::Forked { .. } => "forked",
            Self::Reordered { .. } => "reordered",
            Self::Removed { .. } => "removed",
            Self::CheckpointInvalid => "checkpoint-invalid",
            Self::Truncated { .. } => "truncated",
            Self::Unsealed { .. } => "unsealed",
            Self::Intact { .. } => "intact",
        }
    }
}

/// A record whose signature holds.
struct Verified {
    record: Record,
    bytes: Vec<u8>,
}

/// Verifies a whole log, with the newest checkpoint of it that its reader has. A checkpoint that
/// was kept elsewhere proves more than one kept beside the log.
#[must_use]
pub fn verify_log(log: &[u8], checkpoint: Option<&[u8]>, roots: &TrustRoots) -> LogVerdict {
    verdict(log, checkpoint, roots, None).unwrap_or_else(|verdict| verdict)
}

/// Verifies a log that goes on from another, whose last record has the digest `previous`: in a log
/// of several segments, all but the last must be intact, and each go on from the one before. What
/// goes on from something else is [`LogVerdict::Removed`] from its beginning.
#[must_use]
pub fn verify_continuation(
    log: &[u8],
    checkpoint: Option<&[u8]>,
    roots: &TrustRoots,
    previous: Digest,
) -> LogVerdict {
    verdict(log, checkpoint, roots, Some(previous)).unwrap_or_else(|verdict| verdict)
}

/// The verdict; as an error where the steps after it need not be taken.
fn verdict(
    log: &[u8],
    checkpoint: Option<&[u8]>,
    roots: &TrustRoots,
    previous: Option<Digest>,
) -> Result<LogVerdict, LogVerdict> {
    let mut records = Vec::new();
    let mut torn = false;
    for (index, line) in log.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match line.strip_suffix(b"\n") {
            Some(line) => records.push(verify_line(line, index as u64 + 1, roots)?),
            // What follows the last line feed is a line that was not finished.
            None => torn = true,
        }
    }
    check_order(&records)?;
    if let (Some(previous), Some(first)) = (previous, records.first())
        && first.record.previous != previous
    {
        return Err(LogVerdict::Removed { sequence: 0 });
    }

    let count = records.len() as u64;
    let sealed = match checkpoint {
        Some(note) => Some(open_checkpoint(note, &records, roots)?),
        None => None,
    };
    let sealed_size = sealed.as_ref().map_or(0, |sealed| sealed.size);
    let truncated = LogVerdict::Truncated {
        records: count,
        sealed: sealed_size,
    };
    if sealed_size > count {
        return Err(truncated);
    }
    let chain = check_chain(&records, sealed.as_ref())?;
    if torn {
        return Err(truncated);
    }
    if sealed.is_none() || sealed_size < count {
        return Ok(LogVerdict::Unsealed {
            records: count,
            sealed: sealed_size,
        });
    }
    Ok(LogVerdict::Intact {
        records: count,
        last: chain.map_or(Digest::from_bytes([0; 32]), |chain| chain.last()),
    })
}

fn verify_line(line: &[u8], number: u64, roots: &TrustRoots) -> Result<Verified, LogVerdict> {
    let edited = LogVerdict::Edited { line: number };
    let Some(signed) = SignedRecord::read(line) else {
        return Err(edited);
    };
    let time = signed.record.time_ms / 1000;
    let key = roots
        .key(signed.key)
        .filter(|key| key.role.signs_records() && key.standing(time) == KeyStanding::Valid)
        .ok_or(LogVerdict::Untrusted { line: number })?;
    match signed.verified_bytes(&key.public_key) {
        Some(bytes) => Ok(Verified {
            record: signed.record,
            bytes,
        }),
        None => Err(edited),
    }
}

/// Checks that the records are all those of one log, in their order.
fn check_order(records: &[Verified]) -> Result<(), LogVerdict> {
    let Some(first) = records.first() else {
        return Ok(());
    };
    let mut places: BTreeMap<u64, &[u8]> = BTreeMap::new();
    for Verified { record, bytes } in records {
        let sequence = record.sequence;
        let twin = places.insert(sequence, bytes);
        if record.log != first.record.log || twin.is_some_and(|twin| twin != bytes) {
            return Err(LogVerdict::Forked { sequence });
        }
    }
    let ascending = |pair: &[Verified]| pair[0].record.sequence < pair[1].record.sequence;
    if let Some(index) = records.windows(2).position(|pair| !ascending(pair)) {
        let line = index as u64 + 2;
        return Err(LogVerdict::Reordered { line });
    }
    let expected = 0_u64..;
    for (record, sequence) in records.iter().zip(expected) {
        if record.record.sequence != sequence {
            return Err(LogVerdict::Removed { sequence });
        }
    }
    Ok(())
}

fn open_checkpoint(
    note: &[u8],
    records: &[Verified],
    roots: &TrustRoots,
) -> Result<Checkpoint, LogVerdict> {
    // A checkpoint has no time of its own; it was made after the records that it seals.
    let last = records.last().map(|last| &last.record);
    let keys = roots.keys.iter().filter(|key| {
        let believed = |last: &Record| key.standing(last.time_ms / 1000) == KeyStanding::Valid;
        key.role.signs_records() && last.is_none_or(believed)
    });
    match Checkpoint::open(note, keys.map(|key| &key.public_key)) {
        Ok((checkpoint, _)) if last.is_none_or(|last| last.log == checkpoint.log) => Ok(checkpoint),
        _ => Err(LogVerdict::CheckpointInvalid),
    }
}

/// Checks that each record names the one before, and that the sealed ones are those sealed.
fn check_chain(
    records: &[Verified],
    sealed: Option<&Checkpoint>,
) -> Result<Option<Chain>, LogVerdict> {
    let Some(Verified { record: first, .. }) = records.first() else {
        return Ok(None);
    };
    let mut chain = Chain::start(first.log.clone(), Some(first.previous));
    for Verified { record, bytes } in records {
        let sequence = record.sequence;
        if record.previous != chain.last() {
            return Err(LogVerdict::Forked { sequence });
        }
        chain.step(bytes);
        if let Some(sealed) = sealed
            && sealed.size == chain.records()
            && sealed.root != chain.root()
        {
            return Err(LogVerdict::Forked { sequence });
        }
    }
    Ok(Some(chain))
}

#[cfg(test)]
mod tests;
