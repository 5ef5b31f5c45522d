//! Where a tree from a guest is written on the host.
//!
//! Every path below the target is opened with `openat2(2)` and `RESOLVE_BENEATH |
//! RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS`: a symlink that the guest sent, or that lay in
//! the target before, is never followed.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use mvm_wire::{FileKind, TreeEntry};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps},
    io::Errno,
};

use super::{ClientError, components, host_file};
use crate::client::{FileKind as Kind, FileStatus};

/// A file or directory of this host that is being copied out of a guest, entry by entry: each
/// begins, a file's bytes follow and end, and the whole is finished. Nothing is written outside
/// the target, whatever the guest says.
#[derive(Debug)]
pub struct HostTarget {
    /// The directory the target lies in.
    parent: OwnedFd,
    /// The target, for messages and as the name in `parent`.
    path: PathBuf,
    name: PathBuf,
    file: Option<OpenFile>,
    /// Directories get their modes and times when all in them is there.
    directories: Vec<(PathBuf, u32, i64)>,
}

#[derive(Debug)]
struct OpenFile {
    content: File,
    directory: OwnedFd,
    temporary: PathBuf,
    name: PathBuf,
    /// The target's path, for messages.
    path: PathBuf,
    mode: u32,
    modified_nanoseconds: i64,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // Still here: the file did not become complete.
        let _ = rustix::fs::unlinkat(&self.directory, &self.temporary, AtFlags::empty());
    }
}

impl HostTarget {
    /// The target of exactly this path, whose parent must exist.
    pub fn new(path: &Path) -> Result<Self, ClientError> {
        let invalid = || host_file("name a file by", path)(io::ErrorKind::InvalidInput.into());
        let name = PathBuf::from(path.file_name().ok_or_else(invalid)?);
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::openat(CWD, parent, flags, Mode::empty())
            .map_err(|error| host_file("open directory", parent)(error.into()))?;
        Ok(Self {
            parent,
            path: path.to_owned(),
            name,
            file: None,
            directories: Vec::new(),
        })
    }

    /// Takes the next entry, by its path below the target (empty for the target itself): makes
    /// the directory or symlink, or opens the file.
    pub fn begin_entry(&mut self, path: &[u8], status: &FileStatus) -> Result<(), ClientError> {
        let kind = match status.kind {
            Kind::File => FileKind::Regular,
            Kind::Directory => FileKind::Directory,
            Kind::Symlink => FileKind::Symlink,
            Kind::Device | Kind::Pipe | Kind::Socket | Kind::Other => FileKind::Other,
        };
        let link_target = status.link_target.clone().unwrap_or_default();
        self.begin(&TreeEntry {
            path: path.to_vec(),
            kind: kind as i32,
            mode: status.mode,
            modified_nanoseconds: status.modified_ns,
            link_target: link_target.into_bytes(),
            size: status.size,
        })
    }

    /// Takes the next entry: makes the directory or symlink, or opens the file.
    pub(super) fn begin(&mut self, entry: &TreeEntry) -> Result<(), ClientError> {
        if self.file.is_some() {
            return Err(ClientError::UnexpectedReply {
                expected: "the end of a file",
            });
        }
        let mut below = self.name.clone();
        let mut shown = self.path.clone();
        for component in components(&entry.path)? {
            below.push(&component);
            shown.push(&component);
        }
        let name = PathBuf::from(below.file_name().unwrap_or_default());
        let directory = match below.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => {
                self.open_directory(parent, &shown)?
            }
            _ => self
                .parent
                .try_clone()
                .map_err(host_file("open the directory of", &shown))?,
        };
        // The guest decides on read, write and execute; never on set-user-id on this host.
        let mode = entry.mode & 0o777;
        match entry.kind() {
            FileKind::Directory => {
                match rustix::fs::mkdirat(&directory, &name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => {
                        return Err(host_file("create directory", &shown)(error.into()));
                    }
                }
                self.open_directory(&below, &shown)?;
                self.directories
                    .push((below, mode, entry.modified_nanoseconds));
            }
            FileKind::Symlink => {
                let target = Path::new(std::ffi::OsStr::from_bytes(&entry.link_target));
                match rustix::fs::unlinkat(&directory, &name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(host_file("replace", &shown)(error.into())),
                }
                rustix::fs::symlinkat(target, &directory, &name)
                    .map_err(|error| host_file("create symlink", &shown)(error.into()))?;
            }
            FileKind::Regular => {
                let temporary = PathBuf::from(format!(".mvm-{:016x}", random()));
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let content =
                    rustix::fs::openat(&directory, &temporary, flags, Mode::RUSR | Mode::WUSR)
                        .map_err(|error| host_file("create", &shown)(error.into()))?;
                self.file = Some(OpenFile {
                    content: content.into(),
                    directory,
                    temporary,
                    name,
                    path: shown,
                    mode,
                    modified_nanoseconds: entry.modified_nanoseconds,
                });
            }
            _ => {
                return Err(ClientError::UnexpectedReply {
                    expected: "a file, directory or link",
                });
            }
        }
        Ok(())
    }

    /// Takes bytes of the open file.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let file = self.file.as_mut();
        let file = file.ok_or(ClientError::UnexpectedReply {
            expected: "an entry",
        })?;
        file.content
            .write_all(bytes)
            .map_err(host_file("write", &file.path))
    }

    /// The open file is complete: it takes its name.
    pub fn end_file(&mut self) -> Result<(), ClientError> {
        let file = self.file.take();
        let file = file.ok_or(ClientError::UnexpectedReply {
            expected: "an entry",
        })?;
        let place = || -> rustix::io::Result<()> {
            rustix::fs::fchmod(&file.content, Mode::from_raw_mode(file.mode))?;
            rustix::fs::futimens(&file.content, &times(file.modified_nanoseconds))?;
            rustix::fs::renameat(
                &file.directory,
                &file.temporary,
                &file.directory,
                &file.name,
            )
        };
        place().map_err(|error| host_file("write", &file.path)(error.into()))
    }

    /// The tree is complete: directories get their modes and times, the deepest first.
    pub fn finish(&mut self) -> Result<(), ClientError> {
        if self.file.is_some() {
            return Err(ClientError::UnexpectedReply {
                expected: "the end of a file",
            });
        }
        while let Some((below, mode, modified)) = self.directories.pop() {
            let path = self.path.clone();
            let directory = self.open_directory(&below, &path)?;
            let set = || -> rustix::io::Result<()> {
                rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode))?;
                rustix::fs::futimens(&directory, &times(modified))
            };
            set().map_err(|error| host_file("set the mode of", &below)(error.into()))?;
        }
        Ok(())
    }

    fn open_directory(&self, below: &Path, shown: &Path) -> Result<OwnedFd, ClientError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.parent, below, flags, Mode::empty(), resolve)
            .map_err(|error| host_file("open the directory of", shown)(error.into()))
    }
}

