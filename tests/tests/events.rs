//! What is logged: one debug event for each request that does not go well, with its reason code.

use std::time::Duration;

use proxy_core::Outcome;
use proxy_core::testing::Script;
use tests::{GET, Log, LogEvent, Stage, post};

/// What this request logs, before an origin like that. Behind a `|` it goes on half a second later; after
/// a second the client leaves.
async fn logged(request: &str, script: Script) -> Vec<LogEvent> {
    let log = Log::start();
    let stage = Stage::new(script);
    let mut client = stage.connect();
    for part in request.split('|') {
        client.send(part).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.leave().await;
    let outcomes = stage.recorder().outcomes();
    let failed: Vec<_> = log.events().into_iter().filter(|event| event["message"] == "request failed").collect();
    // The outcome, too, says in which phase it failed: answering it is a later one.
    let told: Vec<_> = failed.iter().map(|event| (&*event["fault"], &*event["phase"])).collect();
    let ended = outcomes.iter().filter(|outcome| outcome.error.is_some()).map(Outcome::reason);
    assert_eq!(ended.collect::<Vec<_>>(), told, "{request:?}");
    failed
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_is_one_event() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n";
    let early = Script::new().read_head().answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
    let table = [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), Script::ok(), "host_missing", "client", "head"),
        ("G T\r\n\r\n".to_owned(), Script::ok(), "bad_request_line", "client", "head"),
        (post("x").replace("Length: 1", "Length: 1x"), Script::ok(), "length_malformed", "client", "head"),
        (chunked.to_owned(), Script::new().read_request(), "bad_chunk", "client", "send"),
        // The status is on its way already: only the log and the outcome can tell.
        (chunked.replace("zz", "|zz"), early, "bad_chunk", "client", "relay"),
        (GET.to_owned(), Script::new().read_request(), "client_gone", "client", "send"),
        (GET.to_owned(), Script::refuse(), "connect_refused", "upstream", "connect"),
        (GET.to_owned(), Script::new().read_request().answer("nonsense\r\n\r\n"), "bad_response", "upstream", "send"),
        (GET.to_owned(), Script::new().read_request().answer(half).close(), "upstream_gone", "upstream", "relay"),
    ];
    for (request, script, code, fault, phase) in table {
        let events = logged(&request, script).await;
        let told: Vec<_> = events.iter().map(|event| (&*event["code"], &*event["fault"], &*event["phase"])).collect();
        assert_eq!(told, [(code, fault, phase)], "{request:?}");
        assert_eq!(events[0]["client"], "192.0.2.1", "{request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_names_what_lies_beneath() {
    let events = logged(GET, Script::refuse()).await;
    let event = &events[0];
    assert_eq!(
        (&*event["upstream"], &*event["backend"], &*event["cause"]),
        ("origin", "origin:80", "connection refused")
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goes_well_is_none() {
    assert!(logged(GET, Script::ok()).await.is_empty());
}
