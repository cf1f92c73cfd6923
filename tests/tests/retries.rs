//! When a request is tried again, and when it must not be.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{
    Attempt, AttemptResult, Backend, Body, Candidates, Cluster, Context, Eligibility, ErrorKind, Request, RequestHead,
    RetryPolicy, SelectionContext, Selector, SharedPool, Upstream,
};
use tests::{GET, Stage, ok, post, status};

/// The first candidate, and a record of how its attempts ended.
#[derive(Clone, Default)]
struct First(Arc<Mutex<Vec<(String, AttemptResult)>>>);

impl Selector for First {
    fn select(&self, candidates: &Candidates<'_>, _: &SelectionContext<'_>) -> Option<Backend> {
        candidates.at(0).cloned()
    }

    fn on_outcome(&self, backend: &Backend, attempt: &Attempt) {
        self.0.lock().expect("no holder panicked").push((backend.id().to_owned(), attempt.result));
    }
}

struct Lab {
    stage: Stage,
    selector: First,
    backends: Vec<Backend>,
}

/// A stage over the backends `a:1`, `b:1` and `c:1`.
fn lab(origin: ScriptedConnector, retry: RetryPolicy) -> Lab {
    let (selector, backends) =
        (First::default(), ["a:1", "b:1", "c:1"].map(|id| Backend::new(id.parse().expect("an address"))));
    let builder = backends.iter().cloned().fold(Cluster::builder(selector.clone()), proxy_core::ClusterBuilder::with);
    let cluster: Cluster<First, SharedPool> = builder.retry(retry).build_with(origin.pool());
    Lab { stage: Stage::to(origin, cluster, |builder| builder), selector, backends: backends.into() }
}

impl Lab {
    /// Sends a request: the status of its answer, 0 for none.
    async fn ask(&self, request: &str) -> u16 {
        let mut client = self.stage.connect_and_send(request).await;
        let status = client.try_read_response().await.map_or(0, |response| response.status());
        client.leave().await;
        status
    }

    /// Everything must be counted out in the end, and each attempt reported once.
    fn check_attempts(&self, expected: &[(&str, AttemptResult)]) {
        let seen = self.selector.0.lock().expect("no holder panicked").clone();
        let seen: Vec<_> = seen.iter().map(|(id, result)| (id.as_str(), *result)).collect();
        assert_eq!(seen, expected);
        assert!(self.backends.iter().all(|backend| backend.in_flight() == 0));
    }
}

const OK: AttemptResult = AttemptResult::Response(http::StatusCode::OK);
const REFUSED: AttemptResult = AttemptResult::Failed(ErrorKind::ConnectRefused);
const GONE: AttemptResult = AttemptResult::Failed(ErrorKind::UpstreamGone);

fn put(body: &str) -> String {
    post(body).replace("POST", "PUT")
}

