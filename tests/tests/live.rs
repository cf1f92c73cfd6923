//! A proxy that is replaced while it serves: what runs ends as it began, what comes next is the successor's.

use std::sync::{Arc, Weak};
use std::time::Duration;

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{Filter, Limits, LiveProxy, Proxy, Route, serve};
use tests::{Dialer, GET, listen, ok};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const S: Duration = Duration::from_secs(1);

/// A filter that does nothing, but is there as long as its proxy.
struct Present;

impl Filter for Present {}

/// A proxy before an origin that answers everything with this body, and how to see whether it is there still.
fn answering(body: &str, script: impl FnOnce(Script) -> Script, limits: Limits) -> (Proxy, Weak<dyn Filter>) {
    let origin = ScriptedConnector::always(script(Script::new().read_request()).answer(ok(body)).repeat());
    let present: Arc<dyn Filter> = Arc::new(Present);
    let there = Arc::downgrade(&present);
    let builder = Proxy::builder().shared_filter(present).limits(limits).upstream("origin", origin.cluster());
    (builder.route(Route::to("origin")).build().expect("the route names the upstream"), there)
}

fn plain(body: &str) -> (Proxy, Weak<dyn Filter>) {
    answering(body, |script| script, Limits::default())
}

fn served(live: &LiveProxy) -> Dialer {
    let (dialer, listener) = listen();
    tokio::spawn(serve(listener, live.clone()).into_future());
    dialer
}

async fn send(client: &mut DuplexStream, bytes: &str) {
    client.write_all(bytes.as_bytes()).await.expect("the server reads");
}

/// The body of the next answer, whose length is `body`'s.
async fn reads(client: &mut DuplexStream, body: &str) {
    let mut answer = vec![0; ok(body).len()];
    client.read_exact(&mut answer).await.expect("an answer");
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{body:?} in {answer:?}");
}

#[tokio::test(start_paused = true)]
async fn the_next_request_of_an_open_connection_goes_to_the_successor() {
    let live = LiveProxy::new(plain("old").0);
    let dialer = served(&live);
    let (mut kept, mut silent) = (dialer.dial().expect("it listens"), dialer.dial().expect("it listens"));
    send(&mut kept, GET).await;
    reads(&mut kept, "old").await;
    live.replace(plain("new").0);
    for client in [&mut kept, &mut silent] {
        send(client, GET).await;
        reads(client, "new").await;
    }
    live.replace(plain("newest").0);
    send(&mut kept, &format!("{GET}{GET}")).await;
    reads(&mut kept, "newest").await;
    reads(&mut kept, "newest").await;
}

#[tokio::test(start_paused = true)]
async fn a_running_request_ends_under_the_proxy_it_began_with() {
    let (slow, there) = answering("old", |script| script.wait(5 * S), Limits::default());
    let live = LiveProxy::new(slow);
    let mut client = served(&live).dial().expect("it listens");
    // The second one is pipelined: it begins after the first has ended.
    send(&mut client, &format!("{GET}{GET}")).await;
    tokio::time::sleep(S).await;
    drop(live.replace(plain("new").0));
    assert!(there.upgrade().is_some(), "a request still needs it");
    reads(&mut client, "old").await;
    reads(&mut client, "new").await;
    assert!(there.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_half_there_is_not_lost() {
    let live = LiveProxy::new(plain("old").0);
    let mut client = served(&live).dial().expect("it listens");
    let (half, rest) = GET.split_at(9);
    send(&mut client, half).await;
    tokio::time::sleep(S).await;
    live.replace(plain("new").0);
    tokio::time::sleep(S).await;
    send(&mut client, rest).await;
    reads(&mut client, "new").await;
}

#[tokio::test(start_paused = true)]
async fn idle_connections_let_go_of_the_old_proxy() {
    let (old, there) = plain("old");
    let live = LiveProxy::new(old);
    let dialer = served(&live);
    let mut clients: Vec<_> = (0..3).map(|_| dialer.dial().expect("it listens")).collect();
    send(&mut clients[0], GET).await;
    reads(&mut clients[0], "old").await;
    drop(live.replace(plain("new").0));
    tokio::time::sleep(S).await;
    assert!(there.upgrade().is_none(), "an idle connection holds it");
    send(&mut clients[0], GET).await;
    reads(&mut clients[0], "new").await;
}

#[tokio::test(start_paused = true)]
async fn a_raised_limit_lets_waiting_connections_in() {
    let limits = |max_connections| Limits { max_connections, ..Limits::default() };
    let live = LiveProxy::new(answering("old", |script| script, limits(1)).0);
    let dialer = served(&live);
    let (mut first, mut second) = (dialer.dial().expect("it listens"), dialer.dial().expect("it listens"));
    send(&mut first, GET).await;
    reads(&mut first, "old").await;
    send(&mut second, GET).await;
    let waits = tokio::time::timeout(10 * S, second.read_u8()).await;
    assert!(waits.is_err(), "it is one too many");
    live.replace(answering("new", |script| script, limits(2)).0);
    reads(&mut second, "new").await;
}
