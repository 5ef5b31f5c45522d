//! Checkpoints: C2SP `tlog-checkpoint`, a signed note (C2SP `signed-note`) with one signature.
//!
//! ```text
//! mvm-audit/LOG          the origin, which is also the key's name
//! 12                     how many records
//! BASE64                 root of their tree
//!                        (an empty line)
//! — mvm-audit/LOG BASE64(4 bytes of key hash || Ed25519 signature of all above the empty line)
//! ```

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use super::LogId;
use crate::{Digest, PublicKey, SigningKey};

/// What every origin begins with.
const ORIGIN_PREFIX: &str = "mvm-audit/";
/// What marks a signature's line: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";
/// Ed25519 in signed notes.
const ALGORITHM: u8 = 1;
/// The longest checkpoint that is looked at, in bytes.
const MAX_BYTES: usize = 1024;

/// How many records a log has, and the root of their tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log.
    pub log: LogId,
    /// How many records.
    pub size: u64,
    /// Root of their tree (RFC 6962).
    pub root: Digest,
}

/// Why bytes are no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// They are not a note of one log with one signature.
    #[error("not a checkpoint of an audit log")]
    Form,
    /// None of the keys signed them.
    #[error("no trusted key signed the checkpoint")]
    Signature,
}

impl Checkpoint {
    /// The signed note.
    #[must_use]
    pub fn seal(&self, key: &SigningKey) -> Vec<u8> {
        let body = self.body();
        let origin = origin(&self.log);
        let mut signature = key_hash(&origin, &key.public_key()).to_vec();
        signature.extend_from_slice(&key.sign(body.as_bytes()));
        let signature = STANDARD.encode(signature);
        format!("{body}\n{SIGNATURE_MARK}{origin} {signature}\n").into_bytes()
    }

    /// The log that a note says it seals. Whether a trusted key signed it is another question.
    #[must_use]
    pub fn claimed_log(note: &[u8]) -> Option<LogId> {
        Self::read(note).map(|(checkpoint, ..)| checkpoint.log)
    }

    /// Reads a note that one of `keys` signed, and says which.
    pub fn open<'a>(
        note: &[u8],
        keys: impl IntoIterator<Item = &'a PublicKey>,
    ) -> Result<(Self, &'a PublicKey), CheckpointError> {
        let (checkpoint, hash, signature) = Self::read(note).ok_or(CheckpointError::Form)?;
        let (body, origin) = (checkpoint.body(), origin(&checkpoint.log));
        // Four bytes of hash pick candidates; only the signature decides.
        let key = keys
            .into_iter()
            .filter(|key| key_hash(&origin, key) == hash)
            .find(|key| key.verifies(body.as_bytes(), &signature))
            .ok_or(CheckpointError::Signature)?;
        Ok((checkpoint, key))
    }

    /// The checkpoint, the hash of the key it names, and the signature.
    fn read(note: &[u8]) -> Option<(Self, [u8; 4], [u8; 64])> {
        if note.len() > MAX_BYTES {
            return None;
        }
        let text = std::str::from_utf8(note).ok()?;
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let log = lines.next()?.strip_prefix(ORIGIN_PREFIX)?;
        let log = LogId::try_from(log.to_owned()).ok()?;
        let checkpoint = Self {
            size: lines.next()?.parse().ok()?,
            root: Digest::from_bytes(STANDARD.decode(lines.next()?).ok()?.try_into().ok()?),
            log,
        };
        // What is signed is the one way to write it: no sign, no leading zero.
        if !text.starts_with(&checkpoint.body()) || !lines.next()?.is_empty() {
            return None;
        }
        let (name, signature) = lines
            .next()?
            .strip_prefix(SIGNATURE_MARK)?
            .split_once(' ')?;
        let signature = STANDARD.decode(signature).ok()?;
        let (hash, signature) = signature.split_first_chunk::<4>()?;
        let signature = <[u8; 64]>::try_from(signature).ok()?;
        let only = name == origin(&checkpoint.log) && lines.next().is_none();
        only.then_some((checkpoint, *hash, signature))
    }

    fn body(&self) -> String {
        let root = STANDARD.encode(self.root.as_bytes());
        format!("{}\n{}\n{root}\n", origin(&self.log), self.size)
    }
}

fn origin(log: &LogId) -> String {
    format!("{ORIGIN_PREFIX}{}", log.as_str())
}

/// The key's hash in signed notes, which depends on the name it signs under.
fn key_hash(name: &str, key: &PublicKey) -> [u8; 4] {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update([b'\n', ALGORITHM]);
    hash.update(key.as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    [hash[0], hash[1], hash[2], hash[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[5; 32])
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            log: LogId::from_random(10),
            size: 12,
            root: Digest::of(b"root"),
        }
    }

    #[test]
    fn a_note_opens_with_the_key_that_signed_it() {
        let note = checkpoint().seal(&key());
        let other = SigningKey::from_seed(&[6; 32]).public_key();
        let public = key().public_key();
        assert_eq!(
            Checkpoint::open(&note, [&other, &public]),
            Ok((checkpoint(), &public))
        );
        assert_eq!(
            Checkpoint::open(&note, [&other]),
            Err(CheckpointError::Signature)
        );
    }

    #[test]
    fn a_note_has_one_form() {
        let note = String::from_utf8(checkpoint().seal(&key())).unwrap();
        let keys = [key().public_key()];
        for (from, to, expected) in [
            ("\n12\n", "\n13\n", CheckpointError::Signature),
            ("\n12\n", "\n+12\n", CheckpointError::Form),
            ("\n12\n", "\n012\n", CheckpointError::Form),
            ("\n\n", "\nextension\n\n", CheckpointError::Form),
            ("\u{2014} mvm", "\u{2014} nvm", CheckpointError::Form),
            ("\u{2014}", "-", CheckpointError::Form),
            ("mvm-audit/0", "mvm-audit/g", CheckpointError::Form),
        ] {
            let damaged = note.replacen(from, to, 1);
            assert_ne!(damaged, note);
            let opened = Checkpoint::open(damaged.as_bytes(), &keys);
            assert_eq!(opened, Err(expected), "{to:?}");
        }
        for damaged in [
            note.trim_end().to_owned(),
            format!("{note}\n"),
            note.repeat(20),
        ] {
            let opened = Checkpoint::open(damaged.as_bytes(), &keys);
            assert_eq!(opened, Err(CheckpointError::Form));
        }
    }
}
