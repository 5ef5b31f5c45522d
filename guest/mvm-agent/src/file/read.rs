//! Reading a file.

use std::cell::Cell;

use mvm_wire::{FileKind, FrameKind, ReadFile, session::BULK_BYTES};
use rustix::{
    fd::OwnedFd,
    fs::{self, CWD, Mode, OFlags},
    io::Errno,
};

use super::{absolute, attempt, done, kind_of, metadata};
use crate::{
    Agent,
    exchange::{Exchange, Gone, StreamWriter},
    failure::{Failed, Outcome},
};

pub(crate) async fn read(
    agent: &Agent,
    exchange: &mut Exchange,
    request: ReadFile,
) -> Result<Outcome<()>, Gone> {
    let path = attempt!(absolute(&request.path));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = attempt!(
        fs::openat(CWD, &path, flags, Mode::empty()).map_err(|errno| Failed::call(
            "opening a file",
            &request.path,
            errno
        ))
    );
    let file = agent.gate.hold(file);
    let stat = attempt!(fs::fstat(&*file).map_err(|errno| Failed::call(
        "looking at a file",
        &request.path,
        errno
    )));
    match kind_of(&stat) {
        FileKind::Regular => {}
        FileKind::Directory => {
            let errno = Errno::ISDIR;
            return Ok(Err(Failed::call("reading a file", &request.path, errno)));
        }
        _ => {
            let doing = "reading something other than a regular file";
            return Ok(Err(Failed::invalid(doing, &request.path)));
        }
    }
    let metadata = attempt!(metadata(CWD, &path, &stat).map_err(|errno| Failed::call(
        "looking at a file",
        &request.path,
        errno
    )));
    exchange.reply(metadata).await?;
    let length = request.length.unwrap_or(u64::MAX);
    let sent = send(&mut exchange.writer, &file, request.offset, length).await?;
    let bytes =
        attempt!(sent.map_err(|errno| Failed::call("reading a file", &request.path, errno)));
    done(exchange, bytes, 1).await
}

/// Sends a file's content from `offset` on, up to `length` bytes; gives how many.
pub(super) async fn send(
    writer: &mut StreamWriter,
    file: &OwnedFd,
    offset: u64,
    length: u64,
) -> Result<Result<u64, Errno>, Gone> {
    let sent = Cell::new(0_u64);
    while sent.get() < length {
        let limit = usize::try_from(length - sent.get())
            .unwrap_or(BULK_BYTES)
            .min(BULK_BYTES);
        let fill = |buffer: &mut [u8]| -> Result<usize, Errno> {
            let position = offset.checked_add(sent.get()).ok_or(Errno::INVAL)?;
            loop {
                match rustix::io::pread(file, &mut *buffer, position) {
                    Err(Errno::INTR) => {}
                    result => return result,
                }
            }
        };
        match writer.data_from(FrameKind::Data, limit, fill).await? {
            Ok(0) => break,
            Ok(count) => sent.set(sent.get() + count as u64),
            Err(errno) => return Ok(Err(errno)),
        }
    }
    Ok(Ok(sent.get()))
}
