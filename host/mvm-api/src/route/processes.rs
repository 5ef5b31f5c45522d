//! Commands and processes.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    response::Response,
};
use futures::StreamExt as _;
use mvm_contract::ErrorCode;
use mvm_runtime::{ClientError, DEFAULT_OUTPUT_LIMIT, Sandbox};

use super::connect;
use crate::{
    extract::{JsonBody, PathOf, QueryOf},
    frames,
    problem::Problem,
    shapes::{
        base64,
        command::{
            CommandShape, ExecRequest, ExecResult, OutputQuery, ProcessList, ResultShape,
            SignalRequest, SizeShape, StdinQuery,
        },
    },
    state::{Api, Input},
};

/// Run a command to its end.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/exec", request_body = ExecRequest,
    params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 200, body = ExecResult),
        Problem
    )
)]
pub(crate) async fn exec(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    JsonBody(request): JsonBody<ExecRequest>,
) -> Result<Json<ExecResult>, Problem> {
    let command = request.command()?;
    let input = match &request.stdin_base64 {
        None => Vec::new(),
        Some(text) => {
            use ::base64::{Engine as _, engine::general_purpose::STANDARD};
            let decoded = STANDARD.decode(text);
            decoded.map_err(|error| Problem::invalid(format!("`stdin_base64` is not: {error}")))?
        }
    };
    let limit = request
        .output_limit_bytes
        .map_or(DEFAULT_OUTPUT_LIMIT, |limit| {
            usize::try_from(limit)
                .unwrap_or(usize::MAX)
                .min(DEFAULT_OUTPUT_LIMIT)
        });
    let sandbox = connect(&api, &id)?;
    let mut result = sandbox.run_with_input(&command, &input).await?;
    let cut = result.stdout.len() > limit || result.stderr.len() > limit;
    result.stdout.truncate(limit);
    result.stderr.truncate(limit);
    api.metrics.ran(result.exit_code());
    Ok(Json(ExecResult {
        result: ResultShape::new(&result.exit, Some(&result.run)),
        stdout_base64: base64(&result.stdout),
        stderr_base64: base64(&result.stderr),
        truncated: result.truncated || cut,
    }))
}

/// Start a command and stream it.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/processes", request_body = CommandShape,
    params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 200, description = "Frames: events, standard output, standard error",
         content_type = "application/vnd.mvm.frames", body = Vec<u8>),
        Problem
    )
)]
pub(crate) async fn start(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    JsonBody(request): JsonBody<CommandShape>,
) -> Result<Response, Problem> {
    let command = request.command()?;
    let sandbox = connect(&api, &id)?;
    let mut process = sandbox.start(&command).await?;
    let id = process.id();
    let way_in = process.take_input().map(|writer| {
        let has_terminal = request.terminal.is_some();
        let input = Input::new(writer, request.stdin, has_terminal);
        api.keep_input(sandbox.id(), id, input)
    });
    Ok(frames::stream(api, process, way_in))
}

/// List the processes that were started and are remembered.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/processes",
    params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 200, body = ProcessList),
        Problem
    )
)]
pub(crate) async fn list(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<Json<ProcessList>, Problem> {
    let processes = connect(&api, &id)?.processes().await?;
    let items = processes.into_iter().map(Into::into).collect();
    Ok(Json(ProcessList { items }))
}

/// Stream a process again.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/processes/{process}/output",
    params(
        ("id" = String, Path, description = "Name or identifier"),
        ("process" = u64, Path, description = "Its number"),
        OutputQuery,
    ),
    responses(
        (status = 200, description = "Frames: events, standard output, standard error",
         content_type = "application/vnd.mvm.frames", body = Vec<u8>),
        Problem
    )
)]
pub(crate) async fn output(
    State(api): State<Api>,
    PathOf((id, process)): PathOf<(String, u64)>,
    QueryOf(query): QueryOf<OutputQuery>,
) -> Result<Response, Problem> {
    let sandbox = connect(&api, &id)?;
    let (stdout, stderr) = (query.stdout_offset, query.stderr_offset);
    let process = sandbox.attach(process, stdout, stderr, false).await?;
    Ok(frames::stream(api, process, None))
}

