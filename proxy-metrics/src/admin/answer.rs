//! Answers of the API.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

/// JSON with this status.
pub(super) fn json_with(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

pub(super) fn json_of(value: &Value) -> Response {
    json_with(StatusCode::OK, value)
}

/// A problem, for a person to read.
pub(super) fn problem(status: StatusCode, message: impl Into<String>) -> Response {
    json_with(status, &json!({ "error": message.into() }))
}

pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.into()).into_response()
}

pub(super) async fn no_such_page() -> Response {
    problem(StatusCode::NOT_FOUND, "no such page; /api/v1/openapi.json lists what there is")
}
