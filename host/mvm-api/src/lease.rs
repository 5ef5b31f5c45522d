//! Leases: sandboxes that live as long as a request's connection.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures::StreamExt as _;
use mvm_runtime::{Progress, RestoreOptions, Sandbox};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    extract::JsonBody,
    problem::Problem,
    shapes::sandbox::{ForkRequest, LeaseRequest, RestoreRequest, SandboxShape, invalid},
    state::{Api, Held},
};

/// How often a lease says that it is there: a connection that is dead is noticed by then.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Children of one fork.
const MOST_CHILDREN: u32 = 100;

/// A line of a lease's answer.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Event {
    Progress {
        stage: String,
    },
    Sandbox {
        index: usize,
        sandbox: Box<SandboxShape>,
    },
    Failed {
        index: usize,
        problem: Problem,
    },
    Ready,
    Ping,
}

/// Where the lines go. Nobody reads them once the client is gone.
#[derive(Clone)]
struct Listener(mpsc::Sender<Bytes>);

impl Listener {
    fn line(event: &Event) -> Bytes {
        let mut line = serde_json::to_vec(event).unwrap_or_default();
        line.push(b'\n');
        line.into()
    }

    /// `false` when the client is gone.
    async fn tell(&self, event: &Event) -> bool {
        self.0.send(Self::line(event)).await.is_ok()
    }
}

impl Progress for Listener {
    fn stage(&self, stage: &str, _total: Option<u64>) {
        let stage = stage.to_owned();
        // A client that is slow to hear of progress misses some.
        let _ = self.0.try_send(Self::line(&Event::Progress { stage }));
    }

    fn advance(&self, _amount: u64) {}

    fn finish(&self) {}
}

/// What is to be made.
enum Order {
    Create(Box<(mvm_contract::SandboxSpec, mvm_contract::plan::Profile)>),
    Restore(String, RestoreOptions),
    Fork(String, u32, RestoreOptions),
}

