//! The control socket: clients of a sandbox come in here.

use std::{cell::RefCell, io, path::Path, rc::Rc, time::Duration};

use futures::AsyncReadExt as _;
use mvm_wire::{
    frame::{self, HEADER_BYTES, MAX_MESSAGE_BYTES},
    session::StreamOpener,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    task::AbortHandle,
};
use tokio_util::compat::{FuturesAsyncReadCompatExt as _, FuturesAsyncWriteCompatExt as _};
use tokio_util::task::TaskTracker;

use super::{Demand, Outcome, Running, terms::Terms};
use crate::{
    control::{
        CONTROL_GENERATION, ControlOperation, ControlReply, ControlRequest, RefusalKind,
        SOCKET_NAME, SetTtl,
    },
    socket,
};

/// Bytes moved at once between a client and the guest.
const RELAY_BUFFER_BYTES: usize = 128 * 1024;
/// Streams clients can have open at once; more wait for one to end. The multiplexer's bound, at
/// which it gives the connection up, is never reached from this side.
const MAX_CLIENT_STREAMS: usize = mvm_wire::session::MAX_STREAMS - 32;
/// How long clients have to take their last answer.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// A client that connects and says nothing is dropped.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The door to a sandbox.
pub(super) struct Door {
    accepting: AbortHandle,
    clients: TaskTracker,
    guest: Rc<RefCell<GuestDoor>>,
}

/// What becomes of those who want to speak to the guest.
enum GuestDoor {
    /// To the guest, on these terms.
    Open(StreamOpener, Rc<Terms>),
    /// Refused, for this reason.
    Shut(&'static str),
}

impl GuestDoor {
    fn of(sandbox: &Running) -> Self {
        Self::Open(sandbox.guest.opener(), Rc::new(Terms::of(&sandbox.record)))
    }
}

impl Door {
    /// Lets clients through to a guest.
    pub(super) fn open_to(&self, sandbox: &Running) {
        self.guest.replace(GuestDoor::of(sandbox));
    }

    /// Lets nobody through to the guest. Those who are through stay so.
    pub(super) fn shut(&self, reason: &'static str) {
        self.guest.replace(GuestDoor::Shut(reason));
    }

    /// Lets nobody in any more, and those who are in hear their answer.
    pub(super) async fn close(self) {
        self.accepting.abort();
        self.clients.close();
        let _ = tokio::time::timeout(CLOSE_LIMIT, self.clients.wait()).await;
    }
}

/// Makes the control socket in a sandbox's folder.
pub(super) fn listen(folder: &Path) -> io::Result<UnixListener> {
    // That of a supervisor before this one, where the sandbox was cold in between.
    let _ = std::fs::remove_file(folder.join(SOCKET_NAME));
    socket::listen(folder, SOCKET_NAME)
}

/// Answers those who come in.
pub(super) fn open(
    listener: UnixListener,
    sandbox: &Running,
    demands: mpsc::Sender<Demand>,
) -> Door {
    let guest = Rc::new(RefCell::new(GuestDoor::of(sandbox)));
    let streams = Streams {
        guest: Rc::clone(&guest),
        permits: Rc::new(Semaphore::new(MAX_CLIENT_STREAMS)),
    };
    let clients = TaskTracker::new();
    let accepting = accept(listener, streams, demands, clients.clone());
    let accepting = tokio::task::spawn_local(accepting).abort_handle();
    Door {
        accepting,
        clients,
        guest,
    }
}

/// Streams to the agent, bounded.
#[derive(Clone)]
struct Streams {
    guest: Rc<RefCell<GuestDoor>>,
    permits: Rc<Semaphore>,
}

async fn accept(
    listener: UnixListener,
    streams: Streams,
    demands: mpsc::Sender<Demand>,
    clients: TaskTracker,
) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                clients.spawn_local(serve(client, streams.clone(), demands.clone()));
            }
            // Out of descriptors: those in use will be closed.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(mut client: UnixStream, streams: Streams, demands: mpsc::Sender<Demand>) {
    let request = tokio::time::timeout(REQUEST_TIMEOUT, read_message(&mut client)).await;
    let Ok(Some(request)): Result<Option<ControlRequest>, _> = request else {
        return;
    };
    if request.generation != CONTROL_GENERATION {
        let message = format!(
            "it speaks control generation {CONTROL_GENERATION}, not {}; it was started by another version",
            request.generation
        );
        return answer(
            &mut client,
            &ControlReply::refused(RefusalKind::Generation, message),
        )
        .await;
    }
    match request.operation {
        Some(ControlOperation::OpenStream(_)) => relay(client, &streams).await,
        Some(ControlOperation::Stop(stop)) => {
            let grace = Duration::from_millis(stop.grace_milliseconds);
            demand(client, demands, |done| Demand::Stop { grace, done }).await;
        }
        Some(ControlOperation::Destroy(_)) => {
            demand(client, demands, |done| Demand::Destroy { done }).await;
        }
        Some(ControlOperation::Pause(_)) => {
            demand(client, demands, |done| Demand::Pause { done }).await;
        }
        Some(ControlOperation::Resume(_)) => {
            demand(client, demands, |done| Demand::Resume { done }).await;
        }
        Some(ControlOperation::Cool(_)) => {
            demand(client, demands, |done| Demand::Cool { done }).await;
        }
        Some(ControlOperation::SetTtl(SetTtl { seconds })) => {
            demand(client, demands, |done| Demand::SetTtl { seconds, done }).await;
        }
        Some(ControlOperation::Snapshot(order)) => {
            demand(client, demands, |done| Demand::Snapshot { order, done }).await;
        }
        None => {
            let message = "it does not know the request; it was started by another version";
            answer(
                &mut client,
                &ControlReply::refused(RefusalKind::Generation, message),
            )
            .await;
        }
    }
}

