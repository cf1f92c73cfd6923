//! A whole connection: random bytes from a client, through a proxy, to an origin that records.

use proxy_core::testing::{Recorder, Script, ScriptedConnector, TestProxy};
use proxy_core::{Proxy, Route};

use crate::{peer, strict};

/// It ends, nothing panics, each request ends once, and no request reaches the origin that the
/// proxy did not see: hyper finds no more in what the origin got than there were attempts, and the
/// strict reference finds there only what it finds in the client's bytes.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let (attempts, received) = runtime.expect("a runtime without a driver").block_on(serve(bytes))?;
    let found: usize = received.iter().map(|bytes| peer::requests(bytes.as_bytes()).len()).sum();
    if found > attempts {
        return Err(format!("{attempts} attempts, but the origin finds {found} requests in {received:?}"));
    }
    // The harness records text: bytes that are none cannot be told from one another.
    if received.iter().any(|text| text.contains(char::REPLACEMENT_CHARACTER)) {
        return Ok(());
    }
    strict::check_origin(bytes, &received.into_iter().map(String::into_bytes).collect::<Vec<_>>())
}

async fn serve(bytes: &[u8]) -> Result<(usize, Vec<String>), String> {
    let origin = ScriptedConnector::always(Script::ok());
    let recorder = Recorder::new("r");
    let builder = Proxy::builder().filter(recorder.clone()).upstream("o", origin.cluster()).route(Route::to("o"));
    let proxy = TestProxy::new(builder.build().map_err(|error| error.to_string())?);
    let mut client = proxy.connect();
    for piece in bytes.chunks(1 + bytes.len() / 3) {
        if client.try_send(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    // Every deadline passes at once when nothing else is left to do.
    client.read_to_end().await;
    client.leave().await;
    let calls = recorder.calls();
    let count = |name: &str| calls.iter().filter(|call| *call == name).count();
    if count("r.on_request") > count("r.on_done") {
        return Err(format!("a request did not end: {calls:?}"));
    }
    let attempts = recorder.outcomes().iter().map(|outcome| outcome.attempts as usize).sum();
    let received = (0..origin.connections()).map(|index| origin.received(index)).collect();
    Ok((attempts, received))
}