fn times(nanoseconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: nanoseconds.div_euclid(1_000_000_000),
        tv_nsec: nanoseconds.rem_euclid(1_000_000_000),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    let read = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    // A name clash is refused by O_EXCL, so an early-boot failure here costs an error, not safety.
    let _ = read;
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    fn entry(path: &str, kind: FileKind, link_target: &str) -> TreeEntry {
        TreeEntry {
            path: path.into(),
            kind: kind as i32,
            mode: 0o6755,
            modified_nanoseconds: 1_500_000_000_000_000_000,
            link_target: link_target.into(),
            size: 0,
        }
    }

    /// Receives a directory with these entries; regular files get `content`.
    fn receive(target: &Path, entries: &[TreeEntry]) -> Result<(), ClientError> {
        let mut tree = HostTarget::new(target)?;
        tree.begin(&entry("", FileKind::Directory, ""))?;
        for entry in entries {
            tree.begin(entry)?;
            if entry.kind() == FileKind::Regular {
                tree.write(b"content")?;
                tree.end_file()?;
            }
        }
        tree.finish()
    }

    #[test]
    fn a_tree_arrives_without_set_user_id_bits() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("tree");
        receive(
            &target,
            &[
                entry("a", FileKind::Directory, ""),
                entry("a/file", FileKind::Regular, ""),
                entry("link", FileKind::Symlink, "/etc/passwd"),
            ],
        )
        .unwrap();
        let metadata = fs::metadata(target.join("a/file")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read(target.join("a/file")).unwrap(), b"content");
        assert_eq!(
            fs::read_link(target.join("link")).unwrap(),
            Path::new("/etc/passwd")
        );
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for path in [
            "../out",
            "a/../../out",
            "/etc/out",
            "a//b",
            ".",
            "a/.",
            "a\0b",
        ] {
            let target = directory.path().join("tree");
            let error = receive(&target, &[entry(path, FileKind::Regular, "")]).unwrap_err();
            assert!(
                matches!(error, ClientError::EscapingEntry { .. }),
                "{path:?}: {error}"
            );
        }
        assert!(!directory.path().join("out").exists());
    }

    #[test]
    fn a_symlink_is_never_followed_whoever_made_it() {
        let directory = tempfile::tempdir().unwrap();
        let outside = directory.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let target = directory.path().join("tree");
        let sent = [
            entry("link", FileKind::Symlink, outside.to_str().unwrap()),
            entry("link/file", FileKind::Regular, ""),
        ];
        assert!(matches!(
            receive(&target, &sent),
            Err(ClientError::HostFile { .. })
        ));

        // One that lay in the target before, as a directory on the way and as the file itself.
        let victim = outside.join("victim");
        fs::write(&victim, "untouched").unwrap();
        symlink(&outside, target.join("old")).unwrap();
        let sent = [entry("old/file", FileKind::Regular, "")];
        assert!(matches!(
            receive(&target, &sent),
            Err(ClientError::HostFile { .. })
        ));
        let sent = [entry("old", FileKind::Directory, "")];
        assert!(matches!(
            receive(&target, &sent),
            Err(ClientError::HostFile { .. })
        ));
        symlink(&victim, target.join("file")).unwrap();
        receive(&target, &[entry("file", FileKind::Regular, "")]).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_breaks_off_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("tree");
        let mut tree = HostTarget::new(&target).unwrap();
        tree.begin(&entry("", FileKind::Directory, "")).unwrap();
        tree.begin(&entry("file", FileKind::Regular, "")).unwrap();
        tree.write(b"half").unwrap();
        assert!(tree.finish().is_err());
        drop(tree);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    }

    #[test]
    fn data_and_ends_without_a_file_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut tree = HostTarget::new(&directory.path().join("tree")).unwrap();
        assert!(tree.write(b"x").is_err());
        assert!(tree.end_file().is_err());
        tree.begin(&entry("", FileKind::Regular, "")).unwrap();
        assert!(tree.begin(&entry("other", FileKind::Regular, "")).is_err());
        assert!(tree.begin(&entry("device", FileKind::Device, "")).is_err());
    }
}