/// Passes a demand on and its outcome back.
async fn demand(
    mut client: UnixStream,
    demands: mpsc::Sender<Demand>,
    demand: impl FnOnce(oneshot::Sender<Outcome>) -> Demand,
) {
    let (done, outcome) = oneshot::channel();
    let _ = demands.send(demand(done)).await;
    let reply = match outcome.await {
        Ok(Ok(())) => ControlReply::accepted(),
        Ok(Err(failure)) => ControlReply::failed(failure),
        Err(_) => not_running(),
    };
    answer(&mut client, &reply).await;
}

fn not_running() -> ControlReply {
    ControlReply::refused(RefusalKind::NotRunning, "the sandbox does not run any more")
}

/// Makes the client's connection a stream to the agent.
async fn relay(mut client: UnixStream, streams: &Streams) {
    let _permit = streams.permits.acquire().await;
    let way = match &*streams.guest.borrow() {
        GuestDoor::Open(opener, terms) => Ok((opener.clone(), Rc::clone(terms))),
        GuestDoor::Shut(reason) => Err(*reason),
    };
    let (opener, terms) = match way {
        Ok(way) => way,
        Err(reason) => {
            let reply = ControlReply::refused(RefusalKind::StandsStill, reason);
            return answer(&mut client, &reply).await;
        }
    };
    let mut first = Vec::new();
    if terms.bind() {
        let read = tokio::time::timeout(REQUEST_TIMEOUT, read_message(&mut client)).await;
        let Ok(Some(mut request)) = read else { return };
        if let Err(failure) = terms.apply(&mut request) {
            return answer(&mut client, &ControlReply::failed(failure)).await;
        }
        if frame::encode_message(&request, &mut first).is_err() {
            return;
        }
    }
    let Ok(stream) = opener.open().await else {
        return answer(&mut client, &not_running()).await;
    };
    answer(&mut client, &ControlReply::accepted()).await;
    let (from_guest, to_guest) = stream.split();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_guest, mut to_guest) = (from_guest.compat(), to_guest.compat_write());
    let inward = async {
        let sent = to_guest.write_all(&first).await;
        if sent.is_err() || to_guest.flush().await.is_err() {
            return;
        }
        // The client's end or death is the stream's end: the agent kills what was not detached.
        let _ = copy(&mut from_client, &mut to_guest).await;
        let _ = to_guest.shutdown().await;
    };
    let outward = async {
        let _ = copy(&mut from_guest, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(inward, outward);
}

async fn copy(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut buffer = vec![0; RELAY_BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
    }
}

/// Reads exactly one frame: what follows a control request belongs to the agent.
async fn read_message<T: prost::Message + Default>(client: &mut UnixStream) -> Option<T> {
    let mut header = [0; HEADER_BYTES];
    client.read_exact(&mut header).await.ok()?;
    let (_, length) = frame::decode_header(&header).ok()??;
    let mut payload = vec![0; length.min(MAX_MESSAGE_BYTES)];
    client.read_exact(&mut payload).await.ok()?;
    T::decode(&payload[..]).ok()
}

async fn answer(client: &mut UnixStream, reply: &ControlReply) {
    let mut bytes = Vec::new();
    if frame::encode_message(reply, &mut bytes).is_ok() {
        let _ = client.write_all(&bytes).await;
    }
}