#[tokio::test(start_paused = true)]
async fn a_refused_connect_goes_elsewhere_whatever_the_method() {
    for request in [GET.to_owned(), post("body")] {
        let origin =
            ScriptedConnector::default().backend_always("a:1", Script::refuse()).backend_always("b:1", Script::ok());
        let lab = lab(origin, RetryPolicy::default());
        assert_eq!(lab.ask(&request).await, 200);
        assert_eq!(lab.stage.origin().tried(), ["a:1", "b:1"]);
        lab.check_attempts(&[("a:1", REFUSED), ("b:1", OK)]);
        assert!(lab.stage.origin().received(1).ends_with(request.rsplit("\r\n\r\n").next().unwrap_or_default()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_refused_is_left_alone_for_a_second() {
    let origin = ScriptedConnector::default()
        .backend("a:1", [Script::refuse(), Script::ok()])
        .backend_always("b:1", Script::ok());
    let lab = lab(origin, RetryPolicy::default());
    assert_eq!(lab.ask(GET).await, 200);
    assert_eq!(lab.ask(GET).await, 200);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(lab.ask(GET).await, 200);
    lab.check_attempts(&[("a:1", REFUSED), ("b:1", OK), ("b:1", OK), ("a:1", OK)]);
}

/// `a:1` alone, and the others only where it is not there to be asked about.
struct FirstOnly;

impl Eligibility for FirstOnly {
    fn eligible(&self, backends: &[Backend]) -> Vec<Backend> {
        match backends.iter().find(|backend| backend.id() == "a:1") {
            Some(first) => vec![first.clone()],
            None => backends.to_vec(),
        }
    }
}

/// A retry once went to the only candidate again, however many backups there were.
#[tokio::test(start_paused = true)]
async fn where_all_candidates_failed_the_next_in_line_serve() {
    let origin =
        ScriptedConnector::default().backend_always("a:1", Script::refuse()).backend_always("b:1", Script::ok());
    let selector = First::default();
    let builder = Cluster::builder(selector.clone()).eligibility(FirstOnly);
    let builder = ["a:1", "b:1"].iter().fold(builder, |builder, id| builder.backend(id.parse().expect("an address")));
    let stage = Stage::to(origin.clone(), builder.build_with(origin.pool()), |builder| builder);
    for _ in 0..2 {
        assert_eq!(stage.connect_and_send(GET).await.read_response().await.status(), 200);
    }
    let seen = selector.0.lock().expect("no holder panicked").clone();
    let ids: Vec<_> = seen.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["a:1", "b:1", "b:1"], "the second request spares the one that refused");
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_request_goes_elsewhere_only_if_that_is_safe() {
    let table = [(GET.to_owned(), 200), (put("body"), 200), (put(&"x".repeat(70_000)), 502), (post("body"), 502)];
    for (request, status) in table {
        let origin = ScriptedConnector::default()
            .backend_always("a:1", Script::new().read_request().close())
            .backend_always("b:1", Script::ok());
        let lab = lab(origin, RetryPolicy::default());
        assert_eq!(lab.ask(&request).await, status, "{}", &request[..20]);
        match status {
            200 => lab.check_attempts(&[("a:1", GONE), ("b:1", OK)]),
            _ => lab.check_attempts(&[("a:1", GONE)]),
        }
        if status == 200 {
            assert_eq!(lab.stage.origin().received(1), lab.stage.origin().received(0), "the same request again");
        }
    }
}

/// A process that hangs, or was stopped: its kernel still accepts.
#[tokio::test(start_paused = true)]
async fn a_silent_backend_is_not_waited_for_twice() {
    let late = AttemptResult::Failed(ErrorKind::ResponseTimeout);
    for (request, status) in [(GET.to_owned(), 200), (post("body"), 504)] {
        let origin = ScriptedConnector::default()
            .backend_always("a:1", Script::new().read_request())
            .backend_always("b:1", Script::ok());
        let lab = lab(origin, RetryPolicy::default());
        assert_eq!(lab.ask(&request).await, status);
        match status {
            200 => lab.check_attempts(&[("a:1", late), ("b:1", OK)]),
            _ => lab.check_attempts(&[("a:1", late)]),
        }
    }
    // When all are silent, each is asked once.
    let lab = lab(
        ScriptedConnector::always(Script::new().read_request()),
        RetryPolicy { attempts: 9, ..RetryPolicy::default() },
    );
    assert_eq!(lab.ask(GET).await, 504);
    lab.check_attempts(&[("a:1", late), ("b:1", late), ("c:1", late)]);
}

/// An answer that has begun is never asked for again.
#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_not_asked_for_again() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    for (answer, status) in [("HTTP/1.1 2", 502), (half, 0)] {
        let origin = ScriptedConnector::default()
            .backend_always("a:1", Script::new().read_request().answer(answer).close())
            .backend_always("b:1", Script::ok());
        let lab = lab(origin, RetryPolicy::default());
        assert_eq!(lab.ask(GET).await, status, "{answer:?}");
        assert_eq!(lab.stage.origin().tried(), ["a:1"]);
        assert!(lab.backends.iter().all(|backend| backend.in_flight() == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_abandons_its_attempt() {
    let lab = lab(ScriptedConnector::always(Script::new().read_request()), RetryPolicy::default());
    let client = lab.stage.connect_and_send(GET).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(lab.backends[0].in_flight(), 1);
    client.leave().await;
    lab.check_attempts(&[("a:1", AttemptResult::Abandoned)]);
}

/// A plugin's own request, and all but the last of a decorator's, were reported as abandoned.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_a_plugin_made_ends_as_it_was_answered() {
    let (selector, backend) = (First::default(), Backend::new("a:1".parse().expect("an address")));
    let busy = Script::new().read_request().answer(status(503));
    let origin = ScriptedConnector::always(busy.read_request().answer(ok("")));
    let cluster = Cluster::builder(selector.clone()).with(backend.clone()).build_with(origin.pool());
    let mut context = Context::internal();
    for expected in [503, 200] {
        let head = RequestHead::new(http::Method::POST, "/").expect("a head");
        let response = cluster.send(Request::new(head, Body::empty()), &mut context).await.expect("an answer");
        assert_eq!((response.head().status().as_u16(), backend.in_flight()), (expected, 1));
    }
    drop(context);
    let results = selector.0.lock().expect("no holder panicked").iter().map(|(_, result)| *result).collect::<Vec<_>>();
    assert_eq!(results, [AttemptResult::Response(http::StatusCode::SERVICE_UNAVAILABLE), OK]);
    assert_eq!(backend.in_flight(), 0);
}

/// The origin closes the kept connection just as it is used again.
#[tokio::test(start_paused = true)]
async fn a_stale_connection_costs_a_safe_request_nothing() {
    for (second, status) in [(GET.to_owned(), 200), (post("x"), 502)] {
        let stale = Script::new().read_request().answer(ok("one")).read_head().close();
        let origin = ScriptedConnector::default().backend("a:1", [stale, Script::ok()]);
        let lab = lab(origin, RetryPolicy { attempts: 2, budget_percent: 0, ..RetryPolicy::default() });
        assert_eq!(lab.ask(GET).await, 200);
        assert_eq!(lab.ask(&second).await, status, "{second:?}");
        match status {
            200 => lab.check_attempts(&[("a:1", OK), ("a:1", GONE), ("a:1", OK)]),
            _ => lab.check_attempts(&[("a:1", OK), ("a:1", GONE)]),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_and_the_later_ones_wait() {
    let origin = ScriptedConnector::always(Script::refuse());
    let retry = RetryPolicy {
        attempts: 3,
        backoff: Duration::from_secs(8),
        max_backoff: Duration::from_secs(8),
        ..RetryPolicy::default()
    };
    let lab = lab(origin, retry);
    let started = tokio::time::Instant::now();
    assert_eq!(lab.ask(GET).await, 502);
    lab.check_attempts(&[("a:1", REFUSED), ("b:1", REFUSED), ("c:1", REFUSED)]);
    assert!(started.elapsed() < Duration::from_secs(8), "full jitter stays below the bound");
    assert!(started.elapsed() > Duration::ZERO, "only one pause in eight million is none");
}

#[tokio::test(start_paused = true)]
async fn the_first_retry_does_not_wait() {
    let long = Duration::from_secs(8);
    let retry = RetryPolicy { attempts: 2, backoff: long, max_backoff: long, ..RetryPolicy::default() };
    let lab = lab(ScriptedConnector::always(Script::refuse()), retry);
    let started = tokio::time::Instant::now();
    assert_eq!(lab.ask(GET).await, 502);
    assert_eq!(started.elapsed(), Duration::ZERO);
    lab.check_attempts(&[("a:1", REFUSED), ("b:1", REFUSED)]);
}

#[tokio::test(start_paused = true)]
async fn the_budget_bounds_retries() {
    let origin = ScriptedConnector::default()
        .backend_always("a:1", Script::new().read_request().close())
        .backend_always("b:1", Script::ok());
    let lab = lab(origin, RetryPolicy { budget_percent: 0, ..RetryPolicy::default() });
    let mut failed = 0;
    for _ in 0..30 {
        failed += u32::from(lab.ask(GET).await == 502);
    }
    // Ten retries are the reserve.
    assert_eq!(failed, 20);
}
