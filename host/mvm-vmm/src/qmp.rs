//! A client of the QEMU Machine Protocol: one JSON object per line over a
//! private socket.
//!
//! The guest may have taken QEMU over, so what arrives is hostile: lines and
//! kept events are bounded, and a message that is not QMP is an error.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// The longest line accepted, in bytes.
const LINE_LIMIT: usize = 1 << 20;
/// The most events kept for a caller that does not ask for them; the oldest
/// are dropped.
const EVENT_LIMIT: usize = 256;

/// An event QEMU reported on its own account.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct QmpEvent {
    /// Its name, such as `SHUTDOWN`.
    #[serde(rename = "event")]
    pub name: String,
    /// Its members.
    #[serde(default)]
    pub data: Map<String, Value>,
}

/// QMP failed, or QEMU refused a command.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// Reading or writing the socket failed.
    #[error("the connection to QEMU broke")]
    Connection(#[source] io::Error),
    /// QEMU closed the connection.
    #[error("QEMU closed its control connection")]
    Closed,
    /// A line is longer than 1 MiB.
    #[error("QEMU sent a line longer than {LINE_LIMIT} bytes")]
    LineTooLong,
    /// A line is not a JSON object.
    #[error("QEMU sent a line that is not a JSON object")]
    NotJson(#[source] serde_json::Error),
    /// The first message is not a greeting.
    #[error("QEMU did not greet")]
    NoGreeting,
    /// QEMU answered a command with an error.
    #[error("QEMU refused `{command}`: {description} ({class})")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's class of the error, such as `CommandNotFound`.
        class: String,
        /// QEMU's own words.
        description: String,
    },
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    class: String,
    #[serde(default)]
    desc: String,
}

/// A connection to one QEMU.
///
/// Commands are answered one at a time. A call that is dropped before it
/// finished leaves the connection usable: its answer is skipped later.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    received: Vec<u8>,
    /// Bytes at the start of `received` known to hold no line end.
    searched: usize,
    /// The rest of a command whose sending was interrupted.
    unsent: Vec<u8>,
    next_id: u64,
    events: VecDeque<QmpEvent>,
}

impl Qmp {
    /// Waits for QEMU's greeting and leaves the negotiation of capabilities.
    pub async fn connect(stream: UnixStream) -> Result<Qmp, QmpError> {
        let mut qmp = Qmp {
            stream,
            received: Vec::new(),
            searched: 0,
            unsent: Vec::new(),
            next_id: 0,
            events: VecDeque::new(),
        };
        let greeting = qmp.message().await?;
        if !greeting.contains_key("QMP") {
            return Err(QmpError::NoGreeting);
        }
        qmp.execute("qmp_capabilities", Value::Null).await?;
        Ok(qmp)
    }

    /// Executes a command; `arguments` is an object, or null for none. Events
    /// that arrive meanwhile are kept for [`Qmp::next_event`].
    pub async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let id = self.queue(command, arguments);
        self.flush().await?;
        self.answer(command, id).await
    }

    /// Executes a command that takes a file descriptor along (`getfd`).
    pub async fn execute_with_fd(
        &mut self,
        command: &str,
        arguments: Value,
        fd: BorrowedFd<'_>,
    ) -> Result<Value, QmpError> {
        self.flush().await?;
        let id = self.queue(command, arguments);
        let (stream, unsent) = (&self.stream, &self.unsent);
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                let fds = [fd];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                control.push(SendAncillaryMessage::ScmRights(&fds));
                let data = [IoSlice::new(unsent)];
                Ok(sendmsg(stream, &data, &mut control, SendFlags::NOSIGNAL)?)
            })
            .await;
        match sent {
            Ok(count) => drop(self.unsent.drain(..count)),
            Err(error) => {
                self.unsent.clear();
                return Err(broken(error));
            }
        }
        self.flush().await?;
        self.answer(command, id).await
    }

    /// The next event, kept or new.
    pub async fn next_event(&mut self) -> Result<QmpEvent, QmpError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let message = self.message().await?;
            self.keep_event(message);
        }
    }

    fn queue(&mut self, command: &str, arguments: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let mut request = json!({ "execute": command, "id": id });
        if !arguments.is_null() {
            request["arguments"] = arguments;
        }
        self.unsent
            .extend_from_slice(request.to_string().as_bytes());
        self.unsent.push(b'\n');
        id
    }

    async fn flush(&mut self) -> Result<(), QmpError> {
        while !self.unsent.is_empty() {
            let count = self.stream.write(&self.unsent).await.map_err(broken)?;
            self.unsent.drain(..count);
        }
        Ok(())
    }

    async fn answer(&mut self, command: &str, id: u64) -> Result<Value, QmpError> {
        loop {
            let mut message = self.message().await?;
            if message.get("id").and_then(Value::as_u64) != Some(id) {
                self.keep_event(message);
                continue;
            }
            if let Some(refusal) = message.remove("error") {
                let refusal: Refusal =
                    serde_json::from_value(refusal).map_err(QmpError::NotJson)?;
                return Err(QmpError::Refused {
                    command: command.to_owned(),
                    class: refusal.class,
                    description: refusal.desc,
                });
            }
            return Ok(message.remove("return").unwrap_or(Value::Null));
        }
    }

    /// Keeps an event; anything else is an answer nobody waits for any more.
    fn keep_event(&mut self, message: Map<String, Value>) {
        if let Ok(event) = serde_json::from_value(Value::Object(message)) {
            if self.events.len() == EVENT_LIMIT {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
    }

    /// The next line. Dropping the future loses nothing.
    async fn message(&mut self) -> Result<Map<String, Value>, QmpError> {
        loop {
            let end = self.received[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line: Vec<u8> = self.received.drain(..=self.searched + end).collect();
                self.searched = 0;
                return serde_json::from_slice(&line).map_err(QmpError::NotJson);
            }
            self.searched = self.received.len();
            if self.searched > LINE_LIMIT {
                return Err(QmpError::LineTooLong);
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err(QmpError::Closed),
                Ok(_) => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

/// A peer that is gone is told in the same way by reading and by writing.
fn broken(error: io::Error) -> QmpError {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => QmpError::Closed,
        _ => QmpError::Connection(error),
    }
}

#[cfg(test)]
mod tests;
