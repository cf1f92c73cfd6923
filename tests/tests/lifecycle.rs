//! The order of hooks, and `on_done` exactly once in every way a request can end.

use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use proxy_core::testing::{Recorder, Script, ScriptedConnector, TestProxy};
use proxy_core::{
    Backend, Context, Error, ErrorKind, Filter, Flow, Outcome, Proxy, Request, RequestHead, Response, Result, Route,
};
use tests::{GET, Stage, ok, post};

/// A proxy with these filters, in this order, before an origin that answers `ok`.
fn proxy(filters: Vec<Box<dyn Filter>>) -> TestProxy {
    let origin = ScriptedConnector::always(Script::ok());
    let mut builder = Proxy::builder().upstream("origin", origin.cluster());
    for filter in filters {
        builder = builder.filter(filter);
    }
    TestProxy::new(builder.route(Route::to("origin")).build().expect("the route names the upstream"))
}

/// Where a [`Trouble`] strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hook {
    Request,
    Forward,
    Response,
    Error,
    Done,
}

/// What it does there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Respond,
    Fail,
    Panic,
}

struct Trouble(Hook, Deed);

impl Trouble {
    fn strike(&self, hook: Hook) -> Result<()> {
        match self.1 {
            _ if self.0 != hook => Ok(()),
            Deed::Fail => Err(Error::plugin("trouble").with_status(http::StatusCode::IM_A_TEAPOT)),
            Deed::Panic => panic!("trouble"),
            Deed::Respond => Ok(()),
        }
    }
}

#[async_trait]
impl Filter for Trouble {
    async fn on_request(&self, _: &mut Request, _: &mut Context) -> Result<Flow> {
        self.strike(Hook::Request)?;
        match (self.0, self.1) {
            (Hook::Request, Deed::Respond) => Ok(Flow::Respond(Response::text(http::StatusCode::ACCEPTED, "mine"))),
            // Its other hooks strike only where something has gone wrong before.
            (Hook::Error, _) => Err(ErrorKind::NoRoute.into()),
            _ => Ok(Flow::Continue),
        }
    }

    fn on_forward(&self, _: &mut RequestHead, _: &Backend, _: &mut Context) -> Result<()> {
        self.strike(Hook::Forward)
    }

    fn on_response(&self, _: &mut Response, _: &mut Context) -> Result<()> {
        self.strike(Hook::Response)
    }

    fn on_error(&self, _: &Error, _: &mut Context) -> Option<Response> {
        match self.strike(Hook::Error) {
            Ok(()) if (self.0, self.1) == (Hook::Error, Deed::Respond) => {
                Some(Response::status(http::StatusCode::GONE))
            }
            _ => None,
        }
    }

    fn on_done(&self, _: &Outcome, _: &Context) {
        let _ = self.strike(Hook::Done);
    }
}

/// A trouble between two recorders: the status, and the hooks of both that ran.
async fn check(hook: Hook, deed: Deed, status: u16, calls: &[&str]) {
    let first = Recorder::new("a");
    let last = first.beside("z");
    let proxy = proxy(vec![Box::new(first.clone()), Box::new(Trouble(hook, deed)), Box::new(last)]);
    let mut client = proxy.connect();
    client.send(GET).await;
    assert_eq!(client.read_response().await.status(), status, "{hook:?} {deed:?}");
    first.wait_for(2).await;
    assert_eq!(first.calls(), calls, "{hook:?} {deed:?}");
    let mut other = proxy.connect();
    other.send(GET).await;
    assert_eq!(other.read_response().await.status(), status, "the next request is served alike");
}

#[tokio::test(start_paused = true)]
async fn hooks_run_in_order_and_back() {
    let whole = [
        "a.on_request",
        "z.on_request",
        "a.on_forward",
        "z.on_forward",
        "z.on_response",
        "a.on_response",
        "a.on_done",
        "z.on_done",
    ];
    check(Hook::Done, Deed::Respond, 200, &whole).await;
    check(Hook::Done, Deed::Panic, 200, &whole).await;
    let short = ["a.on_request", "a.on_response", "a.on_done", "z.on_done"];
    check(Hook::Request, Deed::Respond, 202, &short).await;
    let failed = ["a.on_request", "z.on_error", "a.on_error", "a.on_response", "a.on_done", "z.on_done"];
    check(Hook::Request, Deed::Fail, 418, &failed).await;
    check(Hook::Request, Deed::Panic, 500, &failed).await;
    let mine = ["a.on_request", "z.on_error", "a.on_response", "a.on_done", "z.on_done"];
    check(Hook::Error, Deed::Respond, 410, &mine).await;
    check(Hook::Error, Deed::Panic, 404, &failed).await;
    let forward = [
        "a.on_request",
        "z.on_request",
        "a.on_forward",
        "z.on_error",
        "a.on_error",
        "z.on_response",
        "a.on_response",
        "a.on_done",
        "z.on_done",
    ];
    check(Hook::Forward, Deed::Fail, 418, &forward).await;
    check(Hook::Forward, Deed::Panic, 500, &forward).await;
    check(Hook::Response, Deed::Fail, 418, &whole).await;
    check(Hook::Response, Deed::Panic, 500, &whole).await;
}

