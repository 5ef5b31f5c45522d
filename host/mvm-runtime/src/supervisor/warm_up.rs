//! Using a guest a little before anybody does, so that what the first user does is not done for
//! the first time: the kernel then holds the programs in memory, and an emulator has translated
//! them.

use std::time::Duration;

use mvm_wire::{
    EndOfData, EnvironmentVariable, ForgetProcess, FrameKind, Operation, ProcessExited, ReadFile,
    RemovePath, Reply, Request, StartProcess, WriteFile, reply,
};
use prost::Message as _;

use super::guest::{Guest, Halves, split};

/// More than any of it takes on a loaded host.
const LIMIT: Duration = Duration::from_secs(30);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Starts each interpreter the image has. It writes nothing.
const INTERPRETERS: &str = "
if command -v python3 >/dev/null; then python3 -I -B -c 'import json, os, re, subprocess, sys'; fi
if command -v node >/dev/null; then node -e 0; fi
:";
const FILE: &[u8] = b"/dev/shm/.mvm-warm-up";

/// Runs programs and moves a file. What an image has not is left out: none of this must work.
/// Afterwards no process is left, and no file.
pub(super) async fn warm_up(guest: &Guest) {
    let all = async {
        let _ = run(guest, &["true"]).await;
        let _ = run(guest, &["/bin/sh", "-c", INTERPRETERS]).await;
        let _ = move_file(guest).await;
        // The way the first command of a user goes, once more.
        let _ = run(guest, &["true"]).await;
    };
    let _ = tokio::time::timeout(LIMIT, all).await;
}

async fn request(guest: &Guest, operation: Operation) -> Option<Halves> {
    let (reader, mut writer) = split(guest.opener().open().await.ok()?);
    writer.message(&Request::from(operation)).await.ok()?;
    Some((reader, writer))
}

/// Reads replies until one ends the operation.
async fn last_reply((reader, _writer): &mut Halves) -> Option<reply::Kind> {
    loop {
        let frame = reader.next().await.ok()??;
        if frame.kind != FrameKind::Message {
            continue;
        }
        match Reply::decode(frame.payload).ok()?.kind? {
            reply::Kind::ProcessStarted(_) | reply::Kind::Metadata(_) => {}
            reply => return Some(reply),
        }
    }
}

async fn run(guest: &Guest, arguments: &[&str]) -> Option<ProcessExited> {
    let start = StartProcess {
        arguments: arguments
            .iter()
            .map(|argument| argument.as_bytes().to_vec())
            .collect(),
        environment: vec![EnvironmentVariable {
            name: b"PATH".to_vec(),
            value: PATH.as_bytes().to_vec(),
        }],
        standard_input: true,
        timeout_milliseconds: 10_000,
        ..StartProcess::default()
    };
    let mut halves = request(guest, Operation::StartProcess(start)).await?;
    let started: Reply = halves.0.next_message().await.ok()??;
    let reply::Kind::ProcessStarted(started) = started.kind? else {
        return None;
    };
    let ended = match last_reply(&mut halves).await? {
        reply::Kind::ProcessExited(exited) => Some(exited),
        _ => None,
    };
    let forget = ForgetProcess {
        process_id: started.process_id,
    };
    last_reply(&mut request(guest, Operation::ForgetProcess(forget)).await?).await?;
    ended
}

async fn move_file(guest: &Guest) -> Option<()> {
    let write = WriteFile {
        path: FILE.to_vec(),
        ..WriteFile::default()
    };
    let mut halves = request(guest, Operation::WriteFile(write)).await?;
    halves.1.data(FrameKind::Data, &[7; 4096]).await.ok()?;
    let end = mvm_wire::Input::from(EndOfData::default());
    halves.1.message(&end).await.ok()?;
    last_reply(&mut halves).await?;
    let read = ReadFile {
        path: FILE.to_vec(),
        ..ReadFile::default()
    };
    last_reply(&mut request(guest, Operation::ReadFile(read)).await?).await?;
    let remove = RemovePath {
        path: FILE.to_vec(),
        recursive: false,
    };
    last_reply(&mut request(guest, Operation::RemovePath(remove)).await?).await?;
    Some(())
}
