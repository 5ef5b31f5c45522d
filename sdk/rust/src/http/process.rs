//! Processes of a server's sandbox.

use std::{convert::Infallible, sync::Arc};

use hyper::{
    Method, Response,
    body::{Bytes, Incoming},
};
use mvm_contract::RunId;
use mvm_runtime::{CollectedOutput, CommandResult, OutputStream, ProcessEvent, RunAccount};
use serde_json::json;

use super::{
    HttpError,
    command::Size,
    exchange::{Content, Server},
    frames::{Event, Frame, Frames},
};

/// A process that was started or attached to. Dropping it kills the process unless it was
/// started detached.
#[derive(Debug)]
pub struct Process {
    process_id: u64,
    run_id: RunId,
    pid: u32,
    frames: Frames,
    input: Option<ProcessInput>,
    output_offset: u64,
    error_offset: u64,
    /// What was given out last.
    bytes: Bytes,
    exited: bool,
    account: Option<RunAccount>,
}

impl Process {
    /// The process of a stream, of which the first frame tells.
    pub(super) async fn begin(
        server: &Arc<Server>,
        sandbox_path: &str,
        answer: Response<Incoming>,
    ) -> Result<Self, HttpError> {
        let mut frames = Frames::new(answer.into_body());
        match frames.next().await? {
            Some(Frame::Event(Event::Started {
                process_id,
                pid,
                run_id,
                stdout_offset,
                stderr_offset,
            })) => Ok(Self {
                process_id,
                run_id,
                pid,
                frames,
                input: Some(ProcessInput {
                    server: Arc::clone(server),
                    path: format!("{sandbox_path}/processes/{process_id}"),
                }),
                output_offset: stdout_offset,
                error_offset: stderr_offset,
                bytes: Bytes::new(),
                exited: false,
                account: None,
            }),
            Some(Frame::Event(Event::Failed { problem })) => {
                Err(HttpError::Problem(problem.into()))
            }
            _ => Err(HttpError::Answer {
                expected: "the start of a process",
            }),
        }
    }

    /// The number to attach to it by.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.process_id
    }

    /// Its process identifier in the guest.
    #[must_use]
    pub fn guest_pid(&self) -> u32 {
        self.pid
    }

    /// From which bytes of standard output and standard error on they come: what is next.
    #[must_use]
    pub fn offsets(&self) -> (u64, u64) {
        (self.output_offset, self.error_offset)
    }

    /// The run, on everything that tells of it; the same for everybody who follows the process.
    #[must_use]
    pub fn run_id(&self) -> &RunId {
        &self.run_id
    }

    /// What is kept of the run; there once its exit has come, to be taken once.
    pub fn take_account(&mut self) -> Option<RunAccount> {
        self.account.take()
    }

    /// The way to its standard input, terminal and signals; it can be taken once, so that
    /// writing and reading can go on at the same time.
    pub fn take_input(&mut self) -> Option<ProcessInput> {
        self.input.take()
    }

    /// What happens next; `None` after the exit. A server from which nothing came for a minute is
    /// an error. Cancel-safe.
    pub async fn next_event(&mut self) -> Result<Option<ProcessEvent<'_>>, HttpError> {
        if self.exited {
            return Ok(None);
        }
        loop {
            let frame = self.frames.next().await?.ok_or(HttpError::Answer {
                expected: "the whole stream of a process: it ended before the process did",
            })?;
            match frame {
                Frame::Output(stream, bytes) => {
                    let next_offset = self.next_offset(stream);
                    let offset = *next_offset;
                    *next_offset = offset.saturating_add(bytes.len() as u64);
                    self.bytes = bytes;
                    return Ok(Some(ProcessEvent::Output {
                        stream,
                        offset,
                        bytes: &self.bytes,
                    }));
                }
                Frame::Event(Event::Gap { stream, from, to }) => {
                    let stream = stream.into();
                    *self.next_offset(stream) = to;
                    return Ok(Some(ProcessEvent::Gap { stream, from, to }));
                }
                Frame::Event(Event::Exited { result }) => {
                    let exit = result.exit()?;
                    self.account = Some(result.account(self.run_id.clone())?);
                    self.exited = true;
                    return Ok(Some(ProcessEvent::Exited(exit)));
                }
                Frame::Event(Event::Failed { problem }) => {
                    return Err(HttpError::Problem(problem.into()));
                }
                Frame::Event(Event::Started { .. } | Event::Other) => {}
            }
        }
    }

    fn next_offset(&mut self, stream: OutputStream) -> &mut u64 {
        match stream {
            OutputStream::Stdout => &mut self.output_offset,
            OutputStream::Stderr => &mut self.error_offset,
        }
    }

    /// Sends it this input, and collects what it writes until it ends.
    pub(super) async fn collect(mut self, input: &[u8]) -> Result<CommandResult, HttpError> {
        let sender = self.take_input();
        tokio::select! {
            result = self.collect_output() => result,
            never = send_all(sender, input) => match never {},
        }
    }

    async fn collect_output(&mut self) -> Result<CommandResult, HttpError> {
        let mut output = CollectedOutput::default();
        let unexpected = HttpError::Answer {
            expected: "the end of a process",
        };
        while let Some(event) = self.next_event().await? {
            if let Some(exit) = output.take(event) {
                let run = self.take_account().ok_or(unexpected)?;
                return Ok(output.result(exit, run));
            }
        }
        Err(unexpected)
    }
}

/// Sends all input and closes it. A process that does not read its input ends the sending; its
/// result tells what it made of that.
async fn send_all(sender: Option<ProcessInput>, input: &[u8]) -> Infallible {
    if let Some(sender) = sender
        && !input.is_empty()
    {
        let _ = sender.send(input, true).await;
    }
    std::future::pending().await
}

/// The way to a process's standard input, terminal and signals. Dropping it leaves standard
/// input open and the process alone; [`close`](Self::close) says end-of-file.
#[derive(Debug)]
pub struct ProcessInput {
    server: Arc<Server>,
    path: String,
}

impl ProcessInput {
    /// Sends bytes to standard input or the terminal; waits while the process does not read.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), HttpError> {
        self.send(bytes, false).await
    }

    /// Closes standard input; on a terminal, sends end-of-file.
    pub async fn close(&mut self) -> Result<(), HttpError> {
        self.send(&[], true).await
    }

    /// Sends a signal (1 to 64) to the process group.
    pub async fn signal(&mut self, signal: u8) -> Result<(), HttpError> {
        let path = format!("{}/signal", self.path);
        let content = Content::json(&json!({ "signal": signal }))?;
        self.server.tell(Method::POST, &path, content).await
    }

    /// Tells the terminal its new size in character cells.
    pub async fn resize(&mut self, columns: u16, rows: u16) -> Result<(), HttpError> {
        let path = format!("{}/resize", self.path);
        let content = Content::json(&Size {
            columns: columns.into(),
            rows: rows.into(),
        })?;
        self.server.tell(Method::POST, &path, content).await
    }

    async fn send(&self, bytes: &[u8], is_last: bool) -> Result<(), HttpError> {
        let path = format!("{}/stdin?close={is_last}", self.path);
        let content = Content::Bytes(Bytes::copy_from_slice(bytes));
        self.server.tell_work(Method::POST, &path, content).await
    }
}
