//! Snapshots.

use axum::{Json, extract::State, http::StatusCode};
use mvm_runtime::SnapshotOptions;

use super::connect;
use crate::{
    extract::{OptionalBody, PathOf},
    problem::Problem,
    shapes::sandbox::{SnapshotList, SnapshotRequest, SnapshotShape, invalid},
    state::Api,
};

/// Save a sandbox, with its processes and files, while it goes on.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/snapshots", request_body = Option<SnapshotRequest>,
    params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 201, body = SnapshotShape),
        Problem
    )
)]
pub(crate) async fn create(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    OptionalBody(request): OptionalBody<SnapshotRequest>,
) -> Result<(StatusCode, Json<SnapshotShape>), Problem> {
    let name = match request.name {
        None => None,
        Some(name) => Some(name.parse().map_err(|error| invalid(&error))?),
    };
    let options = SnapshotOptions {
        name,
        stream: false,
    };
    let record = connect(&api, &id)?.snapshot(&options).await?;
    Ok((StatusCode::CREATED, Json(record.into())))
}

/// List the snapshots, the oldest first.
#[utoipa::path(
    get, path = "/v1/snapshots",
    responses(
        (status = 200, body = SnapshotList),
        Problem
    )
)]
pub(crate) async fn list(State(api): State<Api>) -> Result<Json<SnapshotList>, Problem> {
    let listed = api.runtime.snapshots()?.into_iter();
    let items = listed.filter_map(|one| one.record.ok()).map(Into::into);
    Ok(Json(SnapshotList {
        items: items.collect(),
    }))
}

/// Show a snapshot.
#[utoipa::path(
    get, path = "/v1/snapshots/{id}", params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 200, body = SnapshotShape),
        Problem
    )
)]
pub(crate) async fn show(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<Json<SnapshotShape>, Problem> {
    Ok(Json(api.runtime.snapshot(&id)?.into()))
}

/// Remove a snapshot.
#[utoipa::path(
    delete, path = "/v1/snapshots/{id}", params(("id" = String, Path, description = "Name or identifier")),
    responses(
        (status = 204),
        Problem
    )
)]
pub(crate) async fn remove(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<StatusCode, Problem> {
    api.runtime.remove_snapshot(&id)?;
    Ok(StatusCode::NO_CONTENT)
}
