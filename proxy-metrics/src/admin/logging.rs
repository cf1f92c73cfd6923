//! What is logged, looked at and changed while it runs.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::answer::{json_of, problem};

/// The program's log, for the interface: see [`Admin::set_logging`](super::Admin::set_logging). For a
/// `tracing_subscriber` with an `EnvFilter` behind a `reload::Layer` it is three lines; the example `full_lb` has them.
pub trait Logging: Send + Sync + 'static {
    /// What is logged now: `info`, or `warn,proxy_core=debug`.
    fn level(&self) -> String;

    /// From now on this is logged.
    ///
    /// # Errors
    /// Why it cannot be, and all is as it was.
    fn set_level(&self, level: &str) -> Result<(), String>;
}

/// No directive is longer.
const LONGEST: usize = 4096;

type Shared = State<Arc<super::State>>;

pub(super) fn routes() -> Router<Arc<super::State>> {
    Router::new().route("/log-level", get(read).put(change))
}

async fn read(State(state): Shared) -> Response {
    match state.logging() {
        Some(logging) => json_of(&json!({ "level": logging.level() })),
        None => nothing(),
    }
}

async fn change(State(state): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let Some(logging) = state.logging() else { return nothing() };
    let level = match parse(&body) {
        Ok(level) => level,
        Err(message) => return problem(StatusCode::UNPROCESSABLE_ENTITY, message),
    };
    let client = headers.get("x-forwarded-for").and_then(|it| it.to_str().ok());
    // Before, as it may be the last that is logged.
    tracing::info!(client, from = logging.level(), to = level, "log level changed by an operator");
    match logging.set_level(&level) {
        Ok(()) => json_of(&json!({ "level": logging.level() })),
        Err(error) => {
            tracing::info!(client, error, "the log level stays");
            problem(StatusCode::UNPROCESSABLE_ENTITY, error)
        }
    }
}

fn parse(body: &[u8]) -> Result<String, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
    let level = value.as_object().filter(|members| members.len() == 1).and_then(|members| members.get("level"));
    let level = level.and_then(Value::as_str).filter(|level| !level.is_empty() && level.len() <= LONGEST);
    level.map(str::to_owned).ok_or_else(|| "an object with one key, \"level\": \"debug\", say".into())
}

fn nothing() -> Response {
    problem(StatusCode::NOT_FOUND, "the log of this program cannot be changed here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_strictly() {
        assert_eq!(parse(br#"{"level":"warn,proxy_core=debug"}"#).as_deref(), Ok("warn,proxy_core=debug"));
        let long = format!(r#"{{"level":"{}"}}"#, "a".repeat(LONGEST + 1));
        for bad in ["", "nonsense", "[]", "{}", r#"{"level":1}"#, r#"{"level":""}"#, r#"{"level":"a","b":1}"#, &long] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