/// Send bytes to a process's standard input, or its terminal.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/processes/{process}/stdin",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(
        ("id" = String, Path, description = "Name or identifier"),
        ("process" = u64, Path, description = "Its number"),
        StdinQuery,
    ),
    responses(
        (status = 204),
        Problem
    )
)]
pub(crate) async fn stdin(
    State(api): State<Api>,
    PathOf((id, process)): PathOf<(String, u64)>,
    QueryOf(query): QueryOf<StdinQuery>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let sandbox = connect(&api, &id)?;
    let input = way_in(&api, &sandbox, process).await?;
    if !input.takes_bytes {
        let detail = format!("the standard input of process {process} is not open");
        return Err(Problem::invalid(detail).hint("start it with `stdin`"));
    }
    // One after another: what is sent together stays together.
    let mut writer = input.writer.lock().await;
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part: Bytes = part.map_err(|_| Problem::invalid("the body ended early"))?;
        let written = writer.write(&part).await;
        written.map_err(|error| gone(process, error))?;
    }
    if query.close {
        let closed = writer.close().await;
        closed.map_err(|error| gone(process, error))?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Signal a process.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/processes/{process}/signal", request_body = SignalRequest,
    params(
        ("id" = String, Path, description = "Name or identifier"),
        ("process" = u64, Path, description = "Its number"),
    ),
    responses(
        (status = 204),
        Problem
    )
)]
pub(crate) async fn signal(
    State(api): State<Api>,
    PathOf((id, process)): PathOf<(String, u64)>,
    JsonBody(request): JsonBody<SignalRequest>,
) -> Result<StatusCode, Problem> {
    let sandbox = connect(&api, &id)?;
    sandbox
        .signal(process, request.signal, request.group)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tell a process's terminal its new size.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/processes/{process}/resize", request_body = SizeShape,
    params(
        ("id" = String, Path, description = "Name or identifier"),
        ("process" = u64, Path, description = "Its number"),
    ),
    responses(
        (status = 204),
        Problem
    )
)]
pub(crate) async fn resize(
    State(api): State<Api>,
    PathOf((id, process)): PathOf<(String, u64)>,
    JsonBody(SizeShape { columns, rows }): JsonBody<SizeShape>,
) -> Result<StatusCode, Problem> {
    let sandbox = connect(&api, &id)?;
    let input = way_in(&api, &sandbox, process).await?;
    if !input.has_terminal {
        let detail = format!("process {process} has no terminal");
        return Err(Problem::invalid(detail).hint("start it with `terminal`"));
    }
    let resized = input.writer.lock().await.resize(columns, rows).await;
    resized.map_err(|error| gone(process, error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// A process that ended while something was sent to it is no broken connection.
fn gone(process: u64, error: ClientError) -> Problem {
    match error {
        ClientError::Send(_) => not_running(process),
        error => error.into(),
    }
}

fn not_running(process: u64) -> Problem {
    let detail = format!("process {process} does not run any more");
    Problem::new(ErrorCode::SandboxUnavailable, detail)
}

/// The way into a process: that of its stream, where this server has it, or a new one.
async fn way_in(api: &Api, sandbox: &Sandbox, process: u64) -> Result<Input, Problem> {
    if let Some(input) = api.input(sandbox.id(), process) {
        return Ok(input);
    }
    let processes = sandbox.processes().await?;
    match processes.iter().find(|known| known.id == process) {
        Some(known) if known.exit.is_some() => return Err(not_running(process)),
        // The agent says that there is no such process.
        _ => {}
    }
    let mut attached = sandbox.attach(process, 0, 0, true).await?;
    let input = attached.take_input().ok_or(ClientError::HungUp)?;
    // Its output is somebody else's.
    tokio::spawn(async move { while let Ok(Some(_)) = attached.next_event().await {} });
    // Whether it has a terminal is known to the agent alone.
    Ok(Input::new(input, true, true))
}
