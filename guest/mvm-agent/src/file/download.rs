//! Sending a tree.

use std::ffi::CString;

use mvm_wire::{DownloadTree, EndOfFile, FailureKind, FileKind, TreeEntry};
use rustix::{
    fd::AsFd as _,
    fs::{self, AtFlags, CWD, Mode, OFlags, Stat},
    io::Errno,
};

use super::{absolute, attempt, done, kind_of, metadata, modified, names, open_directory, read};
use crate::{
    Agent,
    exchange::{Exchange, Gone},
    failure::{Failed, Outcome},
    gate::{Gate, Held},
};

/// A directory whose content is being sent.
struct Level<'a> {
    directory: Held<'a>,
    /// Length of its path from the root.
    path_bytes: usize,
    /// What is left in it, last first.
    left: Vec<CString>,
}

#[derive(Default)]
struct Progress {
    bytes: u64,
    entries: u64,
}

pub(crate) async fn download(
    agent: &Agent,
    exchange: &mut Exchange,
    request: DownloadTree,
) -> Result<Outcome<()>, Gone> {
    let root = attempt!(absolute(&request.path));
    let mut progress = Progress::default();
    let stat = attempt!(fs::stat(&root).map_err(|errno| Failed::call(
        "looking at a path",
        &request.path,
        errno
    )));
    let mut levels = Vec::new();
    let mut path = Vec::new();
    let sent = send_entry(
        &agent.gate,
        exchange,
        &request.path,
        (CWD, &root, &stat),
        &path,
        true,
        &mut progress,
    );
    levels.extend(attempt!(sent.await?));
    while let Some(level) = levels.last_mut() {
        path.truncate(level.path_bytes);
        let Some(name) = level.left.pop() else {
            levels.pop();
            continue;
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        let stat = match fs::statat(&*level.directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Gone since its directory was read.
            Err(Errno::NOENT) => continue,
            Err(errno) => {
                let subject = joined(&request.path, &path);
                return Ok(Err(Failed::call("looking at a path", subject, errno)));
            }
        };
        let sent = send_entry(
            &agent.gate,
            exchange,
            &request.path,
            (level.directory.as_fd(), &name, &stat),
            &path,
            false,
            &mut progress,
        );
        let below = attempt!(sent.await?);
        levels.extend(below);
    }
    done(exchange, progress.bytes, progress.entries).await
}

/// Sends one entry; gives its level when it is a directory.
async fn send_entry<'a>(
    gate: &'a Gate,
    exchange: &mut Exchange,
    root: &[u8],
    (directory, name, stat): (rustix::fd::BorrowedFd<'_>, &CString, &Stat),
    path: &[u8],
    follow: bool,
    progress: &mut Progress,
) -> Result<Outcome<Option<Level<'a>>>, Gone> {
    let failed = |doing, errno| Failed::call(doing, joined(root, path), errno);
    let kind = kind_of(stat);
    if !matches!(
        kind,
        FileKind::Regular | FileKind::Directory | FileKind::Symlink
    ) {
        return Ok(Err(Failed::new(
            FailureKind::Unsupported,
            "sending something other than a file, directory or symlink",
            joined(root, path),
        )));
    }
    let found = attempt!(
        metadata(directory, name, stat).map_err(|errno| failed("reading a symlink", errno))
    );
    let nofollow = if follow {
        OFlags::empty()
    } else {
        OFlags::NOFOLLOW
    };
    // Opened before it is announced: what cannot be read is a failure, not an empty file.
    let file = if kind == FileKind::Regular {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | nofollow;
        let file = attempt!(
            fs::openat(directory, name, flags, Mode::empty())
                .map_err(|errno| failed("opening a file", errno))
        );
        Some(gate.hold(file))
    } else {
        None
    };
    let level = if kind == FileKind::Directory {
        let entered = open_directory(directory, name, nofollow)
            .and_then(|directory| names(&directory).map(|left| (directory, left)));
        let (directory, mut left) =
            attempt!(entered.map_err(|errno| failed("reading a directory", errno)));
        left.reverse();
        Some(Level {
            directory: gate.hold(directory),
            path_bytes: path.len(),
            left,
        })
    } else {
        None
    };
    exchange
        .reply(TreeEntry {
            path: path.to_vec(),
            kind: kind.into(),
            mode: found.mode,
            modified_nanoseconds: modified(stat),
            link_target: found.link_target,
            size: if kind == FileKind::Regular {
                found.size
            } else {
                0
            },
        })
        .await?;
    progress.entries += 1;
    if let Some(file) = file {
        let sent = read::send(&mut exchange.writer, &file, 0, u64::MAX).await?;
        progress.bytes += attempt!(sent.map_err(|errno| failed("reading a file", errno)));
        exchange.reply(EndOfFile {}).await?;
    }
    Ok(Ok(level))
}

fn joined(root: &[u8], path: &[u8]) -> Vec<u8> {
    let mut whole = root.to_vec();
    if !path.is_empty() {
        if whole.last() != Some(&b'/') {
            whole.push(b'/');
        }
        whole.extend_from_slice(path);
    }
    whole
}
