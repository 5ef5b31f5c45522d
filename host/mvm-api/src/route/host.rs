//! The host and the server itself.

use axum::{
    Json,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use mvm_contract::spec::DEFAULT_IMAGE;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{problem::Problem, shapes::sandbox::word, state::Api};

/// What this host runs microVMs with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HostShape {
    version: &'static str,
    /// `kvm` or `tcg`.
    accelerator: String,
    /// `hardware` or `emulated`.
    isolation: String,
    default_image: &'static str,
}

/// Tell what this host runs microVMs with.
#[utoipa::path(
    get, path = "/v1/host",
    responses(
        (status = 200, body = HostShape),
        Problem
    )
)]
pub(crate) async fn show(State(api): State<Api>) -> Result<Json<HostShape>, Problem> {
    let runtime = api.runtime.clone();
    let detected = tokio::task::spawn_blocking(move || runtime.host_summary()).await;
    let detected = detected.map_err(|_| Problem::invalid("the server is ending"))?;
    let summary = detected.map_err(|error| {
        let code = mvm_contract::ErrorCode::BackendUnsupported;
        Problem::new(code, mvm_runtime::causes(&error).join(": "))
    })?;
    Ok(Json(HostShape {
        version: env!("CARGO_PKG_VERSION"),
        accelerator: summary.accelerator,
        isolation: word(&summary.isolation),
        default_image: DEFAULT_IMAGE,
    }))
}

/// That the server answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    status: &'static str,
    version: &'static str,
}

/// Tell that the server answers. It needs no token.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = Health)))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Tell numbers, in the Prometheus text format.
#[utoipa::path(
    get, path = "/metrics",
    responses(
        (status = 200, body = String, content_type = "application/openmetrics-text"),
        Problem
    )
)]
pub(crate) async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let records = api.runtime.list()?.into_iter().filter_map(Result::ok);
    let text = api
        .metrics
        .text(records.map(|record| record.state.to_string()));
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}
