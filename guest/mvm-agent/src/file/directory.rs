//! Listing and making directories.

use mvm_wire::{DirectoryBatch, DirectoryEntry, ListDirectory, MakeDirectory};
use rustix::{
    fd::AsFd as _,
    fs::{self, AtFlags, CWD, Mode, OFlags},
    io::Errno,
};

use super::{absolute, attempt, done, metadata, names, open_directory, place};
use crate::{
    Agent,
    accounts::PARENT_MODE,
    exchange::{Exchange, Gone},
    failure::{Failed, Outcome},
};

/// Entries per batch. With names of 255 bytes and symlinks of 4095 it stays below the largest
/// message.
const BATCH_ENTRIES: usize = 200;

pub(crate) async fn list(
    agent: &Agent,
    exchange: &mut Exchange,
    request: ListDirectory,
) -> Result<Outcome<()>, Gone> {
    let failed = |errno| Failed::call("listing a directory", &request.path, errno);
    let path = attempt!(absolute(&request.path));
    let directory = attempt!(open_directory(CWD, &path, OFlags::empty()).map_err(failed));
    let directory = agent.gate.hold(directory);
    let names = attempt!(names(&directory).map_err(failed));
    let mut count = 0;
    for batch in names.chunks(BATCH_ENTRIES) {
        let mut entries = Vec::with_capacity(batch.len());
        for name in batch {
            let found = fs::statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .and_then(|stat| metadata(directory.as_fd(), name, &stat));
            match found {
                Ok(metadata) => entries.push(DirectoryEntry {
                    name: name.to_bytes().to_vec(),
                    metadata,
                }),
                // Gone since the directory was read, or a symlink no longer.
                Err(Errno::NOENT | Errno::INVAL) => {}
                Err(errno) => return Ok(Err(failed(errno))),
            }
        }
        count += entries.len() as u64;
        exchange.reply(DirectoryBatch { entries }).await?;
    }
    done(exchange, 0, count).await
}

/// Makes a directory.
pub(crate) fn make_directory(request: &MakeDirectory) -> Outcome<()> {
    let failed = |errno| Failed::call("making a directory", &request.path, errno);
    let path = absolute(&request.path)?;
    let mode = request.mode.unwrap_or(0o755);
    if mode > 0o7777 {
        return Err(Failed::invalid("making a directory", &request.path));
    }
    let mode = Mode::from_raw_mode(mode);
    if request.make_parents {
        return place::make_directories(&path, mode, None);
    }
    fs::mkdir(&path, PARENT_MODE & mode).map_err(failed)?;
    // Not cut down by the agent's file mode mask.
    fs::chmod(&path, mode).map_err(failed)
}
