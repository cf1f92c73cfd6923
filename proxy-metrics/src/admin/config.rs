//! The configuration behind the interface.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::Control;
use super::answer::{json_of, problem};

type Shared = State<Arc<super::State>>;

pub(super) fn routes() -> Router<Arc<super::State>> {
    Router::new()
        .route("/config", get(current))
        .route("/config/validate", post(validate))
        .route("/config/reload", post(reload))
        .route("/config/history", get(history))
}

async fn current(State(state): Shared) -> Response {
    match control(&state).and_then(|control| control.config().ok_or_else(nothing)) {
        Ok(config) => ([(header::CONTENT_TYPE, "application/json")], config).into_response(),
        Err(problem) => *problem,
    }
}

async fn validate(State(state): Shared, config: String) -> Response {
    match control(&state) {
        Ok(control) => {
            let errors = control.check(&config).err();
            let errors: Vec<_> = errors.iter().flat_map(|errors| errors.lines()).collect();
            json_of(&json!({ "valid": errors.is_empty(), "errors": errors }))
        }
        Err(problem) => *problem,
    }
}

async fn reload(State(state): Shared, headers: HeaderMap) -> Response {
    let control = match control(&state) {
        Ok(control) => control,
        Err(problem) => return *problem,
    };
    let client = headers.get("x-forwarded-for").and_then(|it| it.to_str().ok());
    tracing::info!(client, "reload asked for by an operator");
    match control.reload().await {
        Ok(changes) => json_of(&json!({ "changes": changes })),
        Err(error) => problem(StatusCode::CONFLICT, error),
    }
}

async fn history(State(state): Shared) -> Response {
    json_of(&state.reloads.all())
}

fn control(state: &super::State) -> Result<Arc<dyn Control>, Box<Response>> {
    state.control().ok_or_else(nothing)
}

fn nothing() -> Box<Response> {
    Box::new(problem(StatusCode::NOT_FOUND, "no configuration stands behind this interface"))
}
