//! The supervisor's connection to the agent.

use std::{
    fs::File,
    io,
    rc::Rc,
    time::{Duration, SystemTime},
};

use futures::AsyncReadExt as _;
use mvm_wire::{
    Freeze, Hello, HelloReply, Operation, PROTOCOL_GENERATION, ReadLog, Reply, Request, Shutdown,
    reply,
    session::{
        self, Closed, End, FrameReader, FrameWriter, GreetingError, ReadError, Stream,
        StreamOpener, WriteError,
    },
};
use tokio::{
    net::UnixStream,
    sync::{Notify, watch},
    task::AbortHandle,
};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use super::guest_log;
use crate::{lease::Stopwatch, random};

/// How long a fork's log is left alone.
const LOG_DELAY: Duration = Duration::from_secs(2);
/// As much as the agent shows of its new randomness.
const MIN_SAMPLE_BYTES: usize = 16;

/// Why the agent did not accept the connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum GreetError {
    #[error("failed to connect to the guest")]
    Channel(#[from] mvm_vmm::ChannelError),
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
    #[error("the agent refused: {doing}")]
    Refused { doing: String },
    #[error("the agent did not say that its randomness was made anew")]
    NotReseeded,
    #[error("the agent speaks protocol generation {found}, not {PROTOCOL_GENERATION}")]
    Generation { found: u32 },
}

/// The key by which an agent knows its host.
pub(super) type ConnectionKey = [u8; 32];

/// What an agent knows of its host when a channel to it is opened.
#[derive(Debug, Clone, Copy)]
pub(super) enum Acquaintance {
    /// Nothing: it has just started.
    None,
    /// This key, and it has greeted on this very channel.
    Greeted(ConnectionKey),
}

/// What a guest is to be from now on. Its randomness, clock and key are made anew besides.
#[derive(Debug, Clone, Default)]
pub(super) struct GuestIdentity {
    /// Empty: as it is.
    pub(super) hostname: String,
    /// Whether it gets another machine-id.
    pub(super) machine_id: bool,
}

impl GuestIdentity {
    /// That of a new sandbox.
    pub(super) fn named(hostname: String) -> Self {
        Self {
            hostname,
            machine_id: true,
        }
    }
}

/// A connected agent.
pub(super) struct Guest {
    opener: StreamOpener,
    ended: watch::Receiver<bool>,
    tasks: Vec<AbortHandle>,
    key: ConnectionKey,
    /// The guest's log is wanted now.
    log_wanted: Rc<Notify>,
}

/// A guest whose processes and disk stand still, until it is [introduced](Guest::introduce) to its
/// host again, or until this is dropped.
pub(super) struct FrozenGuest {
    _stream: Halves,
}

impl Drop for Guest {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Guest {
    /// Connects over a fresh channel and gives the agent the time, randomness, a key and an
    /// identity.
    pub(super) async fn greet(
        channel: UnixStream,
        acquaintance: Acquaintance,
        identity: GuestIdentity,
        log: File,
        watch: &mut Stopwatch,
    ) -> Result<Self, GreetError> {
        let mut channel = channel.compat();
        let known = match acquaintance {
            Acquaintance::None => {
                session::await_greeting(&mut channel).await?;
                None
            }
            Acquaintance::Greeted(key) => Some(key),
        };
        watch.lap("first word");
        let (opener, incoming, driver) = session::open(channel, End::Host);
        // The guest opens streams for network flows alone, and this version grants none:
        // without anyone to take them, each is reset.
        drop(incoming);
        let (end, ended) = watch::channel(false);
        let driving = tokio::task::spawn_local(async move {
            let _ = driver.await;
            let _ = end.send(true);
        });
        let key = match known {
            Some(known) => known,
            None => random::bytes().map_err(GreetError::Random)?,
        };
        let mut guest = Self {
            opener,
            ended,
            tasks: vec![driving.abort_handle()],
            key,
            log_wanted: Rc::default(),
        };
        guest.introduce(known.is_some(), identity).await?;
        watch.lap("identity");
        // Only now: the agent answers nothing before it has accepted the greeting.
        let delay = match acquaintance {
            // Its log begins with all that the template's guest had to say, which takes the agent
            // longer than what the first user waits for.
            Acquaintance::Greeted(_) => LOG_DELAY,
            Acquaintance::None => Duration::ZERO,
        };
        let wanted = Rc::clone(&guest.log_wanted);
        let begin = async move {
            let _ = tokio::time::timeout(delay, wanted.notified()).await;
        };
        let log = guest_log::follow(guest.opener(), log, guest.ended.clone(), begin);
        guest
            .tasks
            .push(tokio::task::spawn_local(log).abort_handle());
        Ok(guest)
    }

