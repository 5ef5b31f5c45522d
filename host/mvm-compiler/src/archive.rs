//! Archives whose bytes depend on nothing but what is in them.

use std::io::Write;

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// The name of the workload's document in an archive.
pub const WORKLOAD_FILE: &str = "workload.json";

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveEntry {
    /// Its path: relative, with `/`, without `.` and `..`.
    pub path: String,
    /// Its bytes.
    pub content: Vec<u8>,
    /// Whether it can be executed.
    pub executable: bool,
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A path leads out of the archive, or is of another form.
    #[error("`{path}` is not a plain relative path")]
    Path {
        /// The path.
        path: String,
    },
    /// Two entries have one path.
    #[error("there are two entries `{path}`")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// An entry could not be written.
    #[error("failed to write entry `{path}`")]
    Entry {
        /// The entry.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The end could not be written.
    #[error("failed to end the archive")]
    End(#[source] std::io::Error),
}

/// A `.tgz` (POSIX tar in gzip, RFC 1952) of files. Equal files give equal bytes: they are in the
/// order of their paths, of time 0 and of user 0, and the header of gzip names no time, file or
/// system.
///
/// # Errors
///
/// [`ArchiveError`].
pub fn archive(entries: &[ArchiveEntry]) -> Result<Vec<u8>, ArchiveError> {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by(|left, right| left.path.cmp(&right.path));
    for pair in entries.windows(2) {
        if let [left, right] = pair
            && left.path == right.path
        {
            let path = left.path.clone();
            return Err(ArchiveError::Duplicate { path });
        }
    }
    // System 255 is "unknown" (RFC 1952, section 2.3.1).
    let gzip = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Vec::new(), Compression::new(6));
    let mut builder = Builder::new(gzip);
    for entry in entries {
        append(&mut builder, entry)?;
    }
    let gzip = builder.into_inner().map_err(ArchiveError::End)?;
    gzip.finish().map_err(ArchiveError::End)
}

fn append(builder: &mut Builder<impl Write>, entry: &ArchiveEntry) -> Result<(), ArchiveError> {
    let path = entry.path.clone();
    let plain = !path.is_empty()
        && !path.contains(['\0', '\\'])
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !plain {
        return Err(ArchiveError::Path { path });
    }
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(entry.content.len() as u64);
    header.set_mode(if entry.executable { 0o755 } else { 0o644 });
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    let appended = builder.append_data(&mut header, &path, entry.content.as_slice());
    appended.map_err(|source| ArchiveError::Entry { path, source })
}
