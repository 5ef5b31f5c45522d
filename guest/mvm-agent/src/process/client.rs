//! A client of a process: its input, and the output it is sent.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use futures::future::{Either, select};
use mvm_wire::{
    AttachProcess, Frame, FrameKind, Input, OutputGap, OutputStream, ProcessStarted, Reply,
    StartProcess, input, session::BULK_BYTES,
};
use prost::Message as _;
use rustix::io::Errno;

use super::{
    Cursors, Process,
    start::{Started, resize},
    supervise::{TimeLimit, supervise},
};
use crate::{
    Agent,
    exchange::{Exchange, Gone, SharedStream, StreamReader, StreamWriter},
    failure::{Failed, Outcome},
    watched::Watched,
};

/// VEOF: ends the input of who reads from a terminal.
const END_OF_TRANSMISSION: &[u8] = &[4];
/// How often a client that keeps its process waiting for input is looked at.
const PRESENCE_INTERVAL: Duration = Duration::from_millis(100);

/// A client, counted among its process's as long as this lives.
struct Client {
    process: Rc<Process>,
    cursors: Rc<Cursors>,
    /// Why the client's next input was not taken.
    refused: RefCell<Option<Failed>>,
    /// Whether it may send standard input.
    sends_input: Cell<bool>,
}

