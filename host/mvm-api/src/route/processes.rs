//! Commands and processes.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    response::Response,
};
use futures::StreamExt as _;
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
        (status = "default", body = Problem, content_type = "application/problem+json"),
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
        (status = "default", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn start(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    JsonBody(request): JsonBody<CommandShape>,
) -> Result<Response, Problem> {
    let command = request.command()?;
    let sandbox = connect(&api, &id)?;
    let process = sandbox.start(&command).await?;
    Ok(frames::stream(api, sandbox.id().clone(), process))
}

/// List the processes that were started and are remembered.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/processes",
    params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 200, body = ProcessList),
        (status = "default", body = Problem, content_type = "application/problem+json"),
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
        (status = "default", body = Problem, content_type = "application/problem+json"),
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
    Ok(frames::stream(api, sandbox.id().clone(), process))
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
        (status = "default", body = Problem, content_type = "application/problem+json"),
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
    // One after another: what is sent together stays together.
    let mut input = input.lock().await;
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part: Bytes = part.map_err(|_| Problem::invalid("the body ended early"))?;
        input.write(&part).await?;
    }
    if query.close {
        input.close().await?;
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
        (status = "default", body = Problem, content_type = "application/problem+json"),
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
        (status = "default", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn resize(
    State(api): State<Api>,
    PathOf((id, process)): PathOf<(String, u64)>,
    JsonBody(SizeShape { columns, rows }): JsonBody<SizeShape>,
) -> Result<StatusCode, Problem> {
    let sandbox = connect(&api, &id)?;
    let input = way_in(&api, &sandbox, process).await?;
    input.lock().await.resize(columns, rows).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The way into a process: that of its stream, where this server has it, or a new one.
pub(crate) async fn way_in(api: &Api, sandbox: &Sandbox, process: u64) -> Result<Input, Problem> {
    if let Some(input) = api.input(sandbox.id(), process) {
        return Ok(input);
    }
    let mut attached = sandbox.attach(process, 0, 0, true).await?;
    let input = attached.take_input().ok_or(ClientError::HungUp)?;
    // Its output is somebody else's.
    tokio::spawn(async move { while let Ok(Some(_)) = attached.next_event().await {} });
    Ok(Input::new(tokio::sync::Mutex::new(input)))
}
