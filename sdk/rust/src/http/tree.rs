//! Copying files and directories between this host and a server's sandbox, file by file.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use mvm_runtime::{ClientError, FileKind, FileStatus, HostTarget, TransferSummary, WriteOptions};

use super::{HttpError, Sandbox};
use crate::Error;

/// How deep a tree of a guest is followed, which can tell of one without an end.
const MOST_LEVELS: usize = 128;

/// A file or directory of this host, and where it goes.
struct Source {
    path: PathBuf,
    target: OsString,
    mode: u32,
    is_directory: bool,
}

/// Copies `source`, which a symlink may name, to exactly `target` of the guest.
pub(super) async fn upload(
    sandbox: &Sandbox,
    source: &Path,
    target: &OsStr,
) -> Result<TransferSummary, Error> {
    let mut summary = TransferSummary::default();
    // Whether all of it can be sent is known before anything is.
    for source in sources(source, target)? {
        let mode = Some(source.mode);
        if source.is_directory {
            sandbox.make_directory_of(&source.target, mode).await?;
        } else {
            let file = tokio::fs::File::open(&source.path).await;
            let mut file = file.map_err(HttpError::host_file(&source.path))?;
            let options = WriteOptions {
                mode,
                make_parents: true,
                owner: None,
            };
            let written = sandbox.write_file_from(&source.target, &mut file, &options);
            summary.bytes += written.await?;
        }
        summary.entries += 1;
    }
    Ok(summary)
}

/// What is to be sent, each directory before what is in it.
fn sources(root: &Path, target: &OsStr) -> Result<Vec<Source>, HttpError> {
    let mut found = Vec::new();
    let mut waiting = vec![(root.to_owned(), target.to_owned())];
    while let Some((path, target)) = waiting.pop() {
        let metadata = if found.is_empty() {
            fs::metadata(&path)
        } else {
            fs::symlink_metadata(&path)
        };
        let metadata = metadata.map_err(HttpError::host_file(&path))?;
        let is_directory = is_directory(&metadata, &path)?;
        if is_directory {
            let mut names = fs::read_dir(&path)
                .and_then(|entries| {
                    let names = entries.map(|entry| Ok(entry?.file_name()));
                    names.collect::<io::Result<Vec<_>>>()
                })
                .map_err(HttpError::host_file(&path))?;
            names.sort_unstable_by(|one, other| other.cmp(one));
            waiting.extend(names.into_iter().map(|name| {
                let mut below = target.clone();
                below.push("/");
                below.push(&name);
                (path.join(name), below)
            }));
        }
        found.push(Source {
            path,
            target,
            mode: metadata.mode() & 0o7777,
            is_directory,
        });
    }
    Ok(found)
}

fn is_directory(metadata: &fs::Metadata, path: &Path) -> Result<bool, HttpError> {
    let file_type = metadata.file_type();
    let kind = match () {
        () if file_type.is_file() => return Ok(false),
        () if file_type.is_dir() => return Ok(true),
        () if file_type.is_symlink() => "a symlink",
        () if file_type.is_socket() => "a socket",
        () if file_type.is_fifo() => "a named pipe",
        () => "a device",
    };
    Err(HttpError::HostFileKind {
        path: path.to_owned(),
        kind,
    })
}

/// Copies `path` of the guest to exactly `target` of this host, whose parent must exist.
pub(super) async fn download(
    sandbox: &Sandbox,
    path: &str,
    target: &Path,
) -> Result<TransferSummary, Error> {
    let root = sandbox.stat(path).await?;
    let mut tree = HostTarget::new(target)?;
    let mut summary = TransferSummary::default();
    let mut waiting = vec![(String::new(), root)];
    while let Some((below, status)) = waiting.pop() {
        let source = joined(path, &below);
        receive(sandbox, &mut tree, (&source, &below), &status, &mut summary).await?;
        if status.kind == FileKind::Directory {
            if below.split('/').count() > MOST_LEVELS {
                let limit = MOST_LEVELS;
                let path = source;
                return Err(HttpError::Depth { path, limit }.into());
            }
            for entry in sandbox.list_directory(&source).await? {
                let name = entry_name(&entry.name)?;
                let below = if below.is_empty() {
                    name.to_owned()
                } else {
                    joined(&below, name)
                };
                waiting.push((below, entry.status));
            }
        }
    }
    tree.finish()?;
    Ok(summary)
}

async fn receive(
    sandbox: &Sandbox,
    tree: &mut HostTarget,
    (source, below): (&str, &str),
    status: &FileStatus,
    summary: &mut TransferSummary,
) -> Result<(), Error> {
    if !matches!(
        status.kind,
        FileKind::File | FileKind::Directory | FileKind::Symlink
    ) {
        let path = source.to_owned();
        return Err(HttpError::GuestFileKind { path }.into());
    }
    tree.begin_entry(below.as_bytes(), status)?;
    summary.entries += 1;
    if status.kind == FileKind::File {
        let mut file = sandbox.open_file(source).await?;
        while let Some(chunk) = file.next_chunk().await? {
            tree.write(chunk)?;
            summary.bytes += chunk.len() as u64;
        }
        tree.end_file()?;
    }
    Ok(())
}

fn joined(path: &str, below: &str) -> String {
    if below.is_empty() {
        return path.to_owned();
    }
    format!("{}/{below}", path.trim_end_matches('/'))
}

/// A name that the guest told, if it is one: it could lead elsewhere.
fn entry_name(name: &str) -> Result<&str, ClientError> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        let entry = name.escape_debug().to_string();
        return Err(ClientError::EscapingEntry { entry });
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", ".", "..", "a/b", "/etc", "a\0"] {
            assert!(entry_name(name).is_err(), "{name:?}");
        }
        assert_eq!(entry_name("..a").unwrap(), "..a");
    }

    #[test]
    fn paths_are_joined_by_one_slash() {
        assert_eq!(joined("/root/", "a/b"), "/root/a/b");
        assert_eq!(joined("/", "a"), "/a");
        assert_eq!(joined("/root", ""), "/root");
    }
}
