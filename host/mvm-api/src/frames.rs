//! The frames of a process: `application/vnd.mvm.frames`.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures::StreamExt as _;
use mvm_runtime::{OutputStream, Process, ProcessEvent};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    problem::Problem,
    shapes::command::ResultShape,
    state::{Api, Kept},
};

/// How often a stream says that it is there while nothing is written.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Frames on their way to a client that is slow; then the process waits.
const FRAMES_AHEAD: usize = 8;

const EVENT: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// What happens to a process, beside its output.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Event<'a> {
    Started {
        process_id: u64,
        pid: u32,
        run_id: &'a str,
        stdout_offset: u64,
        stderr_offset: u64,
    },
    Gap {
        stream: OutputStream,
        from: u64,
        to: u64,
    },
    Ping,
    Exited {
        result: ResultShape,
    },
    Failed {
        problem: Problem,
    },
}

fn frame(kind: u8, payload: &[u8]) -> Bytes {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(5 + payload.len());
    frame.push(kind);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(payload);
    frame.into()
}

pub(crate) fn event(event: &Event<'_>) -> Bytes {
    frame(EVENT, &serde_json::to_vec(event).unwrap_or_default())
}

/// The answer that streams a process to its end. When the client closes it, the process is let go
/// of, and killed where it was not started detached.
pub(crate) fn stream(api: Api, process: Process, way_in: Option<Kept>) -> Response {
    let (frames, reading) = mpsc::channel(FRAMES_AHEAD);
    tokio::spawn(follow(api, process, way_in, frames));
    let body = Body::from_stream(ReceiverStream::new(reading).map(Ok::<_, Infallible>));
    ([(CONTENT_TYPE, "application/vnd.mvm.frames")], body).into_response()
}

async fn follow(
    api: Api,
    mut process: Process,
    _way_in: Option<Kept>,
    frames: mpsc::Sender<Bytes>,
) {
    let (stdout_offset, stderr_offset) = process.offsets();
    let started = event(&Event::Started {
        process_id: process.id(),
        pid: process.guest_pid(),
        run_id: process.run_id().as_str(),
        stdout_offset,
        stderr_offset,
    });
    if frames.send(started).await.is_err() {
        return;
    }
    loop {
        let next = tokio::select! {
            next = process.next_event() => next,
            () = tokio::time::sleep(PING_INTERVAL) => {
                if frames.send(event(&Event::Ping)).await.is_err() {
                    return;
                }
                continue;
            }
            () = frames.closed() => return,
            () = api.ended() => return,
        };
        let (frame, is_last) = match next {
            Ok(Some(ProcessEvent::Output { stream, bytes, .. })) => {
                let kind = match stream {
                    OutputStream::Stdout => STDOUT,
                    OutputStream::Stderr => STDERR,
                };
                (frame(kind, bytes), false)
            }
            Ok(Some(ProcessEvent::Gap { stream, from, to })) => {
                (event(&Event::Gap { stream, from, to }), false)
            }
            Ok(Some(ProcessEvent::Exited(exit))) => {
                let account = process.take_account();
                let result = ResultShape::new(&exit, account.as_ref());
                api.metrics.ran(exit.exit_code());
                (event(&Event::Exited { result }), true)
            }
            Ok(None) => return,
            Err(error) => {
                let problem = Problem::from(error);
                (event(&Event::Failed { problem }), true)
            }
        };
        if frames.send(frame).await.is_err() || is_last {
            return;
        }
    }
}
