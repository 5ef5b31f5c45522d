//! A connection: who is let in, and what each stream asks for.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite};
use mvm_wire::{
    Done, Failure, FailureKind, Operation, Pong, ProcessList, Reply, Request, Shutdown,
    session::{self, End, Stream},
};

use crate::{
    Agent, clock,
    exchange::{Exchange, Gone, Link},
    failure::{Failed, Outcome},
    file::{self, attempt},
    freeze, guest_log, process,
};

/// How long the last answer of a connection has to reach the host.
const PARTING_TIME: Duration = Duration::from_millis(50);

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// The host hung up.
    HungUp,
    /// The host broke the protocol or showed a wrong key.
    Refused,
    /// The host asked for the guest's end, and everything is ready for it.
    Shutdown,
}

impl Agent {
    /// Serves one connection to its end. Processes and what is known of them stay.
    ///
    /// To be called within a [`LocalSet`](tokio::task::LocalSet).
    pub async fn serve<T>(self: &Rc<Self>, channel: T) -> SessionEnd
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let link = Rc::new(Link::default());
        let (_opener, mut incoming, mut driver) = session::open(channel, End::Agent);
        let end = {
            let mut ending = pin!(link.end_requested.notified());
            poll_fn(|context| {
                let moved = std::pin::Pin::new(&mut driver).poll(context);
                while let Poll::Ready(Some(stream)) = incoming.poll_next(context) {
                    let serving = serve_stream(Rc::clone(self), Rc::clone(&link), stream);
                    tokio::task::spawn_local(serving);
                }
                if let Poll::Ready(result) = moved {
                    // Before any stream's task learns of it.
                    link.lost.set(true);
                    return Poll::Ready(match result {
                        Ok(()) => SessionEnd::HungUp,
                        Err(error) if error.is_hang_up() => SessionEnd::HungUp,
                        Err(_) => SessionEnd::Refused,
                    });
                }
                ending
                    .as_mut()
                    .poll(context)
                    .map(|()| link.ending.get().unwrap_or(SessionEnd::Refused))
            })
            .await
        };
        if !link.is_lost() {
            // What was answered last is still on its way; the host hangs up when it has it.
            let _ = tokio::time::timeout(PARTING_TIME, &mut driver).await;
            link.lost.set(true);
        }
        end
    }
}

async fn serve_stream(agent: Rc<Agent>, link: Rc<Link>, stream: Stream) {
    let mut exchange = Exchange::new(stream, link);
    let request = match exchange.reader.next_message::<Request>().await {
        Ok(Some(request)) => request,
        Ok(None) => return,
        Err(_) => {
            let failed = Failed::invalid("reading a request", []);
            let _ = exchange.reply(Failure::from(failed)).await;
            return;
        }
    };
    if let Ok(Err(failed)) = perform(&agent, &mut exchange, request).await {
        let _ = exchange.reply(Failure::from(failed)).await;
    }
}

