use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{Connector, SetEvent, SetWatch};
use tokio::task::JoinHandle;

use super::*;
use crate::{HttpCheck, TcpCheck};

const S: Duration = Duration::from_secs(1);

fn set(ids: &[&str]) -> BackendSet {
    BackendSet::new(ids.iter().map(|id| Backend::new(id.parse().unwrap())))
}

fn settings() -> HealthSettings {
    HealthSettings { interval: 10 * S, timeout: S, jitter_percent: 0, seed: Some(1), ..HealthSettings::default() }
}

/// What happened to backends and when, in seconds.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn of(set: &BackendSet) -> (Self, SetWatch) {
        let (log, start) = (Log::default(), Instant::now());
        let written = log.clone();
        let watch = set.watch(move |event| {
            if let SetEvent::Changed(backend, _) = event {
                let line = format!("{} {} {}", start.elapsed().as_secs(), backend.id(), backend.status());
                written.0.lock().unwrap().push(line);
            }
        });
        (log, watch)
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Answers as the script says: `+`, `-`, `t` for none, `p` for a panic; the last goes on for ever.
struct Scripted(Mutex<HashMap<String, Vec<char>>>);

impl Scripted {
    fn new(scripts: &[(&str, &str)]) -> Self {
        let scripts = scripts.iter().map(|(id, script)| ((*id).to_owned(), script.chars().rev().collect()));
        Scripted(Mutex::new(scripts.collect()))
    }

    fn next(&self, id: &str) -> char {
        let mut scripts = self.0.lock().unwrap();
        let script = scripts.get_mut(id).expect("a script for each");
        if script.len() > 1 { script.pop().unwrap() } else { script[0] }
    }
}

#[async_trait]
impl Check for Scripted {
    async fn check(&self, backend: &Backend) -> Result<(), CheckFailure> {
        match self.next(backend.id()) {
            '+' => Ok(()),
            '-' => Err(CheckFailure::new("bad")),
            't' => std::future::pending().await,
            _ => panic!("a broken plugin"),
        }
    }
}

fn start(set: &BackendSet, check: impl Check, settings: HealthSettings) -> JoinHandle<()> {
    tokio::spawn(HealthChecker::new(set.clone(), check, settings).run())
}

#[tokio::test(start_paused = true)]
async fn bad_answers_in_a_row_take_a_backend_out_and_good_ones_bring_it_back() {
    let set = set(&["a:1", "b:1"]);
    let (log, _watch) = Log::of(&set);
    let checker = start(&set, Scripted::new(&[("a:1", "+"), ("b:1", "+---+-++")]), settings());
    tokio::time::sleep(60 * S).await;
    let lines = log.lines();
    let [down, up] = &lines[..] else { panic!("{lines:?}") };
    assert!(down.ends_with(" b:1 unhealthy (check: bad)"), "{lines:?}");
    assert!(up.ends_with(" b:1 healthy (check: it answers)"), "{lines:?}");
    // One interval to the first bad answer, then faster: two more; four to the second good one in a row.
    let second = |line: &str| line.split(' ').next().unwrap().parse::<u64>().unwrap();
    assert!((10..=22).contains(&second(down)) && second(up) - second(down) == 4, "{lines:?}");
    assert_eq!(set.get("a:1").unwrap().status().source(), HealthSource::Check);
    checker.abort();
}

#[tokio::test(start_paused = true)]
async fn no_answer_in_time_is_a_bad_one() {
    let set = set(&["a:1"]);
    let (log, _watch) = Log::of(&set);
    let _checker = start(&set, Scripted::new(&[("a:1", "t")]), HealthSettings { fall: 1, ..settings() });
    tokio::time::sleep(60 * S).await;
    assert!(log.lines()[0].ends_with("a:1 unhealthy (check: no answer within 1s)"), "{:?}", log.lines());
}

#[tokio::test(start_paused = true)]
async fn a_new_backend_may_have_to_wait_for_its_first_check() {
    let start_state = StartState::DownUntilChecked;
    let set = set(&["a:1", "b:1"]);
    let _checker = start(
        &set,
        Scripted::new(&[("a:1", "+"), ("b:1", "-"), ("c:1", "+")]),
        HealthSettings { start: start_state, ..settings() },
    );
    tokio::task::yield_now().await;
    let states = || set.statuses().iter().map(|(_, status)| status.to_string()).collect::<Vec<_>>();
    assert_eq!(states(), ["unhealthy (start: not checked yet)"; 2]);
    tokio::time::sleep(2 * S).await;
    assert_eq!(states(), ["healthy (check: it answers)", "unhealthy (check: bad)"]);
    let held = Backend::builder("c:1".parse().unwrap()).start(BackendState::Unhealthy, "not checked yet").build();
    set.insert(held);
    assert_eq!(states()[2], "unhealthy (start: not checked yet)");
    tokio::time::sleep(2 * S).await;
    assert_eq!(states()[2], "healthy (check: it answers)");
}

