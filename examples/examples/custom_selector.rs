//! Two selectors of your own: the shortest one there is, and one that learns from what happened.
//!
//! # Run
//!
//! ```sh
//! cargo run --example custom_selector              # the one that learns
//! cargo run --example custom_selector -- fewest    # the shortest
//! ```
//!
//! # What you will see
//!
//! Of the three origins `two` answers every request with 500. `for i in $(seq 9); do curl -s 127.0.0.1:8080 | head -1;
//! done` meets it once; then it is left alone for a hundred requests.
//! With `fewest` one `curl` after another goes to `one`, which has nothing to do by then; `wrk` shows all three.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use examples::origin;
use http::StatusCode;
use proxy_core::{
    Attempt, AttemptResult, Backend, Candidates, Cluster, ClusterBuilder, Proxy, SelectionContext, Selector,
};
use proxy_core::{TcpListener, serve};

/// Whoever has the least to do.
struct FewestInFlight;

impl Selector for FewestInFlight {
    fn select(&self, candidates: &Candidates<'_>, _: &SelectionContext<'_>) -> Option<Backend> {
        candidates.iter().min_by_key(|backend| backend.in_flight()).cloned()
    }
}

/// Each in turn, but for those that failed lately.
#[derive(Default)]
struct Forgiving {
    turn: AtomicUsize,
    /// The turn at which a backend is tried again.
    benched: Mutex<HashMap<Backend, usize>>,
}

impl Forgiving {
    const PENALTY: usize = 100;

    fn benched(&self) -> MutexGuard<'_, HashMap<Backend, usize>> {
        self.benched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Selector for Forgiving {
    fn select(&self, candidates: &Candidates<'_>, _: &SelectionContext<'_>) -> Option<Backend> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let first = turn.checked_rem(candidates.len())?;
        let benched = self.benched();
        let in_turn = candidates.iter().cycle().skip(first).take(candidates.len());
        let mut willing = in_turn.filter(|backend| benched.get(backend).is_none_or(|until| *until <= turn));
        // When all have failed, somebody has to try.
        willing.next().or_else(|| candidates.at(first)).cloned()
    }

    fn on_change(&self, backends: &[Backend]) {
        self.benched().retain(|backend, _| backends.contains(backend));
    }

    fn on_outcome(&self, backend: &Backend, attempt: &Attempt) {
        let failed = match attempt.result {
            AttemptResult::Response(status) => status.is_server_error(),
            AttemptResult::Failed(_) => true,
            _ => return, // the client left: nothing is known about the backend
        };
        if failed {
            let until = self.turn.load(Ordering::Relaxed) + Self::PENALTY;
            self.benched().insert(backend.clone(), until);
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let origins = [
        origin("one", StatusCode::OK)?,
        origin("two", StatusCode::INTERNAL_SERVER_ERROR)?,
        origin("three", StatusCode::OK)?,
    ];
    let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
    println!("http://127.0.0.1:8080 -> {origins:?}; the second one fails");
    let selector: Box<dyn Selector> = match std::env::args().nth(1).as_deref() {
        Some("fewest") => Box::new(FewestInFlight),
        _ => Box::<Forgiving>::default(),
    };
    serve(listener, app(selector, &origins)).await;
    Ok(())
}

fn app(selector: impl Selector, backends: &[SocketAddr]) -> Proxy {
    let backends = backends.iter().map(|address| (*address).into());
    Proxy::over(backends.fold(Cluster::builder(selector), ClusterBuilder::backend).build())
}

#[cfg(test)]
mod tests {
    use examples::exchange;
    use proxy_core::Listener;

    use super::*;

    async fn names(selector: impl Selector, statuses: [u16; 2], count: usize) -> String {
        let origins = [("a", statuses[0]), ("b", statuses[1])];
        let origins = origins.map(|(name, status)| origin(name, StatusCode::from_u16(status).unwrap()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, app(selector, &origins)).into_future());
        let mut names = String::new();
        for _ in 0..count {
            let answer = exchange(address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            let body = answer.split_once("\r\n\r\n").unwrap().1;
            names += body.split_once(':').unwrap().0;
        }
        names
    }

    #[tokio::test]
    async fn fewest_in_flight_takes_the_first_of_the_idle() {
        assert_eq!(names(FewestInFlight, [200, 200], 3).await, "aaa");
    }

    #[tokio::test]
    async fn forgiving_leaves_alone_who_failed_and_comes_back() {
        assert_eq!(names(Forgiving::default(), [200, 200], 4).await, "abab");
        assert_eq!(names(Forgiving::default(), [200, 500], 5).await, "abaaa");
        assert_eq!(names(Forgiving::default(), [500, 500], 4).await, "abab");
        let long = names(Forgiving::default(), [500, 200], 110).await;
        assert_eq!(long.matches('a').count(), 2, "{long}");
    }
}
