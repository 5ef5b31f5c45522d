//! The guest's log: the kernel's messages and the agent's own lines, by time.

use std::pin::pin;

use futures::future::{Either, select};
use mvm_wire::{FrameKind, ReadLog, session::BULK_BYTES};
use rustix::{
    fd::OwnedFd,
    fs::{self, Mode, OFlags},
    io::Errno,
};
use tokio::io::Interest;

use crate::{
    Agent,
    exchange::{Exchange, Gone},
    failure::{Failed, Outcome},
    file::attempt,
    log::{Line, PREFIX},
    watched::watch,
};

/// One record of the kernel, with its continuation lines.
const MAX_RECORD_BYTES: usize = 8192;
/// Records taken from the kernel before they are sent.
const MAX_RECORDS: usize = 16 * 1024;

pub(crate) async fn read(
    agent: &Agent,
    exchange: &mut Exchange,
    request: ReadLog,
) -> Result<Outcome<()>, Gone> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let failed = |errno| Failed::call("reading the kernel's log", [], errno);
    let kernel = attempt!(fs::open(c"/dev/kmsg", flags, Mode::empty()).map_err(failed));
    let kernel = watch(kernel, Interest::READABLE);
    let kernel = attempt!(kernel.map_err(|_| failed(Errno::MFILE)));
    let mut next_own = 0;
    let Exchange { reader, writer, .. } = exchange;
    loop {
        let (mut lines, own_count) = agent.log.lines_from(next_own);
        next_own = own_count;
        let more = attempt!(kernel_lines(kernel.get_ref(), &mut lines).map_err(failed));
        lines.sort_by_key(|line| line.uptime_microseconds);
        let mut text = Vec::new();
        for line in &lines {
            write_line(line, &mut text);
        }
        for part in text.chunks(BULK_BYTES) {
            writer.data(FrameKind::Data, part).await?;
        }
        if more {
            continue;
        }
        if !request.follow {
            return Ok(Ok(()));
        }
        let changed = async {
            let own = pin!(agent.log.changed.notified());
            let kernel = pin!(kernel.readable());
            if let Either::Right((Ok(mut ready), _)) = select(own, kernel).await {
                ready.clear_ready();
            }
        };
        // The host says nothing more: whatever comes is its end.
        let gone = reader.next();
        if let Either::Right(_) = select(pin!(changed), pin!(gone)).await {
            return Err(Gone);
        }
    }
}

/// Takes what the kernel has; true when there may be more.
fn kernel_lines(kernel: &OwnedFd, lines: &mut Vec<Line>) -> Result<bool, Errno> {
    let mut record = [0; MAX_RECORD_BYTES];
    for _ in 0..MAX_RECORDS {
        match rustix::io::read(kernel, &mut record) {
            Ok(0) => return Ok(false),
            Ok(count) => lines.extend(parse(&record[..count])),
            // The oldest records were overwritten meanwhile, or this one is too long.
            Err(Errno::PIPE | Errno::INTR | Errno::INVAL) => {}
            Err(Errno::AGAIN) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

/// Reads `priority,sequence,microseconds,flags;text`. The agent's own lines are left out: its ring
/// has them all.
fn parse(record: &[u8]) -> Option<Line> {
    let semicolon = record.iter().position(|byte| *byte == b';')?;
    let mut fields = record[..semicolon].split(|byte| *byte == b',');
    let time = fields.nth(2)?;
    let text = record[semicolon + 1..]
        .split(|byte| *byte == b'\n')
        .next()?;
    if text.starts_with(PREFIX.as_bytes()) {
        return None;
    }
    Some(Line {
        uptime_microseconds: std::str::from_utf8(time).ok()?.parse().ok()?,
        text: String::from_utf8_lossy(text).into_owned(),
    })
}

fn write_line(line: &Line, text: &mut Vec<u8>) {
    let (seconds, microseconds) = (
        line.uptime_microseconds / 1_000_000,
        line.uptime_microseconds % 1_000_000,
    );
    text.extend_from_slice(format!("[{seconds:5}.{microseconds:06}] ").as_bytes());
    text.extend_from_slice(line.text.as_bytes());
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_kernel_becomes_a_line() {
        let line = parse(b"6,339,5140900,-;NET: Registered protocol\n SUBSYSTEM=x\n").unwrap();
        let mut text = Vec::new();
        write_line(&line, &mut text);
        assert_eq!(text, b"[    5.140900] NET: Registered protocol\n");
        for garbage in [
            &b""[..],
            b";",
            b"1,2;x",
            b"1,2,x,-;text",
            b"6,1,2,-;mvm-agent: own",
        ] {
            assert!(parse(garbage).is_none());
        }
    }
}
