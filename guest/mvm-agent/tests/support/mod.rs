//! A real agent on a thread of its own, and a real session to it over a socket pair.
#![allow(missing_docs, dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{os::unix::net::UnixStream, path::PathBuf, rc::Rc, time::Duration};

use futures::{
    AsyncReadExt as _,
    io::{ReadHalf, WriteHalf},
};
use mvm_agent::{Agent, Channel, SessionEnd, Settings};
use mvm_wire::{
    EnvironmentVariable, Failure, Frame, FrameKind, Hello, HelloReply, Input, Operation, OutputGap,
    PROTOCOL_GENERATION, ProcessExited, ProcessStarted, Reply, Request, StartProcess, reply,
    session::{self, End, FrameReader, FrameWriter, Stream, StreamOpener},
};
use prost::Message as _;
use tokio::task::LocalSet;

/// Everything a test waits for ends long before; a hang gets a name.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An agent that serves one connection after the other on each of two ports.
pub struct Guest {
    ports: Vec<std::sync::mpsc::Sender<UnixStream>>,
    pub ends: std::sync::mpsc::Receiver<SessionEnd>,
    groups: Option<PathBuf>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Where this test may make control groups; `None` says why not.
fn control_groups() -> Option<PathBuf> {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let root = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let target = fields.nth(1)?;
            (fields.next()? == "cgroup2").then(|| PathBuf::from(target))
        })
        .next()?;
    let groups = root.join(format!("mvm-agent-test-{}-{number}", std::process::id()));
    std::fs::create_dir(&groups).ok()?;
    Some(groups)
}

/// Serves what comes on a port, one connection after the other, until the port is dropped.
async fn serve_port(
    agent: &Rc<Agent>,
    accept: std::sync::mpsc::Receiver<UnixStream>,
    ended: std::sync::mpsc::Sender<SessionEnd>,
) {
    loop {
        let socket = match accept.try_recv() {
            Ok(socket) => socket,
            Err(std::sync::mpsc::TryRecvError::Empty) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            Err(_) => break,
        };
        socket.set_nonblocking(true).unwrap();
        let mut channel = Channel::new(socket.into()).unwrap();
        session::greet(&mut channel).await.unwrap();
        let _ = ended.send(Rc::clone(agent).serve(channel).await);
    }
}

impl Guest {
    pub fn new() -> Self {
        let groups = control_groups();
        if groups.is_none() {
            println!("no control groups here: without them");
        }
        let mut guest = Self::with_groups(groups.clone());
        guest.groups = groups;
        guest
    }

