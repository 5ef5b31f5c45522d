//! Canonical JSON (RFC 8785) and the one strict reader of documents.
//!
//! A document that is signed or digested has one encoding: its bytes are compared, never its
//! meaning. The reader takes no other bytes than those the writer would write, so that two readers
//! cannot understand one document differently.
//!
//! Narrower than RFC 8785: numbers are integers that a double holds exactly (RFC 7493, section
//! 2.2). None of our documents has another.

mod strict;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The deepest nesting of arrays and objects that is read.
pub const MAX_DEPTH: usize = 16;
/// The largest integer that every JSON reader understands alike: 2^53 - 1 (RFC 7493).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Why a value has no canonical bytes: it holds a number that is not finite, or a map whose keys
/// are not texts.
#[derive(Debug, thiserror::Error)]
#[error("failed to write canonical JSON")]
pub struct WriteError(#[source] serde_json::Error);

/// Why bytes are not a document. The texts repeat no value of the document, only names of fields.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is too large to be looked at.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// The most that are read.
        limit: usize,
    },
    /// It is not UTF-8.
    #[error("not UTF-8 at byte {position}")]
    NotUtf8 {
        /// Where it stops being UTF-8.
        position: usize,
    },
    /// It is not JSON, or something follows the JSON.
    #[error("not one JSON document at line {line}, column {column}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// It is nested too deeply.
    #[error("nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// An object has a key twice; readers disagree on which counts.
    #[error("key `{key}` stands twice in one object")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A number is not an integer that a double holds exactly.
    #[error("a number is a fraction, has an exponent or is beyond 2^53")]
    NotAnInteger,
    /// The same document has other canonical bytes.
    #[error("not the canonical bytes (RFC 8785), first at byte {position}")]
    NotCanonical {
        /// Where the bytes differ from the canonical ones.
        position: usize,
    },
}

/// Why a document is not of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A field that the type does not have.
    #[error("field `{path}` is not known")]
    UnknownField {
        /// Where it is.
        path: String,
    },
    /// A field is missing, or a value does not have its form.
    #[error("`{path}` lacks a field or does not have its form")]
    Form {
        /// Where it is; `.` is the whole document.
        path: String,
    },
    /// A field says what leaving it out says, or is left out where it must be written.
    #[error("a field is written that must be left out, or the other way round")]
    NotOneForm,
}

/// The canonical bytes (RFC 8785) of a value.
pub fn to_bytes(value: &impl Serialize) -> Result<Vec<u8>, WriteError> {
    serde_json_canonicalizer::to_vec(value).map_err(WriteError)
}

/// A document that was read strictly, not yet of a type.
#[derive(Debug, Clone, PartialEq)]
pub struct Document(Value);

impl Document {
    /// Reads JSON whose bytes need not be canonical: what people and other programs wrote.
    pub fn read(bytes: &[u8], limit: usize) -> Result<Self, ReadError> {
        if bytes.len() > limit {
            return Err(ReadError::TooLarge { limit });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| ReadError::NotUtf8 {
            position: error.valid_up_to(),
        })?;
        strict::parse(text).map(Self)
    }

    /// Reads JSON and refuses all bytes but the canonical ones.
    pub fn read_canonical(bytes: &[u8], limit: usize) -> Result<Self, ReadError> {
        let document = Self::read(bytes, limit)?;
        // A value that was read is finite and has text keys; were it not so, it would not be
        // canonical either.
        let canonical = to_bytes(&document.0).unwrap_or_default();
        if canonical != bytes {
            let same = canonical.iter().zip(bytes).take_while(|(a, b)| a == b);
            return Err(ReadError::NotCanonical {
                position: same.count(),
            });
        }
        Ok(document)
    }

    /// The integer in a field of the outermost object.
    #[must_use]
    pub fn integer(&self, field: &str) -> Option<u64> {
        self.0.get(field).and_then(Value::as_u64)
    }

    /// The document as a value of a type that refuses unknown fields.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, ShapeError> {
        serde_path_to_error::deserialize(self.0).map_err(|error| {
            let path = error.path().to_string();
            // serde gives no kind of error but in its text, whose beginning is its own: it never
            // begins with what the document holds. Tests hold this to be so.
            if error.inner().to_string().starts_with("unknown field `") {
                ShapeError::UnknownField { path }
            } else {
                ShapeError::Form { path }
            }
        })
    }

    /// The document as a value of a type, refused unless the value's own bytes are the document's:
    /// then no field is written as `null` or left out to be given a default.
    pub fn decode_exactly<T: DeserializeOwned + Serialize>(self) -> Result<T, ShapeError> {
        let before = self.0.clone();
        let value: T = self.decode()?;
        match serde_json::to_value(&value) {
            Ok(after) if after == before => Ok(value),
            _ => Err(ShapeError::NotOneForm),
        }
    }
}

#[cfg(test)]
mod tests;
