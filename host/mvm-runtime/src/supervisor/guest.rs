//! The supervisor's connection to the agent.

use std::{
    fs::File,
    io,
    time::{Duration, SystemTime},
};

use futures::AsyncReadExt as _;
use mvm_wire::{
    Hello, HelloReply, Operation, PROTOCOL_GENERATION, ReadLog, Reply, Request, Shutdown, reply,
    session::{
        self, Closed, End, FrameReader, FrameWriter, GreetingError, ReadError, Stream,
        StreamOpener, WriteError,
    },
};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::{net::UnixStream, sync::watch, task::AbortHandle};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use super::guest_log;

/// Why the agent did not accept the connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum GreetError {
    #[error(transparent)]
    Greeting(#[from] GreetingError),
    #[error("failed to read the host's random source")]
    Random(#[source] io::Error),
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("failed to send the greeting")]
    Send(#[source] WriteError),
    #[error("failed to read the answer to the greeting")]
    Receive(#[source] ReadError),
    #[error("the agent hung up")]
    HungUp,
    #[error("the agent answered the greeting with something else")]
    UnexpectedReply,
    #[error("the agent speaks protocol generation {found}, not {PROTOCOL_GENERATION}")]
    Generation { found: u32 },
}

/// A connected agent.
pub(super) struct Guest {
    opener: StreamOpener,
    ended: watch::Receiver<bool>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Guest {
    /// Connects over a fresh channel: gives the agent its key, the time, randomness, a name.
    pub(super) async fn greet(
        channel: UnixStream,
        hostname: String,
        log: File,
    ) -> Result<Self, GreetError> {
        let mut channel = channel.compat();
        session::await_greeting(&mut channel).await?;
        let (opener, incoming, driver) = session::open(channel, End::Host);
        // The guest opens streams for network flows alone, and this version grants none:
        // without anyone to take them, each is reset.
        drop(incoming);
        let (end, ended) = watch::channel(false);
        let driving = tokio::task::spawn_local(async move {
            let _ = driver.await;
            let _ = end.send(true);
        });
        let mut key = vec![0; 32];
        let mut entropy = vec![0; 64];
        let mut machine_id = [0; 16];
        for bytes in [&mut key[..], &mut entropy[..], &mut machine_id[..]] {
            getrandom(bytes, GetRandomFlags::empty())
                .map_err(|error| GreetError::Random(error.into()))?;
        }
        let hello = Hello {
            generation: PROTOCOL_GENERATION,
            key,
            wall_clock_nanoseconds: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| {
                    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
                }),
            entropy,
            hostname,
            machine_id: machine_id
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        };
        let mut guest = Self {
            opener,
            ended,
            tasks: vec![driving.abort_handle()],
        };
        let reply = guest.hello(hello).await?;
        if reply.generation != PROTOCOL_GENERATION {
            return Err(GreetError::Generation {
                found: reply.generation,
            });
        }
        // Only now: the agent answers nothing before it has accepted the greeting.
        let log = guest_log::follow(guest.opener(), log, guest.ended.clone());
        guest
            .tasks
            .push(tokio::task::spawn_local(log).abort_handle());
        Ok(guest)
    }

    async fn hello(&self, hello: Hello) -> Result<HelloReply, GreetError> {
        let (mut reader, mut writer) = split(self.opener.open().await?);
        let request = Request::from(Operation::Hello(hello));
        writer.message(&request).await.map_err(GreetError::Send)?;
        let reply: Option<Reply> = reader.next_message().await.map_err(GreetError::Receive)?;
        match reply.ok_or(GreetError::HungUp)?.kind {
            Some(reply::Kind::Hello(hello)) => Ok(hello),
            _ => Err(GreetError::UnexpectedReply),
        }
    }

    /// Opens streams to the agent.
    pub(super) fn opener(&self) -> StreamOpener {
        self.opener.clone()
    }

    /// Waits until the connection has ended. Cancel-safe.
    pub(super) async fn ended(&mut self) {
        // The sender lives as long as the driver: its loss is the end as well.
        let _ = self.ended.wait_for(|ended| *ended).await;
    }

    /// Asks the guest to end in order, and waits until it has synced its disks.
    pub(super) async fn shut_down(&self, grace: Duration) {
        let Ok(stream) = self.opener.open().await else {
            return;
        };
        let (mut reader, mut writer) = split(stream);
        let grace_milliseconds = crate::command::milliseconds(grace);
        let request = Request::from(Operation::Shutdown(Shutdown { grace_milliseconds }));
        if writer.message(&request).await.is_ok() {
            // Whatever it says, the machine's end is what counts.
            let _ = reader.next_message::<Reply>().await;
        }
    }
}

pub(super) type Halves = (
    FrameReader<futures::io::ReadHalf<Stream>>,
    FrameWriter<futures::io::WriteHalf<Stream>>,
);

/// The two directions of a stream.
pub(super) fn split(stream: Stream) -> Halves {
    let (read, write) = stream.split();
    (FrameReader::new(read), FrameWriter::new(write))
}

/// Opens the guest's log for reading.
pub(super) async fn read_log(opener: &StreamOpener) -> Option<Halves> {
    let (reader, mut writer) = split(opener.open().await.ok()?);
    let request = Request::from(Operation::ReadLog(ReadLog { follow: true }));
    writer.message(&request).await.ok()?;
    Some((reader, writer))
}
