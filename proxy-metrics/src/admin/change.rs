//! What the interface changes.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use proxy_core::{Backend, BackendSet, BackendState};
use serde_json::{Map, Value};

use super::answer::{json_of, problem};
use super::snapshot;
use crate::metrics::Upstream;

pub(super) fn routes() -> Router<Arc<super::State>> {
    Router::new().route("/upstreams/{upstream}/backends/{backend}", get(read).patch(change))
}

/// The state and the weight that an operator asks for.
#[derive(Debug, Default, PartialEq)]
struct Change {
    state: Option<BackendState>,
    weight: Option<u32>,
}

async fn read(State(state): State<Arc<super::State>>, Path((upstream, id)): Path<(String, String)>) -> Response {
    match find(&state, &upstream, &id) {
        Ok((upstream, backend, _)) => json_of(&snapshot::backend(&backend, upstream.backend_counts(&backend))),
        Err(problem) => *problem,
    }
}

async fn change(
    State(state): State<Arc<super::State>>,
    Path((upstream, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let change = match Change::parse(&body) {
        Ok(change) => change,
        Err(message) => return problem(StatusCode::UNPROCESSABLE_ENTITY, message),
    };
    let (upstream, backend, set) = match find(&state, &upstream, &id) {
        Ok(found) => found,
        Err(problem) => return *problem,
    };
    change.apply(&backend, &set);
    tracing::info!(
        // Of the proxy in front of this router; there is no trusted one before it.
        client = headers.get("x-forwarded-for").and_then(|it| it.to_str().ok()),
        upstream = &*upstream.name,
        backend = backend.id(),
        state = change.state.map(BackendState::name),
        weight = change.weight,
        "changed by an operator",
    );
    json_of(&snapshot::backend(&backend, upstream.backend_counts(&backend)))
}

type Found = (Arc<Upstream>, Backend, BackendSet);

fn find(state: &super::State, upstream: &str, id: &str) -> Result<Found, Box<Response>> {
    let missing = |message: String| Box::new(problem(StatusCode::NOT_FOUND, message));
    let upstreams = state.metrics.upstreams();
    let found = upstreams.into_iter().find(|it| &*it.name == upstream);
    let found = found.ok_or_else(|| missing(format!("no upstream named {upstream:?}")))?;
    let mut backends = found.backends().into_iter();
    match backends.find(|(backend, _)| backend.id() == id) {
        Some((backend, set)) => Ok((found, backend, set)),
        None => Err(missing(format!("no backend {id:?} in {upstream:?}"))),
    }
}

impl Change {
    fn parse(body: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
        let Value::Object(members) = value else { return Err("not an object".into()) };
        let change = Change::of(&members)?;
        match change == Change::default() {
            true => Err("nothing to change: \"state\" or \"weight\"".into()),
            false => Ok(change),
        }
    }

    fn of(members: &Map<String, Value>) -> Result<Self, String> {
        let mut change = Change::default();
        for (key, value) in members {
            match key.as_str() {
                "state" => change.state = Some(state(value)?),
                "weight" => change.weight = Some(weight(value)?),
                other => return Err(format!("unknown key {other:?}: \"state\" and \"weight\" can be changed")),
            }
        }
        Ok(change)
    }

    fn apply(&self, backend: &Backend, set: &BackendSet) {
        if let Some(weight) = self.weight {
            backend.set_weight(weight);
            set.refresh();
        }
        if let Some(state) = self.state {
            set.set_state(backend.id(), state);
        }
    }
}

fn state(value: &Value) -> Result<BackendState, String> {
    let states = [BackendState::Healthy, BackendState::Draining, BackendState::Maintenance];
    let found = states.into_iter().find(|state| value.as_str() == Some(state.name()));
    found.ok_or_else(|| {
        "\"state\" is \"healthy\" (take back what was asked for), \"draining\" or \"maintenance\"".into()
    })
}

fn weight(value: &Value) -> Result<u32, String> {
    let weight = value.as_u64().and_then(|weight| u32::try_from(weight).ok()).filter(|weight| *weight <= 65_535);
    weight.ok_or_else(|| "\"weight\" is a whole number from 0 to 65535".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_strictly() {
        let check = |text: &str, state: Option<BackendState>, weight: Option<u32>| {
            assert_eq!(Change::parse(text.as_bytes()), Ok(Change { state, weight }), "{text}");
        };
        check(r#"{"state":"draining"}"#, Some(BackendState::Draining), None);
        check(r#"{"state":"healthy","weight":0}"#, Some(BackendState::Healthy), Some(0));
        check(r#"{"weight":65535}"#, None, Some(65_535));
        let bad = [
            "",
            "[]",
            "{}",
            "nonsense",
            r#"{"state":"unhealthy"}"#,
            r#"{"state":1}"#,
            r#"{"weight":65536}"#,
            r#"{"weight":-1}"#,
            r#"{"weight":1.5}"#,
            r#"{"wieght":1}"#,
        ];
        for text in bad {
            assert!(Change::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
