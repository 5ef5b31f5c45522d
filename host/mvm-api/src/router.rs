//! Which request goes where, and the document that says so.

use std::time::Instant;

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    lease,
    problem::Problem,
    route::{files, host, invocations, processes, sandboxes, snapshots, trust},
    state::Api,
    terminal,
};

/// The largest JSON body, bytes.
const MOST_JSON_BYTES: usize = 4 << 20;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "mvm",
        description = "Run code in local microVMs. `docs/reference/http-api.md` says what a schema cannot."
    ),
    components(schemas(Problem), responses(Problem))
)]
struct Document;

fn routes() -> OpenApiRouter<Api> {
    let bodies = OpenApiRouter::new()
        .routes(routes!(files::read, files::write, files::remove))
        .routes(routes!(processes::stdin))
        .layer(DefaultBodyLimit::disable());
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(host::health))
        .routes(routes!(host::metrics))
        .routes(routes!(host::show))
        .routes(routes!(lease::lease))
        .routes(routes!(sandboxes::list, sandboxes::create))
        .routes(routes!(sandboxes::show, sandboxes::destroy))
        .routes(routes!(sandboxes::stop))
        .routes(routes!(sandboxes::pause))
        .routes(routes!(sandboxes::resume))
        .routes(routes!(sandboxes::cold))
        .routes(routes!(sandboxes::detach))
        .routes(routes!(sandboxes::set_ttl))
        .routes(routes!(sandboxes::metrics))
        .routes(routes!(sandboxes::logs))
        .routes(routes!(snapshots::create))
        .routes(routes!(snapshots::list))
        .routes(routes!(snapshots::show, snapshots::remove))
        .routes(routes!(processes::exec))
        .routes(routes!(processes::start, processes::list))
        .routes(routes!(processes::output))
        .routes(routes!(processes::signal))
        .routes(routes!(processes::resize))
        .routes(routes!(terminal::terminal))
        .routes(routes!(files::stat))
        .routes(routes!(files::list))
        .routes(routes!(files::make_directory))
        .routes(routes!(files::rename))
        .routes(routes!(invocations::invoke))
        .routes(routes!(trust::dry_run))
        .routes(routes!(trust::verify_receipt))
        .layer(DefaultBodyLimit::max(MOST_JSON_BYTES))
        .merge(bodies)
}

/// The OpenAPI document of this API, as JSON.
#[must_use]
pub fn openapi() -> String {
    let (_, document) = routes().split_for_parts();
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

pub(crate) fn router(api: Api) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .route("/openapi.json", get(document))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(api.clone(), observe))
        .with_state(api)
}

async fn document() -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(axum::http::header::CONTENT_TYPE, kind)], openapi()).into_response()
}

async fn unknown() -> Problem {
    Problem::new(mvm_contract::ErrorCode::NotFound, "there is no such route")
        .hint("see `/openapi.json`")
}

async fn wrong_method() -> Problem {
    Problem::invalid("the route does not take this method")
        .status(StatusCode::METHOD_NOT_ALLOWED)
        .hint("see `/openapi.json`")
}

/// Counts and logs each request, by its route's pattern: what a path or a query holds is not told.
async fn observe(State(api): State<Api>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().as_str().to_owned();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
    let mut response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    api.metrics.answered(&method, &route, status, took);
    let milliseconds = took.as_secs_f64() * 1000.0;
    tracing::info!(method, route, status, milliseconds, "answered");
    // Nothing here is for a browser's cache or its guesses.
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        let headers = response.headers_mut();
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    response
}
