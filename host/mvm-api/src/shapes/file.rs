//! Files.

use mvm_runtime::{FileEntry, FileKind, FileStatus};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

/// What a path is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Entry {
    name: String,
    /// `file`, `directory`, `symlink` or `other`.
    kind: &'static str,
    size: u64,
    /// Permission bits, octal.
    mode: String,
    modified_at_ms: i64,
    user_id: u32,
    group_id: u32,
    /// What a symlink holds.
    target: Option<String>,
}

impl Entry {
    pub(crate) fn new(name: String, status: FileStatus) -> Self {
        Self {
            name,
            kind: match status.kind {
                FileKind::File => "file",
                FileKind::Directory => "directory",
                FileKind::Symlink => "symlink",
                _ => "other",
            },
            size: status.size,
            mode: format!("{:o}", status.mode),
            modified_at_ms: status.modified_ns.div_euclid(1_000_000),
            user_id: status.user_id,
            group_id: status.group_id,
            target: status.link_target,
        }
    }
}

impl From<FileEntry> for Entry {
    fn from(FileEntry { name, status }: FileEntry) -> Self {
        Self::new(name, status)
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryList {
    pub(crate) items: Vec<Entry>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadQuery {
    /// Absolute.
    pub(crate) path: String,
    /// From which byte on; 0.
    #[serde(default)]
    pub(crate) offset: u64,
    /// At most so many bytes; all.
    #[serde(default)]
    pub(crate) length: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WriteQuery {
    /// Absolute.
    pub(crate) path: String,
    /// Permission bits, octal; those it has, or 644.
    #[serde(default)]
    pub(crate) mode: Option<String>,
    /// Make missing parent directories.
    #[serde(default)]
    pub(crate) make_parents: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RemoveQuery {
    /// Absolute.
    pub(crate) path: String,
    /// A directory with all in it.
    #[serde(default)]
    pub(crate) recursive: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatQuery {
    /// Absolute.
    pub(crate) path: String,
    /// What a symlink leads to, not itself.
    #[serde(default)]
    pub(crate) follow: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Absolute.
    pub(crate) path: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MakeDirectoryRequest {
    /// Absolute.
    pub(crate) path: String,
    /// Permission bits, octal; 755.
    #[serde(default)]
    pub(crate) mode: Option<String>,
    /// Make missing parents, and take one that is there for made; true.
    #[serde(default = "yes")]
    pub(crate) parents: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameRequest {
    /// Absolute.
    pub(crate) from: String,
    /// Absolute; what is there is replaced.
    pub(crate) to: String,
}

/// Permission bits as they are written.
pub(crate) fn mode(text: Option<&str>) -> Result<Option<u32>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(Some(mode)),
        _ => Err(Problem::invalid("`mode` is not permission bits in octal").hint("such as `644`")),
    }
}