    /// A guest that makes its control groups there, which need not be any.
    pub fn with_groups(control_groups: Option<PathBuf>) -> Self {
        let (first, accept_first) = std::sync::mpsc::channel::<UnixStream>();
        let (second, accept_second) = std::sync::mpsc::channel::<UnixStream>();
        let (ended, ends) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            LocalSet::new().block_on(&runtime, async {
                let agent = Agent::new(Settings {
                    passwd: "/etc/passwd".into(),
                    group: "/etc/group".into(),
                    control_groups,
                    owns_machine: false,
                    names: mvm_agent::NameFiles::default(),
                    boot_steps: Vec::new(),
                });
                let first = serve_port(&agent, accept_first, ended.clone());
                let second = serve_port(&agent, accept_second, ended);
                futures::future::join(first, second).await;
            });
        });
        Self {
            ports: vec![first, second],
            ends,
            groups: None,
            thread: Some(thread),
        }
    }

    pub fn has_control_groups(&self) -> bool {
        self.groups.is_some()
    }

    /// A connection without its hello.
    pub async fn connect(&self) -> Connection {
        self.connect_on(0).await
    }

    /// A connection without its hello on one of the two ports.
    pub async fn connect_on(&self, port: usize) -> Connection {
        let (host, guest) = UnixStream::pair().unwrap();
        self.ports[port].send(guest).unwrap();
        host.set_nonblocking(true).unwrap();
        let mut channel = Channel::new(host.into()).unwrap();
        session::await_greeting(&mut channel).await.unwrap();
        let (opener, _incoming, driver) = session::open(channel, End::Host);
        let driver = tokio::task::spawn_local(async move {
            let _ = driver.await;
        });
        Connection { opener, driver }
    }

    /// A connection the agent has accepted.
    pub async fn enter(&self) -> Connection {
        let connection = self.connect().await;
        connection.hello(hello([7; 32])).await.unwrap();
        connection
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.ports.clear();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(groups) = &self.groups {
            for group in std::fs::read_dir(groups).unwrap().flatten() {
                let _ = std::fs::write(group.path().join("cgroup.kill"), "1");
                for _ in 0..1000 {
                    if group.file_type().is_ok_and(|kind| !kind.is_dir())
                        || std::fs::remove_dir(group.path()).is_ok()
                    {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            let _ = std::fs::remove_dir(groups);
        }
    }
}

pub fn hello(key: [u8; 32]) -> Hello {
    Hello {
        generation: PROTOCOL_GENERATION,
        key: key.to_vec(),
        wall_clock_nanoseconds: 1,
        entropy: vec![1; 32],
        ..Hello::default()
    }
}

pub struct Connection {
    pub opener: StreamOpener,
    driver: tokio::task::JoinHandle<()>,
}

impl Connection {
    pub async fn raw(&self) -> Stream {
        self.opener.open().await.unwrap()
    }

    pub async fn begin(&self, operation: Operation) -> Exchange {
        let (reader, writer) = self.raw().await.split();
        let mut writer = FrameWriter::new(writer);
        writer.message(&Request::from(operation)).await.unwrap();
        Exchange {
            reader: FrameReader::new(reader),
            writer,
        }
    }

    /// An operation with one answer.
    pub async fn ask(&self, operation: Operation) -> Result<reply::Kind, Failure> {
        self.begin(operation).await.answer().await
    }

    pub async fn hello(&self, hello: Hello) -> Result<HelloReply, Failure> {
        match self.ask(Operation::Hello(hello)).await? {
            reply::Kind::Hello(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    pub async fn start(&self, request: StartProcess) -> Result<Running, Failure> {
        let exchange = self.begin(Operation::StartProcess(request)).await;
        Running::new(exchange).await
    }

    pub async fn run(&self, request: StartProcess) -> Result<Finished, Failure> {
        self.start(request).await?.finish().await
    }

    /// Loses the connection without a word.
    pub async fn lose(self) {
        self.driver.abort();
        let _ = self.driver.await;
    }
}

pub struct Exchange {
    pub reader: FrameReader<ReadHalf<Stream>>,
    pub writer: FrameWriter<WriteHalf<Stream>>,
}

impl Exchange {
    pub async fn reply(&mut self) -> Option<reply::Kind> {
        let reply = self.reader.next_message::<Reply>().await.unwrap()?;
        Some(reply.kind.unwrap())
    }

    pub async fn answer(&mut self) -> Result<reply::Kind, Failure> {
        match self.reply().await.expect("an answer") {
            reply::Kind::Failure(failure) => Err(failure),
            kind => Ok(kind),
        }
    }

    pub async fn say(&mut self, input: impl Into<Input>) {
        self.writer.message(&input.into()).await.unwrap();
    }

    pub async fn data(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(session::BULK_BYTES) {
            self.writer.data(FrameKind::Data, part).await.unwrap();
        }
    }
}

pub struct Running {
    pub exchange: Exchange,
    pub started: ProcessStarted,
}

#[derive(Debug, Default)]
pub struct Finished {
    pub output: Vec<u8>,
    pub error: Vec<u8>,
    pub gaps: Vec<OutputGap>,
    pub exited: Option<ProcessExited>,
}

impl Finished {
    pub fn code(&self) -> u32 {
        match self.exited.as_ref().unwrap().status.unwrap() {
            mvm_wire::ExitStatus::Code(code) => code,
            other => panic!("{other:?}: {self:?}"),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

impl Running {
    pub async fn new(mut exchange: Exchange) -> Result<Self, Failure> {
        match exchange.answer().await? {
            reply::Kind::ProcessStarted(started) => Ok(Self { exchange, started }),
            other => panic!("{other:?}"),
        }
    }

    /// The next bytes of output, or what else is said.
    pub async fn next(&mut self, finished: &mut Finished) -> Option<reply::Kind> {
        let frame = self.exchange.reader.next().await.unwrap()?;
        match frame {
            Frame {
                kind: FrameKind::Data,
                payload,
            } => finished.output.extend_from_slice(payload),
            Frame {
                kind: FrameKind::ErrorData,
                payload,
            } => finished.error.extend_from_slice(payload),
            Frame { payload, .. } => {
                let kind = Reply::decode(payload).unwrap().kind.unwrap();
                if let reply::Kind::OutputGap(gap) = &kind {
                    finished.gaps.push(gap.clone());
                }
                return Some(kind);
            }
        }
        None.or(Some(reply::Kind::Done(mvm_wire::Done::default())))
    }

    /// Waits until the output holds `text`.
    pub async fn until(&mut self, text: &str) -> Finished {
        let mut finished = Finished::default();
        while !finished.text().contains(text) {
            self.next(&mut finished).await.expect("more output");
        }
        finished
    }

    pub async fn finish(mut self) -> Result<Finished, Failure> {
        let mut finished = Finished::default();
        loop {
            match self.next(&mut finished).await.expect("an exit") {
                reply::Kind::ProcessExited(exited) => {
                    assert!(self.exchange.reader.next().await.unwrap().is_none());
                    finished.exited = Some(exited);
                    return Ok(finished);
                }
                reply::Kind::Failure(failure) => return Err(failure),
                _ => {}
            }
        }
    }
}

pub fn command(arguments: &[&str]) -> StartProcess {
    StartProcess {
        arguments: arguments
            .iter()
            .map(|argument| argument.as_bytes().to_vec())
            .collect(),
        ..StartProcess::default()
    }
}

pub fn shell(script: &str) -> StartProcess {
    command(&["sh", "-c", script])
}

pub fn variable(name: &str, value: &str) -> EnvironmentVariable {
    EnvironmentVariable {
        name: name.into(),
        value: value.into(),
    }
}

/// Runs a test against a guest of its own.
pub fn with_guest(test: impl AsyncFnOnce(&Guest)) {
    run(Guest::new(), test);
}

/// Runs a test against this guest.
pub fn run(guest: Guest, test: impl AsyncFnOnce(&Guest)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(PATIENCE, test(&guest))
            .await
            .expect("the test hangs");
    });
}

/// Runs a test on an accepted connection.
pub fn with_connection(test: impl AsyncFnOnce(&Guest, Connection)) {
    with_guest(async |guest| {
        let connection = guest.enter().await;
        test(guest, connection).await;
    });
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