async fn perform(
    agent: &Rc<Agent>,
    exchange: &mut Exchange,
    request: Request,
) -> Result<Outcome<()>, Gone> {
    let Some(operation) = request.operation else {
        let doing = "reading an operation this agent does not know";
        return Ok(Err(Failed::new(FailureKind::Unsupported, doing, [])));
    };
    if let Operation::Hello(hello) = operation {
        let reply = match agent.identity.accept(agent, &hello) {
            Ok(reply) => reply,
            Err(failed) => {
                exchange.reply(Failure::from(failed)).await?;
                if !exchange.link.authenticated.get() {
                    exchange.link.end(SessionEnd::Refused);
                }
                return Ok(Ok(()));
            }
        };
        exchange.link.authenticated.set(true);
        exchange.link.renewals.set(agent.identity.renewals());
        exchange.reply(reply).await?;
        return Ok(Ok(()));
    }
    if !exchange.link.authenticated.get() {
        let doing = "accepting an operation before the connection's key";
        return Ok(Err(Failed::new(FailureKind::Unauthenticated, doing, [])));
    }
    let waits = !matches!(
        operation,
        Operation::Ping(_) | Operation::Shutdown(_) | Operation::Freeze(_)
    );
    if waits && !agent.gate.is_open() {
        pass_gate(agent, exchange).await?;
    }
    if agent.ending.get() {
        let doing = "accepting an operation while the guest ends";
        return Ok(Err(Failed::new(FailureKind::Unsupported, doing, [])));
    }
    let reply = match operation {
        // Taken above.
        Operation::Hello(_) => return Ok(Ok(())),
        Operation::Ping(_) => Reply::from(Pong {
            wall_clock_nanoseconds: clock::wall_nanoseconds(),
            uptime_microseconds: clock::uptime_microseconds(),
        }),
        Operation::Shutdown(request) => return shut_down(agent, exchange, request).await,
        Operation::Freeze(_) => return freeze::freeze(agent, exchange).await,
        Operation::ReadLog(request) => return guest_log::read(agent, exchange, request).await,
        Operation::StartProcess(request) => {
            return process::start(agent, exchange, request).await;
        }
        Operation::AttachProcess(request) => {
            return process::attach(agent, exchange, request).await;
        }
        Operation::ListProcesses(_) => Reply::from(ProcessList {
            processes: agent.processes.list(),
        }),
        Operation::SignalProcess(request) => {
            let id = request.process_id;
            attempt!(agent.processes.signal(id, request.signal, request.group));
            Reply::from(Done::default())
        }
        Operation::ForgetProcess(request) => {
            attempt!(agent.processes.forget(request.process_id));
            Reply::from(Done::default())
        }
        Operation::ReadFile(request) => return file::read(agent, exchange, request).await,
        Operation::WriteFile(request) => return file::write(agent, exchange, request).await,
        Operation::ListDirectory(request) => return file::list(agent, exchange, request).await,
        Operation::StatPath(request) => {
            Reply::from(attempt!(file::stat(&request.path, request.follow_symlink)))
        }
        Operation::MakeDirectory(request) => {
            attempt!(file::make_directory(&request));
            Reply::from(Done::default())
        }
        Operation::RemovePath(request) => {
            Reply::from(attempt!(file::remove(agent, &request).await))
        }
        Operation::RenamePath(request) => {
            attempt!(file::rename(&request));
            Reply::from(Done::default())
        }
        Operation::DownloadTree(request) => return file::download(agent, exchange, request).await,
        Operation::UploadTree(request) => return file::upload(agent, exchange, request).await,
    };
    exchange.reply(reply).await?;
    Ok(Ok(()))
}

/// Waits until the guest is thawed. What nobody waits for any more is not begun, nor what was asked
/// before the guest became another one: its sender speaks to the one it was asked of.
async fn pass_gate(agent: &Agent, exchange: &Exchange) -> Result<(), Gone> {
    let link = &exchange.link;
    let before = agent.identity.renewals();
    agent.gate.passed().await;
    let now = agent.identity.renewals();
    let is_stale = now != before && link.renewals.get() != now;
    if is_stale || link.is_lost() || exchange.stream.is_reset() {
        return Err(Gone);
    }
    Ok(())
}

/// Ends every process and syncs; the machine itself is ended when the answer is out.
async fn shut_down(
    agent: &Rc<Agent>,
    exchange: &mut Exchange,
    request: Shutdown,
) -> Result<Outcome<()>, Gone> {
    agent.ending.set(true);
    if agent.freezer.thaw().is_err() {
        agent.log.line("the guest ends while it is frozen");
    }
    let grace = Duration::from_millis(request.grace_milliseconds);
    let owns_machine = agent.settings.owns_machine;
    agent.processes.end_all(grace, owns_machine).await;
    if owns_machine {
        crate::boot::seal_file_systems(&agent.log);
    }
    rustix::fs::sync();
    let answered = exchange.reply(Done::default()).await;
    exchange.link.end(SessionEnd::Shutdown);
    answered?;
    Ok(Ok(()))
}
