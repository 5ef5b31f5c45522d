//! Processes of a sandbox, from the outside.

use std::{path::Path, sync::Arc, time::Duration};

use mvm_contract::{RunId, exit_status};
use mvm_wire::{
    AttachProcess, EndOfData, ForgetProcess, Frame, FrameKind, Input, ListProcesses, Operation,
    Reply, ResizeTerminal, SendSignal, SignalProcess, StartProcess, TerminalSize,
    frame::MAX_DATA_BYTES,
    reply,
    session::{FrameReader, FrameWriter},
};
use prost::Message as _;
use serde::Serialize;
use tokio::{
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::compat::Compat;

use super::{AgentStream, ClientError};
use crate::run::{RecordRunError, RunAccount, RunRecorder};

/// Beyond its timeout and grace, how long a guest may take to say that a command has ended.
const UNRESPONSIVE_MARGIN: Duration = Duration::from_secs(30);

/// Which output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitStatus {
    /// It exited with this code.
    Code(u8),
    /// It was killed by this signal.
    Signal(u8),
}

/// How a process ended, and what it took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ProcessExit {
    /// How it ended.
    pub status: ExitStatus,
    /// Whether it was ended because its timeout passed.
    pub timed_out: bool,
    /// From its start to its end, by the guest's monotonic clock.
    pub duration: Duration,
    /// Processor time, of it and the children it waited for.
    pub cpu_time: Duration,
    /// Largest resident set, bytes.
    pub peak_memory_bytes: u64,
}

impl ProcessExit {
    /// The exit code of a program that passes this end on: the process's own, 128 + N for a
    /// signal, 124 for a timeout.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.status {
            _ if self.timed_out => exit_status::TIMED_OUT,
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => exit_status::SIGNAL_BASE.saturating_add(signal),
        }
    }
}

/// Something that happened to a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ProcessEvent<'a> {
    /// It wrote these bytes.
    Output {
        /// Where.
        stream: OutputStream,
        /// Offset of the first byte since the process began to write there.
        offset: u64,
        /// What.
        bytes: &'a [u8],
    },
    /// Output from `from` up to `to` was lost while nobody read it.
    Gap {
        /// Where.
        stream: OutputStream,
        /// First byte lost.
        from: u64,
        /// First byte not lost.
        to: u64,
    },
    /// It ended, and all its output has come before.
    Exited(ProcessExit),
}

/// A process that was started or attached to. Dropping it kills the process unless it was
/// started detached.
#[derive(Debug)]
pub struct Process {
    sandbox: String,
    process_id: u64,
    run_id: RunId,
    pid: u32,
    reader: FrameReader<Compat<OwnedReadHalf>>,
    input: Option<ProcessInput>,
    output_offset: u64,
    error_offset: u64,
    exited: bool,
    recorder: Option<RunRecorder>,
    /// Its end, once it has come, while it is recorded.
    ending: Option<Ending>,
    account: Option<RunAccount>,
    /// When a guest that says nothing of the end is taken for dead, and how long that is.
    deadline: Option<(Instant, Duration)>,
}

/// The end of a process, while it is recorded.
#[derive(Debug)]
struct Ending {
    run_id: RunId,
    exit: ProcessExit,
    recording: JoinHandle<RunAccount>,
}

/// The exit, once it is recorded. Cancel-safe.
async fn recorded(ending: &mut Ending, account: &mut Option<RunAccount>) -> ProcessEvent<'static> {
    let recorded = (&mut ending.recording).await;
    *account = Some(recorded.unwrap_or_else(|_| RunAccount {
        run_id: ending.run_id.clone(),
        audit_id: Err(Arc::new(RecordRunError::Ending)),
        receipt: None,
    }));
    ProcessEvent::Exited(ending.exit)
}

impl Process {
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

    /// What happens next; `None` after the exit. A guest that does not end a command whose timeout
    /// and grace passed 30 s ago is an error. Cancel-safe.
    pub async fn next_event(&mut self) -> Result<Option<ProcessEvent<'_>>, ClientError> {
        if self.exited {
            return Ok(None);
        }
        if let Some(ending) = &mut self.ending {
            let event = recorded(ending, &mut self.account).await;
            self.exited = true;
            return Ok(Some(event));
        }

