//! Writing a file.

use std::time::Duration;

use mvm_wire::{FailureKind, FileKind, WriteFile, input};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, Mode, OFlags},
    io::Errno,
};

use super::{
    absolute, attempt, done, kind_of,
    place::{Place, Unfinished},
};
use crate::{
    Agent,
    accounts::Account,
    exchange::{Content, Exchange, Gone},
    failure::{Failed, Outcome},
    gate::Gate,
};

/// How long a device or pipe that takes nothing now is left alone.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

pub(crate) async fn write(
    agent: &Agent,
    exchange: &mut Exchange,
    request: WriteFile,
) -> Result<Outcome<()>, Gone> {
    let bytes = attempt!(write_content(agent, exchange, &request).await?);
    done(exchange, bytes, 1).await
}

/// Writes the whole file. Nothing of it is open any more when the answer is waited for: to close
/// the last descriptor of a file that another has removed is a write.
async fn write_content(
    agent: &Agent,
    exchange: &mut Exchange,
    request: &WriteFile,
) -> Result<Outcome<u64>, Gone> {
    let path = attempt!(absolute(&request.path));
    if request.mode.is_some_and(|mode| mode > 0o7777) {
        return Ok(Err(Failed::invalid(
            "reading the file's mode",
            &request.path,
        )));
    }
    let owner = attempt!(owner(agent, &request.owner));
    let place = attempt!(Place::find(&path, request.make_parents, owner.as_ref()));
    let failed = |errno| Failed::call("writing a file", &request.path, errno);
    match place.found.as_ref().map(kind_of) {
        None | Some(FileKind::Regular) => {}
        Some(FileKind::Directory) => return Ok(Err(failed(Errno::ISDIR))),
        Some(FileKind::Device | FileKind::Pipe) => {
            return write_through(agent, exchange, request, &place).await;
        }
        Some(_) => {
            return Ok(Err(Failed::new(
                FailureKind::Unsupported,
                "writing to something other than a file, device or pipe",
                &request.path,
            )));
        }
    }
    let (unfinished, file) = attempt!(create(&place.directory).map_err(failed));
    let bytes = attempt!(receive(agent, exchange, &file, &request.path).await?);
    let (user, group, mode) = match (&place.found, &owner) {
        (_, Some(owner)) => (
            owner.user_id,
            owner.group_id,
            place.found.map(|s| s.st_mode),
        ),
        (Some(stat), None) => (stat.st_uid, stat.st_gid, Some(stat.st_mode)),
        (None, None) => (0, 0, None),
    };
    let mode = request.mode.or(mode).unwrap_or(0o644) & 0o7777;
    attempt!(
        own(&file, user, group)
            .and_then(|()| fs::fchmod(&file, Mode::from_raw_mode(mode)))
            .and_then(|()| unfinished.place(&place.name))
            .map_err(failed)
    );
    Ok(Ok(bytes))
}

/// The owner a request names.
pub(super) fn owner(agent: &Agent, name: &str) -> Outcome<Option<Account>> {
    if name.is_empty() {
        return Ok(None);
    }
    agent.account_files().resolve(name).map(Some)
}

/// A new file under a hidden name.
pub(super) fn create(directory: &OwnedFd) -> Result<(Unfinished<'_>, OwnedFd), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Unfinished::make(directory, |name| {
        fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))
    })
}

/// Changes the owner where it is another.
pub(super) fn own(file: impl AsFd, user: u32, group: u32) -> Result<(), Errno> {
    let stat = fs::fstat(&file)?;
    if (stat.st_uid, stat.st_gid) == (user, group) {
        return Ok(());
    }
    fs::fchown(
        file,
        Some(fs::Uid::from_raw(user)),
        Some(fs::Gid::from_raw(group)),
    )
}

/// Writes content up to the end of the data; gives how many bytes.
async fn receive(
    agent: &Agent,
    exchange: &mut Exchange,
    file: &OwnedFd,
    path: &[u8],
) -> Result<Outcome<u64>, Gone> {
    let mut bytes = 0;
    loop {
        match attempt!(exchange.content_for_disk(&agent.gate).await?) {
            Content::Data(data) => {
                attempt!(
                    write_all(&agent.gate, file, data)
                        .await
                        .map_err(|errno| Failed::call("writing a file", path, errno))
                );
                bytes += data.len() as u64;
            }
            Content::Message(input::Kind::EndOfData(_)) => return Ok(Ok(bytes)),
            Content::Message(_) => {
                let doing = "reading what is to be written";
                return Ok(Err(Failed::invalid(doing, path)));
            }
        }
    }
}

/// Writes all of `data`, waiting while a pipe or device takes nothing.
pub(super) async fn write_all(gate: &Gate, file: &OwnedFd, mut data: &[u8]) -> Result<(), Errno> {
    while !data.is_empty() {
        match rustix::io::write(file, data) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(count) => data = &data[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                tokio::time::sleep(RETRY_INTERVAL).await;
                gate.passed().await;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

async fn write_through(
    agent: &Agent,
    exchange: &mut Exchange,
    request: &WriteFile,
    place: &Place,
) -> Result<Outcome<u64>, Gone> {
    let flags =
        OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let target = attempt!(
        fs::openat(&place.directory, &place.name, flags, Mode::empty())
            .map_err(|errno| Failed::call("opening a device or pipe", &request.path, errno))
    );
    receive(agent, exchange, &target, &request.path).await
}
