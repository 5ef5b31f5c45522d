//! Sandboxes.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures::StreamExt as _;
use mvm_runtime::{LogSource, Ownership};
use serde::Deserialize;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::connect;
use crate::{
    extract::{JsonBody, OptionalBody, PathOf, QueryOf},
    idempotency, lease,
    problem::Problem,
    shapes::sandbox::{
        Create, EndedShape, PageQuery, SandboxPage, SandboxShape, StopRequest, TtlRequest,
        UsageShape,
    },
    state::Api,
};

const DEFAULT_GRACE_MS: u64 = 5000;
const DEFAULT_PAGE: u32 = 100;
const MOST_IN_A_PAGE: u32 = 1000;

/// Create a sandbox that belongs to itself.
#[utoipa::path(
    post, path = "/v1/sandboxes", request_body = Create,
    params(("Idempotency-Key" = Option<String>, Header, description = "A second request with it creates nothing more")),
    responses(
        (status = 201, body = SandboxShape),
        Problem
    )
)]
pub(crate) async fn create(
    State(api): State<Api>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<Create>,
) -> Result<(StatusCode, Json<SandboxShape>), Problem> {
    let (spec, profile) = request.spec()?;
    if spec.ttl_seconds.is_none() {
        return Err(
            Problem::invalid("a sandbox that belongs to nobody must have an end")
                .hint("give `ttl_seconds`, or create it by `POST /v1/leases`"),
        );
    }
    let id = match headers.get("idempotency-key") {
        None => lease::create_detached(api.clone(), spec, profile, |_| Ok(())).await?,
        Some(key) => idempotency::create(&api, key.as_bytes(), &request, spec, profile).await?,
    };
    let sandbox = connect(&api, id.as_str())?;
    Ok((StatusCode::CREATED, Json(sandbox.record().into())))
}

/// List the sandboxes, the oldest first.
#[utoipa::path(
    get, path = "/v1/sandboxes", params(PageQuery),
    responses(
        (status = 200, body = SandboxPage),
        Problem
    )
)]
pub(crate) async fn list(
    State(api): State<Api>,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Json<SandboxPage>, Problem> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MOST_IN_A_PAGE).contains(&limit) {
        let detail = format!("`limit` is not between 1 and {MOST_IN_A_PAGE}");
        return Err(Problem::invalid(detail));
    }
    let after = match &query.cursor {
        None => (0, String::new()),
        Some(cursor) => {
            let parts = cursor.split_once('.').and_then(|(time, id)| {
                let time = time.parse::<u64>().ok()?;
                Some((time, id.to_owned()))
            });
            parts.ok_or_else(|| Problem::invalid("`cursor` is not one that was given"))?
        }
    };
    let records = api.runtime.list()?.into_iter().filter_map(Result::ok);
    let place = |record: &mvm_runtime::SandboxRecord| (record.created_at_ms, record.id.to_string());
    let mut following = records.filter(|record| place(record) > after).peekable();
    let page: Vec<_> = following.by_ref().take(limit as usize).collect();
    let next_cursor = match (page.last(), following.peek()) {
        (Some(last), Some(_)) => Some(format!("{}.{}", last.created_at_ms, last.id)),
        _ => None,
    };
    let items = page.iter().map(SandboxShape::from).collect();
    Ok(Json(SandboxPage { items, next_cursor }))
}

macro_rules! answers_sandbox {
    ($(#[$documentation:meta])* $name:ident, $path:literal, $operation:ident) => {
        $(#[$documentation])*
        #[utoipa::path(
            post, path = $path, params(("id" = String, Path, description = "Name or identifier")),
            responses(
                (status = 200, body = SandboxShape),
                Problem
            )
        )]
        pub(crate) async fn $name(
            State(api): State<Api>,
            PathOf(id): PathOf<String>,
        ) -> Result<Json<SandboxShape>, Problem> {
            let sandbox = connect(&api, &id)?;
            sandbox.$operation().await?;
            let sandbox = connect(&api, sandbox.id().as_str())?;
            Ok(Json(sandbox.record().into()))
        }
    };
}

answers_sandbox!(
    /// Take a sandbox's processors away; its memory stays.
    pause, "/v1/sandboxes/{id}/pause", pause
);
answers_sandbox!(
    /// Let a paused or cold sandbox go on.
    resume, "/v1/sandboxes/{id}/resume", resume
);
answers_sandbox!(
    /// Save a sandbox to disk and free its memory.
    cold, "/v1/sandboxes/{id}/cold", cool
);

