//! Files that are written together or not at all.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::InitError;

/// What was made; it is removed again unless all was.
#[derive(Default)]
struct Made {
    files: Vec<PathBuf>,
    /// The outermost last.
    directories: Vec<PathBuf>,
}

impl Drop for Made {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        // One that somebody else has put something into stays.
        for directory in &self.directories {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Makes a directory with files that are not there yet: each is written beside its place, and put
/// there whole once all are written.
pub(super) fn write(directory: &Path, files: &[(&str, String)]) -> Result<(), InitError> {
    let mut made = Made::default();
    made.directories = directory
        .ancestors()
        .take_while(|it| *it != Path::new("") && !it.exists())
        .map(Path::to_owned)
        .collect();
    fs::create_dir_all(directory).map_err(|source| InitError::MakeDirectory {
        path: directory.to_owned(),
        source,
    })?;
    let mut staged = Vec::new();
    for (name, text) in files {
        let path = directory.join(name);
        let file = stage(directory, text).map_err(|source| InitError::Write {
            path: path.clone(),
            source,
        })?;
        staged.push((path, file));
    }
    for (path, file) in staged {
        match file.persist_noclobber(&path) {
            Ok(_) => made.files.push(path),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(InitError::Exists { path });
            }
            Err(error) => {
                let source = error.error;
                return Err(InitError::Write { path, source });
            }
        }
    }
    // All of it is there, and stays.
    std::mem::take(&mut made.files);
    std::mem::take(&mut made.directories);
    Ok(())
}

/// A file that is gone unless it is put somewhere, with the rights that the user's files have.
fn stage(directory: &Path, text: &str) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_whole_leaves_nothing_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("outer/inner");
        let files = |last: &'static str| [("a", "1".to_owned()), (last, "2".to_owned())];
        let failed = write(&new, &files("missing/b")).unwrap_err();
        assert!(matches!(failed, InitError::Write { path, .. } if path.ends_with("missing/b")));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

        // Somebody puts a file there after it was looked for.
        fs::create_dir_all(&new).unwrap();
        fs::write(new.join("b"), "mine").unwrap();
        let failed = write(&new, &files("b")).unwrap_err();
        assert!(matches!(failed, InitError::Exists { path } if path.ends_with("b")));
        let left: Vec<_> = fs::read_dir(&new).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(fs::read_to_string(new.join("b")).unwrap(), "mine");

        write(&folder.path().join("all"), &files("b")).unwrap();
        let mode = fs::metadata(folder.path().join("all/a")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o600, 0o600);
        assert_eq!(fs::read_dir(folder.path().join("all")).unwrap().count(), 2);
    }

    #[test]
    fn a_file_in_the_way_of_the_directory_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let failed = write(&folder.path().join("file/inner"), &[]).unwrap_err();
        assert!(matches!(failed, InitError::MakeDirectory { .. }));
    }
}
