//! Failures as `application/problem+json` (RFC 9457), with the codes of `mvm_contract`.

use std::collections::BTreeMap;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use mvm_contract::{Coded, ErrorCode};
use mvm_runtime::causes;
use serde::Serialize;
use utoipa::{
    IntoResponses, ToResponse, ToSchema,
    openapi::{Content, Ref, RefOr, Response as Documented, ResponseBuilder},
};

/// A failure.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(transparent)]
pub(crate) struct Problem(Box<ProblemShape>);

/// A failure, as it is told.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ProblemShape {
    /// `urn:mvm:error:` and the code.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    /// What failed.
    detail: String,
    /// The stable code.
    code: &'static str,
    /// Why, outermost first.
    causes: Vec<String>,
    /// The way out.
    hint: Option<String>,
    /// Whether the same request may succeed later.
    retryable: bool,
}

/// Every status that a problem may have, on any route that is there with this method.
const STATUSES: [&str; 10] = [
    "400", "401", "403", "404", "408", "409", "413", "415", "422", "502",
];

/// In the document, all problems are one response, which every route names for each status.
impl<'r> ToResponse<'r> for Problem {
    fn response() -> (&'r str, RefOr<Documented>) {
        let content = Content::new(Some(Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new()
            .description("What failed, why, and the way out")
            .content("application/problem+json", content)
            .build();
        ("Problem", response.into())
    }
}

impl IntoResponses for Problem {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        let response = || RefOr::Ref(Ref::from_response_name("Problem"));
        let statuses = STATUSES.iter().map(|status| (*status).to_owned());
        statuses.map(|status| (status, response())).collect()
    }
}

/// The status of a code, where nothing more is known.
const fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorCode::PolicyDenied | ErrorCode::AdmissionFailed => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Timeout => StatusCode::REQUEST_TIMEOUT,
        ErrorCode::SandboxUnavailable
        | ErrorCode::SnapshotMismatch
        | ErrorCode::CleanupFailed
        | ErrorCode::CommandFailed => StatusCode::CONFLICT,
        ErrorCode::BackendUnsupported | ErrorCode::BuildFailed => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::TransportError => StatusCode::BAD_GATEWAY,
    }
}

impl Problem {
    pub(crate) fn of(error: &dyn Coded) -> Self {
        let mut texts = causes(error);
        let detail = if texts.is_empty() {
            String::new()
        } else {
            texts.remove(0)
        };
        let mut problem = Self::new(error.code(), detail);
        problem.0.causes = texts;
        problem.0.hint = error.hint();
        problem
    }

    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self(Box::new(ProblemShape {
            kind: format!("urn:mvm:error:{}", code.as_str()),
            title: code.as_str(),
            status: status_of(code).as_u16(),
            detail: detail.into(),
            code: code.as_str(),
            causes: Vec::new(),
            hint: None,
            retryable: code.retryable(),
        }))
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, detail)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.0.status = status.as_u16();
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = (status, Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

impl<E: Coded> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}