impl Client {
    fn new(process: &Rc<Process>, cursors: Cursors, sends_input: bool) -> Self {
        let cursors = Rc::new(cursors);
        process.clients.borrow_mut().push(Rc::clone(&cursors));
        Self {
            process: Rc::clone(process),
            cursors,
            refused: RefCell::new(None),
            sends_input: Cell::new(sends_input),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.process
            .clients
            .borrow_mut()
            .retain(|cursors| !Rc::ptr_eq(cursors, &self.cursors));
        self.process.room.notify_waiters();
    }
}

/// Starts a process and serves its first client.
pub(crate) async fn start(
    agent: &Rc<Agent>,
    exchange: &mut Exchange,
    request: StartProcess,
) -> Result<Outcome<()>, Gone> {
    let limit = TimeLimit {
        timeout: (request.timeout_milliseconds > 0)
            .then(|| Duration::from_millis(request.timeout_milliseconds)),
        grace: Duration::from_millis(request.grace_milliseconds),
    };
    let sends_input = request.standard_input;
    let started = match agent.processes.launch(request, &agent.account_files()) {
        Ok(started) => started,
        Err(failed) => return Ok(Err(failed)),
    };
    let Started { process, .. } = &started;
    let client = Client::new(process, Cursors::default(), sends_input);
    tokio::task::spawn_local(supervise(Rc::clone(&agent.processes), started, limit));
    serve(exchange, client, true).await
}

/// Serves a further client of a process.
pub(crate) async fn attach(
    agent: &Rc<Agent>,
    exchange: &mut Exchange,
    request: AttachProcess,
) -> Result<Outcome<()>, Gone> {
    let process = match agent.processes.find(request.process_id) {
        Ok(process) => process,
        Err(failed) => return Ok(Err(failed)),
    };
    if request.output_offset > process.output.borrow().end()
        || request.error_offset > process.error.borrow().end()
    {
        let doing = "attaching behind the end of a process's output";
        return Ok(Err(Failed::invalid(doing, request.process_id.to_string())));
    }
    let cursors = Cursors {
        output: Cell::new(request.output_offset),
        error: Cell::new(request.error_offset),
    };
    let client = Client::new(&process, cursors, request.standard_input);
    serve(exchange, client, false).await
}

async fn serve(
    exchange: &mut Exchange,
    client: Client,
    is_first: bool,
) -> Result<Outcome<()>, Gone> {
    let process = Rc::clone(&client.process);
    let Exchange {
        reader,
        writer,
        stream,
        link,
    } = exchange;
    let result = {
        let output = pin!(send_output(writer, &client));
        let input = pin!(take_input(reader, stream, &client));
        match select(output, input).await {
            Either::Left((result, _)) => result,
            Either::Right((gone, _)) => Err(gone),
        }
    };
    drop(client);
    let ended_early = process.exited.borrow().is_none();
    let is_last = process.clients.borrow().is_empty();
    if ended_early && !process.detached && !link.is_lost() && (is_first || is_last) {
        process.kill();
    }
    result
}

/// Sends what the process says, and how it ended.
async fn send_output(writer: &mut StreamWriter, client: &Client) -> Result<Outcome<()>, Gone> {
    let Client {
        process, cursors, ..
    } = client;
    writer
        .message(&Reply::from(ProcessStarted {
            process_id: process.id,
            pid: process.pid as u32,
            output_offset: cursors.output.get(),
            error_offset: cursors.error.get(),
        }))
        .await?;
    loop {
        let mut sent = false;
        for (stream, kind) in [
            (OutputStream::Output, FrameKind::Data),
            (OutputStream::Error, FrameKind::ErrorData),
        ] {
            let ring = process.ring(stream);
            let cursor = cursors.of(stream);
            let (from, to) = (cursor.get(), ring.borrow().start());
            if from < to {
                let stream = stream.into();
                cursor.set(to);
                writer
                    .message(&Reply::from(OutputGap { stream, from, to }))
                    .await?;
            }
            let copy = |buffer: &mut [u8]| {
                Ok::<_, std::convert::Infallible>(ring.borrow().copy_from(cursor.get(), buffer))
            };
            let waiting = ring.borrow().end() - cursor.get();
            let limit = BULK_BYTES.min(usize::try_from(waiting).unwrap_or(BULK_BYTES));
            if limit > 0
                && let Ok(count) = writer.data_from(kind, limit, copy).await?
            {
                cursor.set(cursor.get() + count as u64);
                process.room.notify_waiters();
                sent = true;
            }
        }
        if sent {
            continue;
        }
        if let Some(failed) = client.refused.take() {
            return Ok(Err(failed));
        }
        let exited = process.exited.borrow().clone();
        if let Some(exited) = exited {
            writer.message(&Reply::from(exited)).await?;
            return Ok(Ok(()));
        }
        process.changed.notified().await;
    }
}

/// Takes what the client sends until it has gone.
async fn take_input(reader: &mut StreamReader, stream: &SharedStream, client: &Client) -> Gone {
    loop {
        let taken = match reader.next().await {
            Ok(Some(Frame {
                kind: FrameKind::Data,
                payload,
            })) => {
                if client.sends_input.get() {
                    match write_input(&client.process, stream, payload).await {
                        Ok(()) => Ok(()),
                        Err(gone) => return gone,
                    }
                } else {
                    Err(Failed::invalid(
                        "taking standard input nobody announced",
                        [],
                    ))
                }
            }
            Ok(Some(Frame {
                kind: FrameKind::Message,
                payload,
            })) => match Input::decode(payload).map(|input| input.kind) {
                Ok(Some(input::Kind::EndOfData(_))) => {
                    client.sends_input.set(false);
                    match end_input(&client.process, stream).await {
                        Ok(()) => Ok(()),
                        Err(gone) => return gone,
                    }
                }
                Ok(Some(input::Kind::SendSignal(signal))) => {
                    match client.process.signal_group(signal.signal) {
                        // It has just ended: what the client wants to know follows anyhow.
                        Err(_) if client.process.has_ended() => Ok(()),
                        result => result,
                    }
                }
                Ok(Some(input::Kind::ResizeTerminal(request))) => match &client.process.terminal {
                    Some(terminal) => resize(terminal.get_ref(), request.size),
                    None => Err(Failed::invalid("resizing a terminal that is not there", [])),
                },
                Ok(_) | Err(_) => Err(Failed::invalid("reading a process's input", [])),
            },
            Ok(Some(_)) => Err(Failed::invalid("reading a process's input", [])),
            Ok(None) => return Gone,
            Err(_) => Err(Failed::invalid("reading a frame", [])),
        };
        if let Err(failed) = taken {
            client.refused.replace(Some(failed));
            client.process.changed.notify_waiters();
            // The output side answers and ends.
            return std::future::pending().await;
        }
    }
}

/// Writes to the process's standard input; what nobody reads any more is dropped.
async fn write_input(process: &Process, stream: &SharedStream, bytes: &[u8]) -> Result<(), Gone> {
    if let Some(terminal) = &process.terminal {
        return write_to(terminal, stream, bytes).await.map(drop);
    }
    let pipe = process.input.borrow().clone();
    if let Some(pipe) = pipe
        && !write_to(&pipe, stream, bytes).await?
    {
        process.input.replace(None);
    }
    Ok(())
}

async fn end_input(process: &Process, stream: &SharedStream) -> Result<(), Gone> {
    if process.terminal.is_some() {
        return write_input(process, stream, END_OF_TRANSMISSION).await;
    }
    process.input.replace(None);
    Ok(())
}

/// Writes all of `bytes`, waiting for the reader. False when there is none any more.
async fn write_to(target: &Watched, stream: &SharedStream, mut bytes: &[u8]) -> Result<bool, Gone> {
    while !bytes.is_empty() {
        match rustix::io::write(target.get_ref(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // The client's end is behind its data and would not be met here.
                let wait = tokio::time::timeout(PRESENCE_INTERVAL, target.writable());
                match wait.await {
                    Ok(Ok(mut ready)) => {
                        if matches!(
                            rustix::event::poll(
                                &mut [rustix::event::PollFd::new(
                                    target.get_ref(),
                                    rustix::event::PollFlags::OUT,
                                )],
                                Some(&rustix::event::Timespec::default()),
                            ),
                            Ok(0)
                        ) {
                            ready.clear_ready();
                        }
                    }
                    Ok(Err(_)) => return Ok(false),
                    Err(_) if stream.is_reset() => return Err(Gone),
                    Err(_) => {}
                }
            }
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}