        let frame = match self.deadline {
            None => self.reader.next().await,
            Some((deadline, limit)) => tokio::time::timeout_at(deadline, self.reader.next())
                .await
                .map_err(|_| ClientError::Unresponsive { limit })?,
        };
        let frame = frame.map_err(ClientError::Receive)?;
        let Some(Frame { kind, payload }) = frame else {
            return Err(ClientError::Interrupted {
                id: self.sandbox.clone(),
                process_id: self.process_id,
            });
        };
        let (stream, next_offset) = match kind {
            FrameKind::Data => (OutputStream::Stdout, &mut self.output_offset),
            FrameKind::ErrorData => (OutputStream::Stderr, &mut self.error_offset),
            FrameKind::Message => {
                let event = match decode(payload)? {
                    reply::Kind::OutputGap(gap) => {
                        let error = gap.stream() == mvm_wire::OutputStream::Error;
                        let (stream, next_offset) = if error {
                            (OutputStream::Stderr, &mut self.error_offset)
                        } else {
                            (OutputStream::Stdout, &mut self.output_offset)
                        };
                        *next_offset = gap.to;
                        if let Some(recorder) = &mut self.recorder {
                            recorder.gap(stream);
                        }
                        ProcessEvent::Gap {
                            stream,
                            from: gap.from,
                            to: gap.to,
                        }
                    }
                    reply::Kind::ProcessExited(exited) => {
                        let exit = exit(&exited)?;
                        let Some(recorder) = self.recorder.take() else {
                            self.exited = true;
                            return Ok(Some(ProcessEvent::Exited(exit)));
                        };
                        let process_id = self.process_id;
                        let record = move || recorder.end(process_id, &exit);
                        let run_id = self.run_id.clone();
                        let ending = self.ending.insert(Ending {
                            run_id,
                            exit,
                            recording: tokio::task::spawn_blocking(record),
                        });
                        let event = recorded(ending, &mut self.account).await;
                        self.exited = true;
                        return Ok(Some(event));
                    }
                    reply::Kind::Failure(failure) => {
                        return Err(ClientError::Agent(failure.into()));
                    }
                    _ => {
                        return Err(ClientError::UnexpectedReply {
                            expected: "a process event",
                        });
                    }
                };
                return Ok(Some(event));
            }
        };
        if let Some(recorder) = &mut self.recorder {
            recorder.output(stream, payload);
        }
        let offset = *next_offset;
        *next_offset = offset.saturating_add(payload.len() as u64);
        Ok(Some(ProcessEvent::Output {
            stream,
            offset,
            bytes: payload,
        }))
    }

    async fn begin(
        sandbox: &str,
        mut stream: AgentStream,
        recorder: RunRecorder,
    ) -> Result<Self, ClientError> {
        let first: Option<Reply> = stream
            .reader
            .next_message()
            .await
            .map_err(ClientError::Receive)?;
        match first.ok_or(ClientError::HungUp)?.kind {
            Some(reply::Kind::ProcessStarted(started)) => Ok(Self {
                sandbox: sandbox.to_owned(),
                run_id: recorder.run_id(started.process_id),
                recorder: Some(recorder),
                ending: None,
                account: None,
                process_id: started.process_id,
                pid: started.pid,
                reader: stream.reader,
                input: Some(ProcessInput {
                    writer: Some(stream.writer),
                }),
                output_offset: started.output_offset,
                error_offset: started.error_offset,
                exited: false,
                deadline: None,
            }),
            Some(reply::Kind::Failure(failure)) => Err(ClientError::Agent(failure.into())),
            _ => Err(ClientError::UnexpectedReply {
                expected: "the start of a process",
            }),
        }
    }
}

/// The way to a process's standard input, terminal and signals. Dropping it leaves standard
/// input open and the process alone; [`close`](Self::close) says end-of-file.
#[derive(Debug)]
pub struct ProcessInput {
    /// Present until dropped.
    writer: Option<FrameWriter<Compat<OwnedWriteHalf>>>,
}

impl Drop for ProcessInput {
    fn drop(&mut self) {
        // Shutting this direction down would say that the client is gone, and kill the process.
        if let Some(writer) = self.writer.take() {
            writer.into_stream().into_inner().forget();
        }
    }
}

impl ProcessInput {
    /// Sends bytes to standard input or the terminal; waits while the process does not read.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let writer = self.writer.as_mut().ok_or(ClientError::HungUp)?;
        for chunk in bytes.chunks(MAX_DATA_BYTES) {
            writer
                .data(FrameKind::Data, chunk)
                .await
                .map_err(ClientError::Send)?;
        }
        Ok(())
    }

    /// Closes standard input; on a terminal, sends end-of-file.
    pub async fn close(&mut self) -> Result<(), ClientError> {
        self.say(EndOfData {}.into()).await
    }

    /// Sends a signal (1 to 64) to the process group, or to a terminal's foreground group.
    pub async fn signal(&mut self, signal: u8) -> Result<(), ClientError> {
        self.say(
            SendSignal {
                signal: u32::from(signal),
            }
            .into(),
        )
        .await
    }

    /// Tells the terminal its new size in character cells.
    pub async fn resize(&mut self, columns: u16, rows: u16) -> Result<(), ClientError> {
        let size = TerminalSize {
            columns: u32::from(columns),
            rows: u32::from(rows),
        };
        self.say(ResizeTerminal { size }.into()).await
    }

    async fn say(&mut self, input: Input) -> Result<(), ClientError> {
        let writer = self.writer.as_mut().ok_or(ClientError::HungUp)?;
        writer.message(&input).await.map_err(ClientError::Send)
    }
}

