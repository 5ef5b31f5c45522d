//! Why an archive is refused.

use std::io;

/// An archive that is broken or carries what is not supported.
///
/// Offsets count bytes of the (decompressed) archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The bytes could not be read or decompressed.
    #[error("failed to read the archive at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive ends inside an entry or without its end marker.
    #[error("the archive is truncated at byte {offset}, after entry `{after}`")]
    Truncated {
        /// The last entry whose header was complete.
        after: String,
        /// Where the bytes end.
        offset: u64,
    },
    /// A lone zero block stands between entries.
    #[error("the end marker at byte {offset} is followed by more entries")]
    EndMarker {
        /// Where the marker's second block should be.
        offset: u64,
    },
    /// A header's checksum does not match.
    #[error("the header at byte {offset} has a wrong checksum")]
    Checksum {
        /// Where.
        offset: u64,
    },
    /// A number in a header is malformed or out of range.
    #[error("the header at byte {offset} has an invalid `{field}`")]
    Number {
        /// Which field.
        field: &'static str,
        /// Where.
        offset: u64,
    },
    /// An extended header larger than allowed.
    #[error("the extended header at byte {offset} has {size} bytes, the limit is {limit}")]
    ExtensionSize {
        /// Where.
        offset: u64,
        /// Its size.
        size: u64,
        /// `Limits::header_bytes`.
        limit: u64,
    },
    /// An extended header that no entry follows.
    #[error("the extended header before byte {offset} belongs to no entry")]
    DanglingExtension {
        /// Where the entry should be.
        offset: u64,
    },
    /// The same extension stands twice before one entry.
    #[error("the header at byte {offset} repeats `{record}`")]
    RepeatedExtension {
        /// Which.
        record: String,
        /// Where.
        offset: u64,
    },
    /// A PAX record that does not follow the format, or has an invalid value.
    #[error("the extended header at byte {offset} has a malformed record `{record}`")]
    PaxRecord {
        /// Its key, or what of it could be read.
        record: String,
        /// Where the extended header is.
        offset: u64,
    },
    /// A PAX record whose meaning is not supported.
    #[error("the extended header at byte {offset} has an unsupported record `{record}`")]
    UnsupportedPaxRecord {
        /// Its key.
        record: String,
        /// Where the extended header is.
        offset: u64,
    },
    /// A sparse file.
    #[error("entry `{path}` is a sparse file")]
    Sparse {
        /// The entry.
        path: String,
    },
    /// A type flag that is not supported.
    #[error("entry `{path}` has unsupported type `{flag}`")]
    UnsupportedType {
        /// The entry.
        path: String,
        /// Its type flag, escaped.
        flag: String,
    },
    /// A file larger than allowed.
    #[error("entry `{path}` has {size} bytes, the limit for one file is {limit}")]
    FileSize {
        /// The entry.
        path: String,
        /// Its size.
        size: u64,
        /// `Limits::file_bytes`.
        limit: u64,
    },
    /// A link without a target.
    #[error("entry `{path}` is a link to nothing")]
    EmptyTarget {
        /// The entry.
        path: String,
    },
    /// Extended attributes larger than allowed.
    #[error("entry `{path}` has {size} bytes of extended attributes, the limit is {limit}")]
    XattrSize {
        /// The entry.
        path: String,
        /// Names and values together.
        size: usize,
        /// `Limits::xattr_bytes`.
        limit: usize,
    },
}

impl TarError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Truncated { .. } => Some("fetch or save the image again".into()),
            Self::Sparse { .. } => Some("build the layer without `tar --sparse`".into()),
            Self::FileSize { .. } | Self::XattrSize { .. } => {
                Some("keep large data out of the image and copy it into the sandbox".into())
            }
            _ => None,
        }
    }
}

/// Archive bytes as text that is safe to show on a terminal.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    // Long enough to recognise, whatever the archive claims.
    for character in String::from_utf8_lossy(bytes).chars().take(512) {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}
