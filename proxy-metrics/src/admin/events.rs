//! The dashboard's stream.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use http::{StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::answer::problem;
use super::{Readiness, snapshot};

const EVERY: Duration = Duration::from_secs(1);

pub(super) fn routes() -> Router<Arc<super::State>> {
    Router::new().route("/events", get(events))
}

/// The state now and every second, as server-sent events, until the process stops.
async fn events(State(state): State<Arc<super::State>>) -> Response {
    let Ok(place) = Arc::clone(&state.streams).try_acquire_owned() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "as many dashboards are open as may be");
    };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let viewer = Viewer { readiness: state.readiness.subscribe(), state, ticks, _place: place };
    let body = Body::from_stream(stream::unfold(Some(viewer), next));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// Somebody who looks at a dashboard.
struct Viewer {
    state: Arc<super::State>,
    readiness: watch::Receiver<Readiness>,
    ticks: Interval,
    _place: OwnedSemaphorePermit,
}

type Event = Result<Bytes, Infallible>;

/// The last event says that the process drains; its connection would keep it otherwise.
async fn next(viewer: Option<Viewer>) -> Option<(Event, Option<Viewer>)> {
    let mut viewer = viewer?;
    tokio::select! {
        _ = viewer.ticks.tick() => {}
        _ = viewer.readiness.changed() => {}
    }
    let event = format!("data: {}\n\n", snapshot::everything(&viewer.state));
    let drains = *viewer.readiness.borrow_and_update() == Readiness::Draining;
    Some((Ok(event.into()), (!drains).then_some(viewer)))
}
