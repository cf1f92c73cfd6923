//! What the interface shows.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::answer::{json_of, problem, text};
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
        .route("/pools", get(pools))
        .route("/failures", get(failures))
        .route("/openapi.json", get(openapi))
}

pub(super) async fn metrics(State(state): Shared) -> Response {
    let media = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, media)], state.metrics.render()).into_response()
}

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