/// The client sends this and leaves at once, or after the head of an answer.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_ends_its_request_once() {
    let slow = || Script::new().read_request().wait(Duration::from_secs(1)).answer(ok("late"));
    let halting = || Script::new().read_request().answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    let table = [
        (slow(), GET.to_owned(), false, "client_gone"),
        // Its body is sent, or kept for another attempt.
        (slow(), post("hello"), false, "client_gone"),
        (slow(), post("hello").replace("POST", "PUT"), false, "client_gone"),
        (slow(), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc".to_owned(), false, "body_aborted"),
        (halting(), GET.to_owned(), true, "client_gone"),
    ];
    for (script, sent, reads, code) in table {
        let stage = Stage::new(script);
        let mut client = stage.connect_and_send(&sent).await;
        if reads {
            client.read_head().await;
        }
        client.leave().await;
        assert_eq!(stage.code().await, code, "{sent:?}");
    }
    // Within the head there is no request yet.
    let stage = Stage::new(Script::ok());
    assert_eq!(stage.connect_and_send("GET / HT").await.leave().await, 0);
    assert!(stage.recorder().outcomes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_leaves_ends_the_request_once() {
    let then = |answer: &'static str| Script::new().read_request().answer(answer).close();
    let table = [
        (Script::refuse(), 502, "connect_refused"),
        (Script::new().read_request().close(), 502, "upstream_gone"),
        (then("HTTP/1.1 200 OK\r\nConte"), 502, "bad_response"),
        (then("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), 0, "upstream_gone"),
    ];
    for (script, status, code) in table {
        let stage = Stage::new(script);
        let mut client = stage.connect_and_send(post("x")).await;
        let got = client.try_read_response().await.map_or(0, |response| response.status());
        assert_eq!((got, stage.code().await), (status, code));
    }
}

/// The connection's task is dropped after each number of polls: whatever it was waiting for, every
/// request that began ends exactly once.
#[tokio::test(start_paused = true)]
async fn a_task_dropped_anywhere_ends_each_request_once() {
    for polls in 1.. {
        let stage = Stage::new(
            Script::new()
                .read_request()
                .answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
                .wait(Duration::from_secs(1))
                .answer("ok"),
        );
        let (mut client, connection) = stage.proxy().pair();
        client.send(post("hello")).await;
        let mut connection = Box::pin(connection);
        let mut left = polls;
        let ended = std::future::poll_fn(|cx| {
            left -= 1;
            match connection.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if left == 0 => Poll::Ready(false),
                Poll::Pending => {
                    if polls - left == 12 {
                        // By then only the client's leaving can end it.
                        cx.waker().wake_by_ref();
                    }
                    Poll::Pending
                }
            }
        });
        let ended = tokio::select! {
            ended = ended => ended,
            // The response is whole, and the connection idle.
            () = async { let _ = client.read_response().await; client.half_close().await; std::future::pending().await } => true,
        };
        drop(connection);
        let began = stage.recorder().calls().iter().filter(|call| *call == "recorder.on_request").count();
        assert_eq!(
            stage.recorder().outcomes().len(),
            began,
            "dropped after {polls} polls: {:?}",
            stage.recorder().calls()
        );
        if ended {
            assert!(polls > 3, "nothing was interrupted");
            break;
        }
    }
}

/// A body on its way has one half of the connection. It must not keep the other half alive.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_dropped_is_closed() {
    for sent in [GET, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc"] {
        let stage = Stage::new(Script::new().read_request());
        let mut client = stage.connect_and_send(sent).await;
        // Time stands still until the proxy waits for its origin.
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.stop_server().await;
        assert!(client.is_closed().await, "{sent:?}");
        assert_eq!(stage.code().await, "shutting_down", "{sent:?}");
    }
}
