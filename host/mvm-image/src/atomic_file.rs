//! Files that are either absent, old or complete, whenever a process dies.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Starts the name of a file that is being written.
const UNFINISHED: &str = ".unfinished-";

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{path}`")]
pub struct WriteFileError {
    /// The file.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

/// Writes `bytes` to `directory/name` with the permission bits `mode`, replacing what was there in
/// one step that survives a power failure.
pub(crate) fn write_file(
    directory: &Path,
    name: &str,
    mode: u32,
    bytes: &[u8],
) -> Result<(), WriteFileError> {
    let path = directory.join(name);
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(directory)?;
        file.write_all(bytes)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|source| WriteFileError {
        path: path.clone(),
        source,
    })
}

/// Removes what writers that died left in `directory`. The caller holds the lock under which all
/// writers of that directory work. What cannot be removed is tried again next time.
pub(crate) fn remove_abandoned(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(UNFINISHED.as_bytes())
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}