/// Show a sandbox.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}", params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 200, body = SandboxShape),
        Problem
    )
)]
pub(crate) async fn show(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<Json<SandboxShape>, Problem> {
    Ok(Json(connect(&api, &id)?.record().into()))
}

/// Destroy a sandbox with all it has.
#[utoipa::path(
    delete, path = "/v1/sandboxes/{id}", params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 200, body = EndedShape),
        Problem
    )
)]
pub(crate) async fn destroy(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<Json<EndedShape>, Problem> {
    let ended = connect(&api, &id)?.destroy().await?;
    Ok(Json(ended.into()))
}

/// End a sandbox in order; its disk and logs are kept.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/stop", request_body = Option<StopRequest>,
    params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 200, body = EndedShape),
        Problem
    )
)]
pub(crate) async fn stop(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    OptionalBody(request): OptionalBody<StopRequest>,
) -> Result<Json<EndedShape>, Problem> {
    let grace = Duration::from_millis(request.grace_ms.unwrap_or(DEFAULT_GRACE_MS));
    let ended = connect(&api, &id)?.stop(grace).await?;
    Ok(Json(ended.into()))
}

/// Give a leased sandbox to itself.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/detach", request_body = Option<TtlRequest>,
    params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 204),
        Problem
    )
)]
pub(crate) async fn detach(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    OptionalBody(request): OptionalBody<TtlRequest>,
) -> Result<StatusCode, Problem> {
    let sandbox = connect(&api, &id)?;
    match request.ttl_seconds {
        Some(seconds) => sandbox.set_ttl(Some(seconds)).await?,
        None if sandbox.record().expires_at_ms.is_none() => {
            return Err(
                Problem::invalid("a sandbox that belongs to nobody must have an end")
                    .hint("give `ttl_seconds`"),
            );
        }
        None => {}
    }
    if sandbox.record().ownership == Ownership::Leased {
        lease::detach(&api, sandbox.id()).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Destroy a sandbox after another time than it was to be.
#[utoipa::path(
    put, path = "/v1/sandboxes/{id}/ttl", request_body = TtlRequest,
    params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 200, body = SandboxShape),
        Problem
    )
)]
pub(crate) async fn set_ttl(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    JsonBody(request): JsonBody<TtlRequest>,
) -> Result<Json<SandboxShape>, Problem> {
    let sandbox = connect(&api, &id)?;
    sandbox.set_ttl(request.ttl_seconds).await?;
    let sandbox = connect(&api, sandbox.id().as_str())?;
    Ok(Json(sandbox.record().into()))
}

/// Tell what a sandbox takes of its host.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/metrics", params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 200, body = UsageShape),
        Problem
    )
)]
pub(crate) async fn metrics(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<Json<UsageShape>, Problem> {
    let usage = connect(&api, &id)?.usage()?;
    Ok(Json(UsageShape {
        memory_bytes: usage.memory_bytes,
        cpu_ms: usage.cpu_ms,
        disk_bytes: usage.disk_bytes,
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// `guest` (its kernel and agent) or `machine` (the hypervisor); guest.
    #[serde(default)]
    source: Option<String>,
    /// Go on until the sandbox or the client ends.
    #[serde(default)]
    follow: bool,
}

/// Read a log of a sandbox.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/logs",
    params(("id" = String, Path, description = "Name or identifier"), LogQuery),
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        Problem
    )
)]
pub(crate) async fn logs(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    QueryOf(query): QueryOf<LogQuery>,
) -> Result<Response, Problem> {
    let source = match query.source.as_deref() {
        None | Some("guest") => LogSource::Guest,
        Some("machine") => LogSource::Machine,
        Some(_) => {
            return Err(Problem::invalid(
                "`source` is neither `guest` nor `machine`",
            ));
        }
    };
    let sandbox = connect(&api, &id)?;
    let mut log = sandbox.open_log(source).map_err(|error| {
        Problem::new(
            mvm_contract::ErrorCode::NotFound,
            format!("the sandbox has no such log: {error}"),
        )
    })?;
    let (lines, reading) = tokio::sync::mpsc::channel::<Bytes>(8);
    tokio::spawn(async move {
        loop {
            let part = match log.read() {
                Ok([]) if query.follow => tokio::select! {
                    part = log.follow() => match part {
                        Ok(Some(part)) => Bytes::copy_from_slice(part),
                        _ => return,
                    },
                    () = lines.closed() => return,
                    () = api.ended() => return,
                },
                Ok([]) | Err(_) => return,
                Ok(part) => Bytes::copy_from_slice(part),
            };
            if lines.send(part).await.is_err() {
                return;
            }
        }
    });
    let body = Body::from_stream(ReceiverStream::new(reading).map(Ok::<_, Infallible>));
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}