#[tokio::test(start_paused = true)]
async fn checks_follow_the_set_and_stop_when_dropped() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    struct Counting(Arc<Mutex<Vec<String>>>);
    #[async_trait]
    impl Check for Counting {
        async fn check(&self, backend: &Backend) -> Result<(), CheckFailure> {
            self.0.lock().unwrap().push(backend.id().to_owned());
            Ok(())
        }
    }
    let set = set(&["a:1", "b:1"]);
    let checker = start(&set, Counting(Arc::clone(&asked)), settings());
    let count = |id: &str| asked.lock().unwrap().iter().filter(|asked| *asked == id).count();
    tokio::time::sleep(100 * S).await;
    assert_eq!((count("a:1"), count("b:1")), (10, 10));
    set.remove("b:1");
    set.insert(Backend::new("c:1".parse().unwrap()));
    tokio::time::sleep(100 * S).await;
    assert_eq!((count("a:1"), count("b:1"), count("c:1")), (20, 10, 10));
    checker.abort();
    tokio::time::sleep(100 * S).await;
    assert_eq!(asked.lock().unwrap().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_is_asked_anew() {
    let set = set(&["a:1", "b:1"]);
    let (log, _watch) = Log::of(&set);
    let _checker = start(&set, Scripted::new(&[("a:1", "p-"), ("b:1", "+")]), HealthSettings { fall: 1, ..settings() });
    tokio::time::sleep(60 * S).await;
    assert!(log.lines()[0].contains("a:1 unhealthy (check: bad)"), "{:?}", log.lines());
}

#[tokio::test(start_paused = true)]
async fn a_checker_that_takes_over_goes_on_from_what_was_said() {
    let set = set(&["a:1"]);
    let first = start(&set, Scripted::new(&[("a:1", "-")]), HealthSettings { fall: 1, ..settings() });
    tokio::time::sleep(20 * S).await;
    first.abort();
    let (log, _watch) = Log::of(&set);
    let _second = start(&set, Scripted::new(&[("a:1", "+-+")]), HealthSettings { rise: 2, ..settings() });
    tokio::time::sleep(60 * S).await;
    // Two good answers in a row: the fourth.
    assert_eq!(log.lines().len(), 1, "{:?}", log.lines());
    assert_eq!(set.get("a:1").unwrap().state(), BackendState::Healthy);
}

/// How one answer of an origin is taken.
async fn judged(check: &HttpCheck, script: Script) -> Result<(), String> {
    let origin = ScriptedConnector::always(script);
    let check = check.clone().connector(Arc::new(origin));
    let asked = tokio::time::timeout(S, check.check(&Backend::new("a:1".parse().unwrap()))).await;
    asked.map_err(|_| "timeout".to_owned())?.map_err(|failure| failure.to_string())
}

#[tokio::test(start_paused = true)]
async fn http_answers_are_judged_by_status_and_text() {
    let plain = HttpCheck::get("/healthz").unwrap();
    let strict = plain.clone().status(200..=200).status(204..=204).body_contains("ready");
    let answer = |answer: &str| Script::new().read_request().answer(answer.to_owned());
    let ok = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let table: [(&HttpCheck, Script, Result<(), &str>); 16] = [
        (&plain, answer(&ok("anything")), Ok(())),
        (&plain, answer("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), Ok(())),
        (&plain, answer("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), Err("status 503")),
        (&plain, answer("HTTP/1.0 200 OK\r\n\r\nuntil close").close(), Ok(())),
        (&plain, answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nready\r\n0\r\n\r\n"), Ok(())),
        (
            &strict,
            answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n"),
            Ok(()),
        ),
        (&strict, answer(&ok("already")), Ok(())),
        (&strict, answer(&ok("starting")), Err("the expected text is not in the body")),
        (&strict, answer(&ok(&format!("{}ready", "x".repeat(70_000)))), Err("the expected text is not in the body")),
        (&strict, answer("HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nready"), Err("status 201")),
        (&plain, answer("SSH-2.0-OpenSSH_9.2\r\n"), Err("the backend's response head is malformed")),
        (&plain, answer("\0\u{1}\u{2}garbage\r\n\r\n"), Err("the backend's response head is malformed")),
        (&plain, answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").close(), Err("the backend closed")),
        (&plain, Script::new().read_request().close(), Err("the backend closed")),
        (&plain, Script::refuse(), Err("the backend could not be connected to: connection refused")),
        (&plain, Script::new().read_request(), Err("timeout")),
    ];
    for (row, (check, script, expected)) in table.into_iter().enumerate() {
        let judged = judged(check, script).await;
        match expected {
            Ok(()) => assert_eq!(judged, Ok(()), "row {row}"),
            Err(start) => {
                assert!(judged.as_ref().is_err_and(|reason| reason.starts_with(start)), "row {row}: {judged:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn http_checks_keep_their_connection_and_send_what_they_are_told() {
    let origin = ScriptedConnector::always(Script::ok());
    let check = HttpCheck::new(::http::Method::POST, "/a?b=c")
        .unwrap()
        .host("api.internal".parse().unwrap())
        .header("x-probe".parse().unwrap(), "1".parse().unwrap())
        .connector(Arc::new(origin.clone()));
    let set = set(&["a:1", "b:1"]);
    let _checker = start(&set, check, settings());
    tokio::time::sleep(100 * S).await;
    assert_eq!(origin.connections(), 2);
    let received = origin.received(0);
    assert_eq!(received.matches("POST /a?b=c HTTP/1.1\r\n").count(), 10, "{received}");
    for line in ["Host: api.internal\r\n", "x-probe: 1\r\n", "user-agent: proxy-lb health check\r\n"] {
        assert!(received.to_lowercase().contains(&line.to_lowercase()), "{line:?} in {received}");
    }
    assert!(set.backends().iter().all(|backend| backend.latency().is_none()), "checks count for nobody");
}

#[tokio::test(start_paused = true)]
async fn tcp_checks_connect() {
    for (script, good) in [(Script::new(), true), (Script::refuse(), false)] {
        let connector: Arc<dyn Connector> = Arc::new(ScriptedConnector::always(script));
        let check = TcpCheck::over(connector);
        assert_eq!(check.check(&Backend::new("a:1".parse().unwrap())).await.is_ok(), good);
    }
}
