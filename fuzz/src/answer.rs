//! One answer through a proxy: random bytes from an origin, to a client that asked for something.

use std::time::Duration;

use proxy_core::ErrorKind;
use proxy_core::testing::{Recorder, Script, ScriptedConnector, TestProxy};
use proxy_core::{Proxy, Route};

use crate::answers::{self, Answer};
use crate::{connection, feedback};

const METHODS: [&str; 3] = ["GET", "GET", "HEAD"];
/// More interim answers than a proxy passes on are an attack.
const MAX_INTERIM: usize = 32;

/// The client gets exactly one answer: the origin's, with its fields and its body, behind the interim
/// ones; or, where that is malformed, one of the proxy's own, or a part that shows that it was broken
/// off. That may be no more than interim ones.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let method = METHODS[bytes.len() % METHODS.len()];
    let got = connection::runtime().block_on(serve(bytes, method))?;
    let said = said(bytes, method.as_bytes());
    let Some((answer, rest)) = answers::next(&got, method.as_bytes()) else {
        let broken = answers::are_interim(&got) && said.as_ref().is_some_and(|said| said.body.is_none());
        return if broken { Ok(()) } else { Err(format!("for {said:?} the client got {}", got.escape_ascii())) };
    };
    feedback::note((&answer.status, answer.body.is_some(), said.is_some(), answer.interim.len().min(3)));
    match rest.is_empty() && is_right(&answer, said.as_ref(), bytes) {
        true => Ok(()),
        false => Err(format!("the origin said {said:?}, the client got {}", got.escape_ascii())),
    }
}

/// The origin's answer as far as it may reach this client, which neither upgrades nor waits for 100.
fn said(bytes: &[u8], method: &[u8]) -> Option<Answer> {
    let (mut said, _) = answers::next(bytes, method)?;
    said.interim.retain(|status| status != "100");
    (said.status != "101").then_some(said)
}

fn is_right(got: &Answer, said: Option<&Answer>, bytes: &[u8]) -> bool {
    let Some(said) = said else { return got.is_error() };
    let interims = bytes.windows(9).filter(|window| window.starts_with(b"HTTP/1.") && window[8] == b' ').count();
    let refused = said.body.is_none() || interims > MAX_INTERIM;
    got.is(said) || (refused && got.is_error() && said.interim.starts_with(&got.interim))
}

async fn serve(bytes: &[u8], method: &str) -> Result<Vec<u8>, String> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let script =
        Script::new().read_head().answer(first.to_vec()).wait(Duration::from_millis(1)).answer(second.to_vec());
    let origin = ScriptedConnector::always(script.close());
    let recorder = Recorder::new("r");
    let builder = Proxy::builder().filter(recorder.clone()).upstream("o", origin.cluster()).route(Route::to("o"));
    let mut client = TestProxy::new(builder.build().map_err(|error| error.to_string())?).connect();
    client.send(format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n")).await;
    let got = client.read_to_end().await;
    client.leave().await;
    let outcomes = recorder.outcomes();
    feedback::note(outcomes.iter().map(|outcome| outcome.error).collect::<Vec<_>>());
    match outcomes.iter().any(|outcome| outcome.error == Some(ErrorKind::PluginPanic)) {
        true => Err("something panicked".into()),
        false => Ok(got),
    }
}