    /// Gives the agent the time, randomness and an identity, and another key when `change_key`.
    /// Returns when all of it is in effect.
    pub(super) async fn introduce(
        &mut self,
        change_key: bool,
        identity: GuestIdentity,
    ) -> Result<(), GreetError> {
        let entropy: [u8; 64] = random::bytes().map_err(GreetError::Random)?;
        let new_key: Option<ConnectionKey> = match change_key {
            true => Some(random::bytes().map_err(GreetError::Random)?),
            false => None,
        };
        let machine_id = match identity.machine_id {
            true => hex::encode(random::bytes::<16>().map_err(GreetError::Random)?),
            false => String::new(),
        };
        let hello = Hello {
            generation: PROTOCOL_GENERATION,
            key: self.key.to_vec(),
            wall_clock_nanoseconds: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| {
                    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
                }),
            entropy: entropy.to_vec(),
            hostname: identity.hostname,
            machine_id,
            new_key: new_key.map(Vec::from).unwrap_or_default(),
        };
        let reply = self.hello(hello).await?;
        if reply.generation != PROTOCOL_GENERATION {
            return Err(GreetError::Generation {
                found: reply.generation,
            });
        }
        if reply.random_sample.len() < MIN_SAMPLE_BYTES {
            return Err(GreetError::NotReseeded);
        }
        self.key = new_key.unwrap_or(self.key);
        Ok(())
    }

    async fn hello(&self, hello: Hello) -> Result<HelloReply, GreetError> {
        match self.ask(Operation::Hello(hello)).await?.0 {
            reply::Kind::Hello(hello) => Ok(hello),
            reply::Kind::Failure(failure) => Err(GreetError::Refused {
                doing: failure.doing,
            }),
            _ => Err(GreetError::UnexpectedReply),
        }
    }

    /// Asks for something and gives the first answer.
    async fn ask(&self, operation: Operation) -> Result<(reply::Kind, Halves), GreetError> {
        let (mut reader, mut writer) = split(self.opener.open().await?);
        let request = Request::from(operation);
        writer.message(&request).await.map_err(GreetError::Send)?;
        let reply = reader.next_message::<Reply>().await;
        let reply = reply.map_err(GreetError::Receive)?;
        let reply = reply.ok_or(GreetError::HungUp)?.kind;
        let reply = reply.ok_or(GreetError::UnexpectedReply)?;
        Ok((reply, (reader, writer)))
    }

    /// Syncs the guest's disk, and stops its processes and the disk's file system.
    pub(super) async fn freeze(&self) -> Result<FrozenGuest, GreetError> {
        match self.ask(Operation::Freeze(Freeze {})).await? {
            (reply::Kind::Frozen(_), halves) => Ok(FrozenGuest { _stream: halves }),
            (reply::Kind::Failure(failure), _) => Err(GreetError::Refused {
                doing: failure.doing,
            }),
            _ => Err(GreetError::UnexpectedReply),
        }
    }

    /// The key the agent knows its host by.
    pub(super) fn key(&self) -> ConnectionKey {
        self.key
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
        self.log_wanted.notify_one();
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
