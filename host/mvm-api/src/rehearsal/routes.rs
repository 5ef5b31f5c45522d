//! The routes that a recorded script reaches. Every other is refused by name.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::{delete, get, post},
};
use futures::{StreamExt as _, stream};
use mvm_contract::{
    ErrorCode,
    recording::{Operation, RecordedCommand},
};
use mvm_runtime::{Ended, Runtime};
use tokio::sync::watch;

use super::{Rehearsal, stage::Stage};
use crate::{
    extract::{JsonBody, PathOf, QueryOf},
    frames,
    lease::Event,
    problem::Problem,
    route::host,
    shapes::{
        base64,
        command::{CommandShape, ExecRequest, ExecResult, ResultShape},
        file::{MakeDirectoryRequest, RemoveQuery, RenameRequest, WriteQuery, Written, mode},
        sandbox::{EndedShape, LeaseRequest, SandboxPage, SandboxShape},
    },
};

/// How often a lease says that it is there.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// The largest file that is recorded, bytes.
const MOST_FILE_BYTES: usize = 8 << 20;

impl Rehearsal {
    pub(crate) fn router(&self, runtime: Runtime, ending: watch::Receiver<bool>) -> Router {
        Router::new()
            .route("/healthz", get(host::health))
            .route("/v1/leases", post(lease))
            .route("/v1/sandboxes", get(list))
            .route("/v1/sandboxes/{id}", get(show).delete(end))
            .route("/v1/sandboxes/{id}/stop", post(end))
            .route("/v1/sandboxes/{id}/exec", post(exec))
            .route("/v1/sandboxes/{id}/processes", post(start))
            .route("/v1/sandboxes/{id}/files", delete(remove).put(write))
            .route("/v1/sandboxes/{id}/files/mkdir", post(make_directory))
            .route("/v1/sandboxes/{id}/files/rename", post(rename))
            .fallback(unanswerable)
            .method_not_allowed_fallback(unanswerable)
            .layer(DefaultBodyLimit::max(MOST_FILE_BYTES))
            .with_state(Stage::new(self.clone(), runtime, ending))
    }
}

/// What only a guest could answer.
async fn unanswerable(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    let what = path.split('/').skip(4).collect::<Vec<_>>().join("/");
    let what = if what.is_empty() {
        path.trim_start_matches("/v1/").to_owned()
    } else {
        what
    };
    unsupported(&format!(
        "`{method} {what}` has no answer while nothing runs"
    ))
}

fn unsupported(detail: &str) -> Problem {
    Problem::new(ErrorCode::BackendUnsupported, detail)
        .hint("run the script with `--mode live`, or leave the call out")
}

