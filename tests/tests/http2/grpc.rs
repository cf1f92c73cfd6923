//! What gRPC means to the engine. `examples/examples/grpc_lb.rs` has calls of tonic.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{Error, ErrorKind, Flow, RetryPolicy, filter_fn};
use tests::{Answer, Call, Http2Client, MemoryOrigin, Stage};
use tokio::time::Instant;

use super::upstream::Bridge;
use super::{S, connect};

fn call() -> Request<()> {
    let head = Request::post("http://a.example/words.Words/Say").header("content-type", "application/grpc+proto");
    head.header("te", "trailers").body(()).unwrap()
}

fn with(mut request: Request<()>, name: &'static str, value: &'static str) -> Request<()> {
    request.headers_mut().insert(name, HeaderValue::from_static(value));
    request
}

async fn status(client: &mut Http2Client, request: Request<()>) -> (u16, Option<String>, Answer) {
    let answer = client.send(request, "hello").await;
    let code = answer.header("grpc-status").map(str::to_owned);
    (answer.status, code, answer)
}

/// An origin that answers calls with a message and trailers.
fn well() -> MemoryOrigin {
    MemoryOrigin::http2(|mut call: Call| async move {
        let body = call.read().await;
        let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let mut send = call.respond.send_response(head, false).unwrap();
        send.send_data(Bytes::from(body), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        send.send_trailers(trailers).unwrap();
    })
}

#[tokio::test(start_paused = true)]
async fn a_call_has_its_message_and_its_trailers() {
    let bridge = Bridge::to(well().upstream());
    let answer = bridge.http2().await.send(call(), "hello").await;
    assert_eq!((answer.text(), answer.header("content-type")), ("hello", Some("application/grpc")));
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
}

#[tokio::test(start_paused = true)]
async fn answers_of_ours_are_such_as_clients_of_grpc_understand() {
    let stage = Stage::new(Script::refuse());
    let mut client = connect(&stage).await;
    let (http, code, answer) = status(&mut client, call()).await;
    assert_eq!((http, code.as_deref()), (200, Some("14")));
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
    assert_eq!(answer.header("grpc-message"), Some(&*Error::new(ErrorKind::ConnectRefused).to_string()));
    assert!(answer.body.is_empty() && answer.trailers.is_none(), "{answer:?}");
    // Others get what they always got.
    let (http, code, _) = status(&mut client, with(call(), "content-type", "application/grpc-web")).await;
    assert_eq!((http, code), (502, None));
    assert_eq!(stage.recorder().wait_for(2).await[0].error, Some(ErrorKind::ConnectRefused));

    let refuses = filter_fn(|_, _| {
        let mut response = proxy_core::Response::text(StatusCode::TOO_MANY_REQUESTS, "slow down");
        response.head_mut().headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("7"));
        Ok(Flow::Respond(response))
    });
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.filter(refuses));
    let (http, code, answer) = status(&mut connect(&stage).await, call()).await;
    assert_eq!((http, code.as_deref(), answer.header("retry-after")), (200, Some("14"), Some("7")));

    // What an origin answers is its own affair.
    let stage =
        Stage::new(Script::new().read_request().answer("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"));
    let (http, code, answer) = status(&mut connect(&stage).await, call()).await;
    assert_eq!((http, code, answer.text()), (404, None, "no"));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_call_is_its_clients() {
    let stage = Stage::new(Script::new().read_request());
    let check = async |timeout, seconds| {
        let started = Instant::now();
        let (http, code, _) = status(&mut connect(&stage).await, with(call(), "grpc-timeout", timeout)).await;
        assert_eq!((http, code.as_deref(), started.elapsed().as_secs()), (200, Some("4"), seconds), "{timeout}");
    };
    check("2S", 2).await;
    check("3000m", 3).await;
    // What is none changes nothing: the origin's deadline ends it.
    check("soon", 60).await;
    check("1H", 60).await;
    let reasons: Vec<_> = stage.recorder().outcomes().iter().map(|outcome| outcome.error.unwrap().code()).collect();
    assert_eq!(reasons, ["total_timeout", "total_timeout", "response_timeout", "response_timeout"]);
    // Only a call has one.
    let started = Instant::now();
    let (http, ..) =
        status(&mut connect(&stage).await, with(with(call(), "grpc-timeout", "1S"), "content-type", "x")).await;
    assert_eq!((http, started.elapsed().as_secs()), (504, 60));
}

#[tokio::test(start_paused = true)]
async fn a_call_may_be_silent_for_long() {
    let bridge = Bridge::to(well().upstream());
    let (response, mut send) = bridge.http2().await.begin(call(), false).await;
    for _ in 0..3 {
        tokio::time::sleep(50 * S).await;
        send.send_data("x".into(), false).unwrap();
    }
    send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(Answer::read(response).await.unwrap().text(), "xxx");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_got_nothing_but_a_status_is_tried_again_if_that_is_wanted() {
    let check = async |statuses: &[u8], method: fn(Request<()>) -> Request<()>, code: &'static str, attempts: u32| {
        let origin = MemoryOrigin::http2(move |mut call: Call| async move {
            let body = call.read().await;
            assert_eq!(body, b"hello");
            let head = Response::builder().header("content-type", "application/grpc").header("grpc-status", code);
            call.answer_with(head.body(()).unwrap(), Bytes::new());
        });
        let policy = RetryPolicy { grpc_statuses: statuses.to_vec(), ..RetryPolicy::default() };
        let bridge = Bridge::to(origin.cluster(|cluster| cluster.retry(policy), |pool| pool));
        let (http, got, _) = status(&mut bridge.http2().await, method(call())).await;
        // The last answer is the client's, as it is.
        assert_eq!((http, got.as_deref()), (200, Some(code)));
        let outcome = bridge.recorder.outcome().await;
        assert_eq!((outcome.attempts, outcome.error), (attempts, None), "{statuses:?} {code}");
    };
    check(&[14], |call| call, "14", 3).await;
    check(&[14, 10], |call| call, "10", 3).await;
    check(&[14], |call| call, "13", 1).await;
    check(&[], |call| call, "14", 1).await;
    check(&[14], |call| call, "99", 1).await;
    check(&[14], |call| with(call, "content-type", "x"), "14", 1).await;
}