/// Create, restore or fork sandboxes that live as long as this connection.
#[utoipa::path(
    post, path = "/v1/leases", request_body = LeaseRequest,
    responses(
        (status = 200, description = "JSON lines: progress, each sandbox or its failure, `ready`, then pings",
         content_type = "application/x-ndjson", body = String),
        Problem
    )
)]
pub(crate) async fn lease(
    State(api): State<Api>,
    JsonBody(request): JsonBody<LeaseRequest>,
) -> Result<Response, Problem> {
    let order = order(&api, request)?;
    let (lines, listening) = mpsc::channel(64);
    let listener = Listener(lines);
    tokio::spawn(serve(api, order, listener));
    let body = Body::from_stream(ReceiverStream::new(listening).map(Ok::<_, Infallible>));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

fn order(api: &Api, request: LeaseRequest) -> Result<Order, Problem> {
    match request {
        LeaseRequest {
            create: Some(create),
            restore: None,
            fork: None,
        } => Ok(Order::Create(Box::new(create.spec()?))),
        LeaseRequest {
            create: None,
            restore:
                Some(RestoreRequest {
                    snapshot,
                    name,
                    ttl_seconds,
                }),
            fork: None,
        } => {
            api.runtime.snapshot(&snapshot)?;
            Ok(Order::Restore(snapshot, options(name, ttl_seconds)?))
        }
        LeaseRequest {
            create: None,
            restore: None,
            fork:
                Some(ForkRequest {
                    source,
                    count,
                    name,
                    ttl_seconds,
                }),
        } => {
            if !(1..=MOST_CHILDREN).contains(&count) {
                let detail = format!("`count` is not between 1 and {MOST_CHILDREN}");
                return Err(Problem::invalid(detail));
            }
            if api.runtime.snapshot(&source).is_err() {
                api.runtime.connect(&source)?;
            }
            Ok(Order::Fork(source, count, options(name, ttl_seconds)?))
        }
        _ => Err(Problem::invalid(
            "exactly one of `create`, `restore` and `fork` is to be given",
        )),
    }
}

fn options(name: Option<String>, ttl_seconds: Option<u64>) -> Result<RestoreOptions, Problem> {
    let name = match name {
        None => None,
        Some(name) => Some(name.parse().map_err(|error| invalid(&error))?),
    };
    Ok(RestoreOptions { name, ttl_seconds })
}

/// Makes what is ordered and holds it until the client, or the server, is gone.
async fn serve(api: Api, order: Order, listener: Listener) {
    let making = {
        let (api, listener) = (api.clone(), listener.clone());
        // Making one blocks: images are read, and templates booted.
        tokio::task::spawn_blocking(move || {
            tokio::runtime::Handle::current().block_on(async {
                tokio::select! {
                    made = make(&api, order, &listener) => made,
                    () = listener.0.closed() => Vec::new(),
                    () = api.ended() => Vec::new(),
                }
            })
        })
    };
    let made = making.await.unwrap_or_default();
    let mut held = Vec::new();
    for (index, made) in made.into_iter().enumerate() {
        let told = match made {
            Ok(sandbox) => {
                let shape = Box::new(SandboxShape::from(sandbox.record()));
                held.push(api.hold(sandbox));
                listener
                    .tell(&Event::Sandbox {
                        index,
                        sandbox: shape,
                    })
                    .await
            }
            Err(problem) => listener.tell(&Event::Failed { index, problem }).await,
        };
        if !told {
            return;
        }
    }
    hold(&api, held, &listener).await;
}

async fn hold(api: &Api, held: Vec<Held>, listener: &Listener) {
    let mut event = Event::Ready;
    loop {
        if !listener.tell(&event).await {
            break;
        }
        event = Event::Ping;
        tokio::select! {
            () = tokio::time::sleep(PING_INTERVAL) => {}
            () = listener.0.closed() => break,
            () = api.ended() => break,
        }
    }
    drop(held);
}

async fn make(api: &Api, order: Order, listener: &Listener) -> Vec<Result<Sandbox, Problem>> {
    let begun = std::time::Instant::now();
    let made = match order {
        Order::Create(asked) => {
            let (spec, profile) = *asked;
            let runtime = api.runtime.clone().with_profile(profile);
            let created = runtime.create(&spec, listener).await;
            vec![created.map_err(Problem::from)]
        }
        Order::Restore(snapshot, options) => {
            let restored = api.runtime.restore(&snapshot, &options, listener).await;
            vec![restored.map_err(Problem::from)]
        }
        Order::Fork(source, count, options) => {
            match api.runtime.fork(&source, count, &options, listener).await {
                Ok(children) => children
                    .into_iter()
                    .map(|child| child.map_err(Problem::from))
                    .collect(),
                Err(error) => {
                    let problem = Problem::from(error);
                    (0..count).map(|_| Err(problem.clone())).collect()
                }
            }
        }
    };
    let failed = made.iter().filter(|made| made.is_err()).count();
    api.metrics
        .made(begun.elapsed(), made.len() - failed, failed);
    made
}

/// Creates a sandbox that belongs to itself.
pub(crate) async fn create_detached(
    api: Api,
    spec: mvm_contract::SandboxSpec,
    profile: mvm_contract::plan::Profile,
    before_it_is_given: impl FnOnce(&Sandbox) -> Result<(), Problem> + Send + 'static,
) -> Result<mvm_contract::SandboxId, Problem> {
    let making = move || {
        let handle = tokio::runtime::Handle::current();
        handle.block_on(async {
            let (lines, _nobody) = mpsc::channel(1);
            let order = Order::Create(Box::new((spec, profile)));
            let mut made = make(&api, order, &Listener(lines)).await;
            let sandbox = made.remove(0)?;
            before_it_is_given(&sandbox)?;
            Ok(sandbox.detach().await?)
        })
    };
    let made = tokio::task::spawn_blocking(making).await;
    made.unwrap_or_else(|_| Err(Problem::invalid("the server is ending")))
}

/// Shared by what holds a lease and what lets go of it.
pub(crate) async fn detach(api: &Api, id: &mvm_contract::SandboxId) -> Result<(), Problem> {
    let not_here = || {
        Problem::new(
            mvm_contract::ErrorCode::SandboxUnavailable,
            format!("no connection of this server holds the lease of sandbox `{id}`"),
        )
        .hint("ask the server that the sandbox was created through")
    };
    let leased: Arc<_> = api.leased(id).ok_or_else(not_here)?;
    let sandbox = leased.lock().await.take().ok_or_else(not_here)?;
    sandbox.detach().await?;
    Ok(())
}