/// Notes a sandbox, and answers as a lease does.
async fn lease(
    State(stage): State<Stage>,
    JsonBody(request): JsonBody<LeaseRequest>,
) -> Result<Response, Problem> {
    let LeaseRequest {
        create: Some(create),
        restore: None,
        fork: None,
    } = request
    else {
        return Err(unsupported(
            "there is no snapshot to go on from while nothing runs",
        ));
    };
    let (spec, profile) = create.spec()?;
    let mut ending = stage.ending.clone();
    // Where it is to be seen that it would be admitted, its image is read.
    let creating = stage.clone();
    let making = tokio::task::spawn_blocking(move || creating.create(spec, profile));
    let made = making
        .await
        .map_err(|_| Problem::invalid("the server is ending"))?;
    let (told, held) = match made {
        Ok(sandbox) => {
            let held = Held(stage, sandbox.id().to_owned());
            let sandbox = Box::new(sandbox);
            (Event::Sandbox { index: 0, sandbox }, Some(held))
        }
        Err(problem) => (Event::Failed { index: 0, problem }, None),
    };
    let first = stream::iter([line(&told), line(&Event::Ready)]);
    // The sandbox ends with the stream, as a leased one does.
    let pings = stream::unfold(held, |held| async {
        tokio::time::sleep(PING_INTERVAL).await;
        Some((line(&Event::Ping), held))
    });
    let lines = first.chain(pings).take_until(async move {
        let _ = ending.wait_for(|ending| *ending).await;
    });
    let body = Body::from_stream(lines.map(Ok::<_, Infallible>));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// A sandbox that a connection holds.
struct Held(Stage, String);

impl Drop for Held {
    fn drop(&mut self) {
        // It may have been ended before.
        let _ = self.0.end(&self.1);
    }
}

fn line(event: &Event) -> Bytes {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

async fn list(State(stage): State<Stage>) -> Json<SandboxPage> {
    Json(SandboxPage {
        items: stage.list(),
        next_cursor: None,
    })
}

async fn show(
    State(stage): State<Stage>,
    PathOf(id): PathOf<String>,
) -> Result<Json<SandboxShape>, Problem> {
    Ok(Json(stage.show(&id)?))
}

async fn end(
    State(stage): State<Stage>,
    PathOf(id): PathOf<String>,
) -> Result<Json<EndedShape>, Problem> {
    stage.end(&id)?;
    Ok(Json(Ended::Now.into()))
}

async fn exec(
    State(stage): State<Stage>,
    PathOf(id): PathOf<String>,
    JsonBody(request): JsonBody<ExecRequest>,
) -> Result<Json<ExecResult>, Problem> {
    // What is refused of a command that runs is refused of one that is noted.
    request.command()?;
    if request
        .stdin_base64
        .as_ref()
        .is_some_and(|input| !input.is_empty())
    {
        return Err(unsupported("standard input is not recorded"));
    }
    let shape = CommandShape {
        argv: request.argv,
        shell: request.shell,
        environment: request.environment,
        working_directory: request.working_directory,
        user: request.user,
        timeout_ms: request.timeout_ms,
        receipt: request.receipt,
        ..CommandShape::default()
    };
    let (_, run) = stage.run();
    stage.note(&id, operation(shape)?)?;
    Ok(Json(ExecResult {
        result: ResultShape::rehearsed(&run),
        stdout_base64: base64(&[]),
        stderr_base64: base64(&[]),
        truncated: false,
    }))
}

async fn start(
    State(stage): State<Stage>,
    PathOf(id): PathOf<String>,
    JsonBody(request): JsonBody<CommandShape>,
) -> Result<Response, Problem> {
    request.command()?;
    let (number, run) = stage.run();
    stage.note(&id, operation(request)?)?;
    let started = frames::event(&frames::Event::Started {
        process_id: number,
        pid: 0,
        run_id: run.as_str(),
        stdout_offset: 0,
        stderr_offset: 0,
    });
    let result = ResultShape::rehearsed(&run);
    let exited = frames::event(&frames::Event::Exited { result });
    let body = Body::from([started, exited].concat());
    Ok(([(CONTENT_TYPE, "application/vnd.mvm.frames")], body).into_response())
}

fn operation(request: CommandShape) -> Result<Operation, Problem> {
    for (is_asked, what) in [
        (request.stdin, "standard input is not recorded"),
        (request.terminal.is_some(), "a terminal is not recorded"),
        (request.receipt, "there is no receipt of what does not run"),
    ] {
        if is_asked {
            return Err(unsupported(what));
        }
    }
    let line = |line| ["/bin/sh".to_owned(), "-c".to_owned(), line].to_vec();
    let arguments = request.argv.or_else(|| request.shell.map(line));
    Ok(Operation::Run {
        command: RecordedCommand {
            arguments: arguments.unwrap_or_default(),
            environment: request.environment.unwrap_or_default(),
            working_directory: request.working_directory,
            user: request.user,
            timeout_ms: request.timeout_ms.filter(|limit| *limit > 0),
        },
    })
}

async fn write(
    State(stage): State<Stage>,
    PathOf(id): PathOf<String>,
    QueryOf(query): QueryOf<WriteQuery>,
    content: Bytes,
) -> Result<Json<Written>, Problem> {
    let operation = Operation::WriteFile {
        mode: mode(query.mode.as_deref())?,
        path: query.path,
        content_base64: base64(&content),
    };
    stage.note(&id, operation)?;
    let bytes = content.len() as u64;
    Ok(Json(Written { bytes }))
}

async fn remove(
    State(stage): State<Stage>,
    PathOf(id): PathOf<String>,
    QueryOf(query): QueryOf<RemoveQuery>,
) -> Result<StatusCode, Problem> {
    let RemoveQuery { path, recursive } = query;
    stage.note(&id, Operation::Remove { path, recursive })?;
    Ok(StatusCode::NO_CONTENT)
}

async fn make_directory(
    State(stage): State<Stage>,
    PathOf(id): PathOf<String>,
    JsonBody(request): JsonBody<MakeDirectoryRequest>,
) -> Result<StatusCode, Problem> {
    let operation = Operation::MakeDirectory {
        mode: mode(request.mode.as_deref())?,
        path: request.path,
        parents: request.parents,
    };
    stage.note(&id, operation)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn rename(
    State(stage): State<Stage>,
    PathOf(id): PathOf<String>,
    JsonBody(request): JsonBody<RenameRequest>,
) -> Result<StatusCode, Problem> {
    let RenameRequest { from, to } = request;
    stage.note(&id, Operation::Rename { from, to })?;
    Ok(StatusCode::NO_CONTENT)
}
