//! Files of a sandbox.

use std::io;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures::{StreamExt as _, TryStreamExt as _};
use mvm_runtime::WriteOptions;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;

use super::connect;
use crate::{
    extract::{JsonBody, PathOf, QueryOf},
    problem::Problem,
    shapes::file::{
        Entry, EntryList, ListQuery, MakeDirectoryRequest, ReadQuery, RemoveQuery, RenameRequest,
        StatQuery, WriteQuery, Written, mode,
    },
    state::Api,
};

/// Read a file.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/files",
    params(("id" = String, Path, description = "Name or identifier"), ReadQuery),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        Problem
    )
)]
pub(crate) async fn read(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    QueryOf(query): QueryOf<ReadQuery>,
) -> Result<Response, Problem> {
    let (path, offset) = (absolute(&query.path)?, query.offset);
    // The guest would find out once the answer has begun.
    if i64::try_from(offset).is_err() {
        return Err(Problem::invalid("`offset` is beyond the end of any file"));
    }
    let sandbox = connect(&api, &id)?;
    let mut file = sandbox.open_file_range(path, offset, query.length).await?;
    let (parts, reading) = tokio::sync::mpsc::channel::<Result<Bytes, io::Error>>(4);
    tokio::spawn(async move {
        loop {
            let part = match file.next_chunk().await {
                Ok(Some(part)) => Ok(Bytes::copy_from_slice(part)),
                Ok(None) => return,
                // The body ends without its last chunk: nobody takes it for the whole.
                Err(error) => Err(io::Error::other(error.to_string())),
            };
            let is_last = part.is_err();
            if parts.send(part).await.is_err() || is_last {
                return;
            }
        }
    });
    let body = Body::from_stream(ReceiverStream::new(reading).map(|part| part));
    Ok(([(CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// Write a file, which appears whole or not at all.
#[utoipa::path(
    put, path = "/v1/sandboxes/{id}/files",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(("id" = String, Path, description = "Name or identifier"), WriteQuery),
    responses(
        (status = 200, body = Written),
        Problem
    )
)]
pub(crate) async fn write(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    QueryOf(query): QueryOf<WriteQuery>,
    body: Body,
) -> Result<Json<Written>, Problem> {
    let options = WriteOptions {
        mode: mode(query.mode.as_deref())?,
        make_parents: query.make_parents,
        owner: None,
    };
    let path = absolute(&query.path)?;
    let sandbox = connect(&api, &id)?;
    let parts = body.into_data_stream().map_err(io::Error::other);
    let mut content = StreamReader::new(parts);
    let bytes = sandbox.write_file(path, &mut content, &options).await?;
    Ok(Json(Written { bytes }))
}

/// Remove a file or a directory.
#[utoipa::path(
    delete, path = "/v1/sandboxes/{id}/files",
    params(("id" = String, Path, description = "Name or identifier"), RemoveQuery),
    responses(
        (status = 204),
        Problem
    )
)]
pub(crate) async fn remove(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    QueryOf(query): QueryOf<RemoveQuery>,
) -> Result<StatusCode, Problem> {
    let path = absolute(&query.path)?;
    connect(&api, &id)?.remove(path, query.recursive).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tell what a path is.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/files/stat",
    params(("id" = String, Path, description = "Name or identifier"), StatQuery),
    responses(
        (status = 200, body = Entry),
        Problem
    )
)]
pub(crate) async fn stat(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    QueryOf(query): QueryOf<StatQuery>,
) -> Result<Json<Entry>, Problem> {
    let path = absolute(&query.path)?;
    let status = connect(&api, &id)?.stat(path, query.follow).await?;
    let name = path.trim_end_matches('/').rsplit('/').next();
    Ok(Json(Entry::new(
        name.unwrap_or_default().to_owned(),
        status,
    )))
}

/// List a directory, by name.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/files/list",
    params(("id" = String, Path, description = "Name or identifier"), ListQuery),
    responses(
        (status = 200, body = EntryList),
        Problem
    )
)]
pub(crate) async fn list(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Json<EntryList>, Problem> {
    let path = absolute(&query.path)?;
    let entries = connect(&api, &id)?.list_directory(path).await?;
    let items = entries.into_iter().map(Into::into).collect();
    Ok(Json(EntryList { items }))
}

/// Make a directory.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/files/mkdir", request_body = MakeDirectoryRequest,
    params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 204),
        Problem
    )
)]
pub(crate) async fn make_directory(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    JsonBody(request): JsonBody<MakeDirectoryRequest>,
) -> Result<StatusCode, Problem> {
    let (path, bits) = (absolute(&request.path)?, mode(request.mode.as_deref())?);
    let sandbox = connect(&api, &id)?;
    sandbox.make_directory(path, bits, request.parents).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Rename a path.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/files/rename", request_body = RenameRequest,
    params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 204),
        Problem
    )
)]
pub(crate) async fn rename(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    JsonBody(request): JsonBody<RenameRequest>,
) -> Result<StatusCode, Problem> {
    let (from, to) = (absolute(&request.from)?, absolute(&request.to)?);
    connect(&api, &id)?.rename(from, to).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn absolute(path: &str) -> Result<&str, Problem> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(path);
    }
    Err(Problem::invalid(
        "the path is not an absolute one of the guest",
    ))
}
