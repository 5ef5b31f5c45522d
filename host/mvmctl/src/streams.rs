//! Joining a process in a sandbox to this program's own streams, signals and terminal.

use std::{convert::Infallible, io::Write as _};

use base64::Engine as _;
use mvm_contract::RunId;
use mvm_runtime::{
    ClientError, CommandResult, OutputStream, Process, ProcessEvent, ProcessExit, ProcessInput,
    RunAccount,
};
use serde::Serialize;
use tokio::{
    io::AsyncReadExt as _,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{failure::Failure, output, terminal};

const INPUT_BUFFER_BYTES: usize = 64 * 1024;
/// Signals that are passed on instead of ending this program.
const FORWARDED: [(SignalKind, u8); 4] = [
    (SignalKind::interrupt(), 2),
    (SignalKind::terminate(), 15),
    (SignalKind::hangup(), 1),
    (SignalKind::quit(), 3),
];

/// What of this program the process gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joined {
    /// Standard input.
    pub(crate) standard_input: bool,
    /// The terminal: raw mode, its size and the changes of it.
    pub(crate) terminal: bool,
}

/// Joins a process until it ends and gives how it ended, and what is kept of the run.
pub(crate) async fn join(
    mut process: Process,
    joined: Joined,
) -> Result<(ProcessExit, RunAccount), Failure> {
    let _raw = if joined.terminal {
        let entered = terminal::RawMode::enter();
        Some(entered.map_err(|error| Failure::host_io("failed to set up the terminal", &error))?)
    } else {
        None
    };
    let input = process.take_input();
    let exit = tokio::select! {
        exit = pass_output(&mut process) => exit?,
        never = pass_input(input, joined) => match never {},
    };
    let account = process.take_account().ok_or(ClientError::HungUp)?;
    Ok((exit, account))
}

async fn pass_output(process: &mut Process) -> Result<ProcessExit, Failure> {
    let mut stderr = std::io::stderr();
    while let Some(event) = process.next_event().await? {
        match event {
            ProcessEvent::Output {
                stream: OutputStream::Stdout,
                bytes,
                ..
            } => {
                output::bytes(bytes)?;
            }
            ProcessEvent::Output {
                stream: OutputStream::Stderr,
                bytes,
                ..
            } => stderr
                .write_all(bytes)
                .map_err(|error| Failure::host_io("failed to write to standard error", &error))?,
            ProcessEvent::Gap { from, to, stream } => {
                let lost = to.saturating_sub(from);
                output::talk(format_args!(
                    "[{lost} bytes of {stream:?} were lost unread]"
                ));
            }
            ProcessEvent::Exited(exit) => return Ok(exit),
        }
    }
    Err(ClientError::HungUp.into())
}

/// Passes input, signals and sizes on for as long as the process lives. A process that takes no
/// more input only ends that.
async fn pass_input(input: Option<ProcessInput>, joined: Joined) -> Infallible {
    let Some(mut input) = input else {
        return std::future::pending().await;
    };
    let mut stdin = joined.standard_input.then(tokio::io::stdin);
    let mut signals = Signals::new(joined.terminal);
    let mut buffer = vec![0; INPUT_BUFFER_BYTES];
    loop {
        tokio::select! {
            read = async { stdin.as_mut()?.read(&mut buffer).await.ok() }, if stdin.is_some() => {
                let sent = match read {
                    Some(count) if count > 0 => input.write(&buffer[..count]).await,
                    _ => {
                        stdin = None;
                        input.close().await
                    }
                };
                if sent.is_err() {
                    stdin = None;
                }
            }
            Some(event) = signals.next() => {
                let _ = match event {
                    SignalEvent::Forward(number) => input.signal(number).await,
                    SignalEvent::Resize => {
                        let (columns, rows) = terminal::size();
                        input.resize(columns, rows).await
                    }
                };
            }
        }
    }
}

enum SignalEvent {
    Forward(u8),
    Resize,
}

struct Signals {
    forwarded: Vec<(Signal, u8)>,
    resized: Option<Signal>,
}

impl Signals {
    fn new(terminal: bool) -> Self {
        let listen = |(kind, number)| Some((signal(kind).ok()?, number));
        Self {
            forwarded: FORWARDED.into_iter().filter_map(listen).collect(),
            resized: terminal
                .then(|| signal(SignalKind::window_change()).ok())
                .flatten(),
        }
    }

    /// The next signal. Cancel-safe: a signal that came stays pending.
    async fn next(&mut self) -> Option<SignalEvent> {
        std::future::poll_fn(|context| {
            for (signal, number) in &mut self.forwarded {
                if let std::task::Poll::Ready(Some(())) = signal.poll_recv(context) {
                    return std::task::Poll::Ready(Some(SignalEvent::Forward(*number)));
                }
            }
            if let Some(resized) = &mut self.resized
                && let std::task::Poll::Ready(Some(())) = resized.poll_recv(context)
            {
                return std::task::Poll::Ready(Some(SignalEvent::Resize));
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// The JSON of a command that has ended. Output that is UTF-8 comes as text, other output in
/// base64, so that nothing is lost.
pub(crate) fn result_json(result: &CommandResult) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct ResultJson<'a> {
        exit_code: u8,
        timed_out: bool,
        truncated: bool,
        duration_ms: f64,
        cpu_ms: f64,
        peak_memory_bytes: u64,
        run_id: &'a RunId,
        audit_id: Option<&'a str>,
        #[serde(flatten)]
        stdout: Text,
        #[serde(flatten)]
        stderr: Text,
    }
    output::json(&ResultJson {
        exit_code: result.exit_code(),
        timed_out: result.exit.timed_out,
        truncated: result.truncated,
        duration_ms: result.exit.duration.as_secs_f64() * 1000.0,
        cpu_ms: result.exit.cpu_time.as_secs_f64() * 1000.0,
        peak_memory_bytes: result.exit.peak_memory_bytes,
        run_id: &result.run.run_id,
        audit_id: result.run.audit_id.as_deref().ok(),
        stdout: Text::new("stdout", &result.stdout),
        stderr: Text::new("stderr", &result.stderr),
    })
}

struct Text {
    name: String,
    value: String,
}

impl Text {
    fn new(name: &str, bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self {
                name: name.to_owned(),
                value: text.to_owned(),
            },
            Err(_) => Self {
                name: format!("{name}_base64"),
                value: base64::engine::general_purpose::STANDARD.encode(bytes),
            },
        }
    }
}

impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(&self.name, &self.value)?;
        map.end()
    }
}
