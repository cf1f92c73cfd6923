use std::time::Duration;

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{Body, Cluster, Context, ErrorKind, Request, RequestHead, RetryPolicy, SharedPool, Upstream};
use tokio::task::JoinHandle;

use super::*;
use crate::RoundRobin;

const S: Duration = Duration::from_secs(1);

fn cluster(
    origin: &ScriptedConnector,
    ids: &[&str],
    breaker: &CircuitBreaker,
    attempts: u32,
) -> Arc<Cluster<RoundRobin, SharedPool>> {
    let builder = Cluster::builder(RoundRobin::new()).breaker(breaker.clone());
    let builder = ids.iter().fold(builder, |builder, id| builder.backend(id.parse().unwrap()));
    Arc::new(builder.retry(RetryPolicy { attempts, ..RetryPolicy::default() }).build_with(origin.pool()))
}

/// The status, or the reason code.
async fn ask(cluster: &Cluster<RoundRobin, SharedPool>) -> Result<u16, &'static str> {
    let head = RequestHead::new(::http::Method::GET, "/").unwrap();
    let sent = cluster.send(Request::new(head, Body::empty()), &mut Context::internal()).await;
    sent.map(|response| response.head().status().as_u16()).map_err(|error| error.kind().code())
}

fn ask_slowly(cluster: &Arc<Cluster<RoundRobin, SharedPool>>) -> JoinHandle<Result<u16, &'static str>> {
    let cluster = Arc::clone(cluster);
    tokio::spawn(async move { ask(&cluster).await })
}

fn answering(status: u16) -> Script {
    Script::new().read_request().answer(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")).repeat()
}

#[tokio::test(start_paused = true)]
async fn a_backend_gets_no_more_requests_than_it_may_have() {
    let origin =
        ScriptedConnector::always(Script::new().read_request().wait(10 * S).answer("HTTP/1.1 204 X\r\n\r\n").repeat());
    let breaker = CircuitBreaker::new(BreakerSettings { max_requests: Some(2), ..BreakerSettings::default() });
    let cluster = cluster(&origin, &["a:1", "b:1"], &breaker, 1);
    let running: Vec<_> = (0..4).map(|_| ask_slowly(&cluster)).collect();
    tokio::time::sleep(S).await;
    assert_eq!(cluster.backends().backends().iter().map(Backend::in_flight).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(ask(&cluster).await, Err(ErrorKind::CircuitOpen.code()));
    for task in running {
        assert_eq!(task.await.unwrap(), Ok(204));
    }
    assert_eq!(ask(&cluster).await, Ok(204), "places come back");
    let abandoned = ask_slowly(&cluster);
    tokio::time::sleep(S).await;
    abandoned.abort();
    let _ = abandoned.await;
    let entry = breaker.entry(&cluster.backends().backends()[0]);
    assert_eq!((entry.requests.load(Ordering::Relaxed), entry.retries.load(Ordering::Relaxed)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn retries_are_limited_apart() {
    let hang = Script::new().read_request().wait(10 * S).answer("HTTP/1.1 204 X\r\n\r\n");
    let origin = ScriptedConnector::default().backend_always("a:1", Script::refuse()).backend_always("b:1", hang);
    let breaker = CircuitBreaker::new(BreakerSettings { max_retries: Some(1), ..BreakerSettings::default() });
    let cluster = cluster(&origin, &["a:1", "b:1"], &breaker, 2);
    let retried = ask_slowly(&cluster); // a refuses it: b has a retry to do
    tokio::time::sleep(S / 10).await;
    tokio::time::advance(2 * S).await; // a is tried first again
    let mut results = Vec::new();
    for task in [ask_slowly(&cluster), ask_slowly(&cluster)] {
        results.push(task.await.unwrap());
    }
    results.sort_unstable();
    assert_eq!(results, [Ok(204), Err("circuit_open")], "one was first sent to b, the other may not be sent again");
    assert_eq!(retried.await.unwrap(), Ok(204));
}

#[tokio::test(start_paused = true)]
async fn failures_open_the_circuit_and_successes_close_it() {
    let bad = Script::new().read_request().answer("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n").close();
    let scripts = std::iter::repeat_n(bad, 4).chain([answering(200)]);
    let origin = ScriptedConnector::default().backend("a:1", scripts).backend_always("b:1", answering(201));
    let settings = BreakerSettings { failures: Some(3), successes: 2, ..BreakerSettings::default() };
    let breaker = CircuitBreaker::new(settings);
    let cluster = cluster(&origin, &["a:1", "b:1"], &breaker, 1);
    let telling = tokio::spawn(breaker.run(cluster.backends().clone()));
    let status = || cluster.backends().backends()[0].status().to_string();
    tokio::task::yield_now().await;
    let round = async |expected: [u16; 2]| {
        let mut answers = [ask(&cluster).await.unwrap(), ask(&cluster).await.unwrap()];
        answers.sort_unstable();
        assert_eq!(answers, expected);
        tokio::task::yield_now().await;
    };
    for _ in 0..3 {
        round([201, 500]).await;
    }
    assert_eq!(status(), "unhealthy (breaker: its circuit is open)");
    round([201, 201]).await;
    tokio::time::sleep(5 * S + S / 100).await;
    assert_eq!(status(), "healthy (breaker: its circuit is half open)");
    round([201, 500]).await; // the trial fails
    assert_eq!(status(), "unhealthy (breaker: its circuit is open)");
    tokio::time::sleep(10 * S + S / 100).await;
    assert_eq!(status(), "healthy (breaker: its circuit is half open)");
    round([200, 201]).await;
    round([200, 201]).await;
    assert_eq!(status(), "healthy (breaker: its circuit closed)");
    telling.abort();
}

#[tokio::test(start_paused = true)]
async fn it_works_without_being_followed() {
    let origin = ScriptedConnector::always(answering(500));
    let breaker = CircuitBreaker::new(BreakerSettings { failures: Some(1), ..BreakerSettings::default() });
    let cluster = cluster(&origin, &["a:1"], &breaker, 1);
    assert_eq!(ask(&cluster).await, Ok(500));
    assert_eq!(ask(&cluster).await, Err("circuit_open"));
    tokio::time::sleep(5 * S).await;
    assert_eq!(ask(&cluster).await, Ok(500));
    assert_eq!(ask(&cluster).await, Err("circuit_open"));
}