/// A process the sandbox knows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessSummary {
    /// The number to attach to it by.
    pub id: u64,
    /// Its process identifier in the guest.
    pub pid: u32,
    /// Program and arguments; bytes that are not UTF-8 are replaced.
    pub arguments: Vec<String>,
    /// When it started, milliseconds since the Unix epoch by the guest's clock.
    pub started_at_ms: u64,
    /// Whether it outlives its client.
    pub detached: bool,
    /// How it ended; absent while it runs.
    pub exit: Option<ProcessExit>,
}

pub(crate) async fn start(
    folder: &Path,
    id: &str,
    request: StartProcess,
    recorder: RunRecorder,
) -> Result<Process, ClientError> {
    let limit = (request.timeout_milliseconds > 0).then(|| {
        let allowed = request
            .timeout_milliseconds
            .saturating_add(request.grace_milliseconds);
        Duration::from_millis(allowed).saturating_add(UNRESPONSIVE_MARGIN)
    });
    if request.arguments.is_empty() {
        return Err(ClientError::NoCommand);
    }
    let operation = Operation::StartProcess(request);
    let stream = AgentStream::open(folder, id, operation).await?;
    let mut process = Process::begin(id, stream, recorder).await?;
    process.deadline = limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit)));
    Ok(process)
}

pub(crate) async fn attach(
    folder: &Path,
    id: &str,
    request: AttachProcess,
    recorder: RunRecorder,
) -> Result<Process, ClientError> {
    let operation = Operation::AttachProcess(request);
    let stream = AgentStream::open(folder, id, operation).await?;
    Process::begin(id, stream, recorder).await
}

pub(crate) async fn list_processes(
    folder: &Path,
    id: &str,
) -> Result<Vec<ProcessSummary>, ClientError> {
    let operation = Operation::ListProcesses(ListProcesses {});
    let mut stream = AgentStream::open(folder, id, operation).await?;
    let reply::Kind::ProcessList(list) = one_reply(&mut stream).await? else {
        return Err(ClientError::UnexpectedReply {
            expected: "a list of processes",
        });
    };
    let summary = |process: mvm_wire::ProcessSummary| {
        let text = |argument: &Vec<u8>| String::from_utf8_lossy(argument).into_owned();
        Ok(ProcessSummary {
            id: process.process_id,
            pid: process.pid,
            arguments: process.arguments.iter().map(text).collect(),
            started_at_ms: process.started_nanoseconds / 1_000_000,
            detached: process.detached,
            exit: process.exited.as_ref().map(exit).transpose()?,
        })
    };
    list.processes.into_iter().map(summary).collect()
}

pub(crate) async fn signal(
    folder: &Path,
    id: &str,
    request: SignalProcess,
) -> Result<(), ClientError> {
    done(folder, id, Operation::SignalProcess(request)).await
}

pub(crate) async fn forget(folder: &Path, id: &str, process_id: u64) -> Result<(), ClientError> {
    done(
        folder,
        id,
        Operation::ForgetProcess(ForgetProcess { process_id }),
    )
    .await
}

/// Sends an operation whose only answer is `Done`.
pub(crate) async fn done(folder: &Path, id: &str, operation: Operation) -> Result<(), ClientError> {
    let mut stream = AgentStream::open(folder, id, operation).await?;
    match one_reply(&mut stream).await? {
        reply::Kind::Done(_) => Ok(()),
        _ => Err(ClientError::UnexpectedReply {
            expected: "an acknowledgement",
        }),
    }
}

/// The next message of a stream, a failure turned into an error.
pub(crate) async fn one_reply(stream: &mut AgentStream) -> Result<reply::Kind, ClientError> {
    let reply: Option<Reply> = stream
        .reader
        .next_message()
        .await
        .map_err(ClientError::Receive)?;
    known(reply.ok_or(ClientError::HungUp)?)
}

/// Decodes a message frame, a failure turned into an error.
pub(crate) fn decode(payload: &[u8]) -> Result<reply::Kind, ClientError> {
    let reply = Reply::decode(payload).map_err(mvm_wire::session::ReadError::Message);
    known(reply.map_err(ClientError::Receive)?)
}

fn known(reply: Reply) -> Result<reply::Kind, ClientError> {
    match reply.kind {
        Some(reply::Kind::Failure(failure)) => Err(ClientError::Agent(failure.into())),
        Some(kind) => Ok(kind),
        None => Err(ClientError::UnexpectedReply {
            expected: "a known reply",
        }),
    }
}

fn exit(exited: &mvm_wire::ProcessExited) -> Result<ProcessExit, ClientError> {
    let byte = |number: u32| u8::try_from(number).ok();
    let status = match exited.status {
        Some(mvm_wire::ExitStatus::Code(code)) => byte(code).map(ExitStatus::Code),
        Some(mvm_wire::ExitStatus::Signal(signal)) => byte(signal).map(ExitStatus::Signal),
        None => None,
    };
    Ok(ProcessExit {
        status: status.ok_or(ClientError::UnexpectedReply {
            expected: "an exit status",
        })?,
        timed_out: exited.timed_out,
        duration: Duration::from_micros(exited.duration_microseconds),
        cpu_time: Duration::from_micros(exited.cpu_microseconds),
        peak_memory_bytes: exited.peak_memory_kib.saturating_mul(1024),
    })
}
