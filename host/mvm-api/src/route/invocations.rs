//! Calls of declared functions.

use std::{path::PathBuf, time::Duration};

use axum::{Json, extract::State};
use mvm_runtime::{Silent, StartOrigin};
use mvm_workload::{Arguments, CallOptions, Called, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    extract::JsonBody, problem::Problem, shapes::base64, shapes::sandbox::origin, state::Api,
};

/// A call of a function that a file declares. At most one of `arguments` and `positional` is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvocationRequest {
    /// The file of this host that declares it: absolute.
    file: String,
    /// Its app; where it is left out, only one may have the function.
    #[serde(default)]
    app: Option<String>,
    /// The function; where it is left out, the primary one.
    #[serde(default)]
    function: Option<String>,
    /// Its arguments by name.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    arguments: Option<Map<String, Value>>,
    /// Its arguments in the order of its parameters.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    positional: Option<Vec<Value>>,
    /// The call fails when it has not answered after so long; 0 is never.
    #[serde(default)]
    timeout_ms: Option<u64>,
}

/// What became of a call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvocationShape {
    /// `returned` or `raised`.
    outcome: &'static str,
    /// What it returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    value: Option<Value>,
    /// What it raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RaisedShape>,
    /// What it wrote to standard output and standard error, base64.
    stderr_base64: String,
    run_id: String,
    audit_id: Option<String>,
    /// From the request to the function to its answer.
    duration_ms: f64,
    /// Where its sandbox came from: `boot`, `template`, `spare` or `snapshot`.
    origin: &'static str,
}

/// An exception, in the guest's words.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RaisedShape {
    #[serde(rename = "type")]
    kind: String,
    message: String,
    traceback: String,
}

/// Call a function in a sandbox of its own.
#[utoipa::path(
    post, path = "/v1/invocations", request_body = InvocationRequest,
    responses(
        (status = 200, body = InvocationShape),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn invoke(
    State(api): State<Api>,
    JsonBody(request): JsonBody<InvocationRequest>,
) -> Result<Json<InvocationShape>, Problem> {
    let arguments = match (request.arguments, request.positional) {
        (Some(_), Some(_)) => {
            return Err(
                Problem::invalid("`arguments` and `positional` are both given")
                    .hint("give one of them"),
            );
        }
        (None, Some(positional)) => Arguments::Positional(positional),
        (named, None) => Arguments::Named(named.unwrap_or_default()),
    };
    let file = PathBuf::from(request.file);
    if !file.is_absolute() {
        return Err(Problem::invalid(
            "`file` is not an absolute path of this host",
        ));
    }
    let (app, function) = (request.app, request.function);
    let timeout = request.timeout_ms.filter(|limit| *limit > 0);
    let timeout = timeout.map(Duration::from_millis);
    // Files are read, and images made.
    let calling = move || {
        tokio::runtime::Handle::current().block_on(async {
            let options = CallOptions {
                timeout,
                progress: &Silent,
            };
            let (app, function) = (app.as_deref(), function.as_deref());
            let runtime = &api.runtime;
            let called = mvm_workload::invoke(runtime, &file, app, function, arguments, &options);
            called.await.map_err(Problem::from)
        })
    };
    let called = tokio::task::spawn_blocking(calling).await;
    let called = called.map_err(|_| Problem::invalid("the server is ending"))??;
    Ok(Json(called.into()))
}

impl From<Called> for InvocationShape {
    fn from(called: Called) -> Self {
        let (outcome, value, error) = match called.outcome {
            Outcome::Returned(value) => ("returned", Some(value), None),
            Outcome::Raised(raised) => {
                let error = RaisedShape {
                    kind: raised.kind,
                    message: raised.message,
                    traceback: raised.traceback,
                };
                ("raised", None, Some(error))
            }
        };
        let from: &StartOrigin = &called.origin;
        Self {
            outcome,
            value,
            error,
            stderr_base64: base64(&called.written),
            run_id: called.run.run_id.to_string(),
            audit_id: called.run.audit_id.as_ref().ok().cloned(),
            duration_ms: called.duration.as_secs_f64() * 1000.0,
            origin: origin(from),
        }
    }
}
