//! What the interface shows.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::answer::{json_of, problem, text};
use super::connections::connections;
use super::{Readiness, snapshot};

type Shared = State<Arc<super::State>>;

pub(super) fn routes() -> Router<Arc<super::State>> {
    Router::new()
        .route("/status", get(status))
        .route("/listeners", get(listeners))
        .route("/routes", get(routes_in_use))
        .route("/upstreams", get(upstreams))
        .route("/upstreams/{upstream}", get(upstream))
        .route("/upstreams/{upstream}/backends", get(backends))
        .route("/connections", get(open_connections))
        .route("/pools", get(pools))
        .route("/limits", get(limits))
        .route("/failures", get(failures))
        .route("/openapi.json", get(openapi))
}

/// In Prometheus' text format, and in OpenMetrics for those who accept that.
pub(super) async fn metrics(State(state): Shared, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    // Whoever knows the format wants it rather than the other: it has the exemplars.
    let (media, text) = match accepted.flat_map(|it| it.split(',')).any(|it| it.trim().starts_with(OPEN_METRICS)) {
        true => ("application/openmetrics-text; version=1.0.0; charset=utf-8", state.metrics.render_open_metrics()),
        false => ("text/plain; version=0.0.4; charset=utf-8", state.metrics.render()),
    };
    ([(header::CONTENT_TYPE, media)], text).into_response()
}

const OPEN_METRICS: &str = "application/openmetrics-text";

pub(super) async fn healthz() -> Response {
    text(StatusCode::OK, "ok\n")
}

pub(super) async fn readyz(State(state): Shared) -> Response {
    let readiness = *state.readiness.borrow();
    let status = if readiness == Readiness::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(status, format!("{}\n", readiness.name()))
}

async fn status(State(state): Shared) -> Response {
    json_of(&snapshot::status(&state))
}

async fn listeners(State(state): Shared) -> Response {
    json_of(&snapshot::listeners(&state.metrics))
}

async fn routes_in_use(State(state): Shared) -> Response {
    json_of(&snapshot::routes(&state.metrics))
}

async fn upstreams(State(state): Shared) -> Response {
    json_of(&snapshot::upstreams(&state.metrics))
}

async fn upstream(State(state): Shared, Path(name): Path<String>) -> Response {
    found(&state, &name, |upstream| upstream)
}

async fn backends(State(state): Shared, Path(name): Path<String>) -> Response {
    found(&state, &name, |mut upstream| upstream["backends"].take())
}

async fn pools(State(state): Shared) -> Response {
    let pools = state.metrics.upstreams().into_iter().map(|upstream| {
        let mut pool = snapshot::pool(&upstream);
        pool["upstream"] = json!(*upstream.name);
        pool
    });
    json_of(&pools.collect())
}

async fn limits(State(state): Shared) -> Response {
    json_of(&snapshot::limits(&state.metrics))
}

/// Clients and connections that are shown, unless asked otherwise; and the most.
const TOP: usize = 20;
const MOST: usize = 1000;

async fn open_connections(State(state): Shared, RawQuery(query): RawQuery) -> Response {
    let top = query.as_deref().map_or(Some(TOP), |query| query.strip_prefix("top=")?.parse().ok());
    match top {
        Some(top @ 1..=MOST) => json_of(&connections(&state.metrics, top)),
        _ => problem(
            StatusCode::BAD_REQUEST,
            format!("\"top\" is a whole number from 1 to {MOST}, and all there is to ask"),
        ),
    }
}

async fn failures(State(state): Shared) -> Response {
    json_of(&snapshot::failures(&state.metrics))
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("../../openapi.json")).into_response()
}

fn found(state: &super::State, name: &str, part: impl FnOnce(Value) -> Value) -> Response {
    let upstreams = state.metrics.upstreams();
    match upstreams.iter().find(|upstream| &*upstream.name == name) {
        Some(upstream) => json_of(&part(snapshot::upstream(upstream))),
        None => problem(StatusCode::NOT_FOUND, format!("no upstream named {name:?}")),
    }
}
