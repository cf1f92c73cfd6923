//! A whole connection: random bytes from a client, through a proxy, to an origin that records.

use std::time::Duration;

use proxy_core::testing::{Recorder, ScriptedConnector, TestProxy};
use proxy_core::{ErrorKind, Outcome, Proxy, Route};
use tokio::runtime::Runtime;

use crate::origin::Manner;
use crate::{answers, expect, feedback, forwarded, peer, strict};

/// Longer connections are not looked at request by request: their answers may fill every buffer.
const MAX_EXACT: usize = 8 * 1024;

/// How the bytes come, and what they meet. Read off the bytes, so that they alone repeat a run.
#[derive(Debug)]
struct Plan {
    piece: usize,
    pause: bool,
    half_close: bool,
    manner: Manner,
}

impl Plan {
    fn of(bytes: &[u8]) -> Self {
        let sum = bytes.iter().fold(bytes.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        let pieces = [bytes.len(), 1 + bytes.len() / 3, 64, 7, 1];
        Plan {
            piece: pieces[sum % 5].max(1 + bytes.len() / 512),
            pause: sum / 5 % 4 == 0,
            half_close: sum / 20 % 4 == 0,
            // The plain manner more often than the others.
            manner: *Manner::ALL.get(sum / 80 % 12).unwrap_or(&Manner::Counted),
        }
    }
}

/// What a connection came to.
struct Trace {
    /// What the client got.
    answered: Vec<u8>,
    /// What came in on each connection to the origin.
    received: Vec<Vec<u8>>,
    outcomes: Vec<Outcome>,
}

/// It ends, nothing panics, each request ends once, and no request reaches the origin that the client
/// did not send: the strict reference finds there what it finds in the client's bytes, and so does
/// hyper, as far as it goes along. An origin that answers everything gets every request exactly once,
/// and the client every answer; hyper finds these requests in the client's bytes as well.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let plan = Plan::of(bytes);
    let trace = runtime().block_on(serve(bytes, &plan)).map_err(|problem| format!("{problem}, {plan:?}"))?;
    trace.note(&plan);
    trace.check(bytes, &plan).map_err(|problem| format!("{problem}, {plan:?}, {}", trace.answered.escape_ascii()))
}

/// The same for bytes that are no HTTP/1: what reaches the origin has to be, request by request.
pub(crate) fn check_framed(bytes: &[u8]) -> Result<(), String> {
    let plan = Plan::of(bytes);
    let trace = runtime().block_on(serve(bytes, &plan)).map_err(|problem| format!("{problem}, {plan:?}"))?;
    trace.note(&plan);
    match trace.outcomes.iter().any(|outcome| outcome.error == Some(ErrorKind::PluginPanic)) {
        true => Err("something panicked".into()),
        false => trace.check_origin().map_err(|problem| format!("{problem}, {plan:?}")),
    }
}

pub(crate) fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without a driver")
}

impl Trace {
    fn check(&self, bytes: &[u8], plan: &Plan) -> Result<(), String> {
        if self.outcomes.iter().any(|outcome| outcome.error == Some(ErrorKind::PluginPanic)) {
            return Err("something panicked".into());
        }
        let (whole, begun) = expect::requests(bytes, matches!(plan.manner, Manner::Chunked | Manner::UntilClose));
        // Behind an upgrade there are no requests any more.
        let upgrades =
            plan.manner == Manner::Switches && bytes.to_ascii_lowercase().windows(7).any(|w| w == b"upgrade");
        if !upgrades {
            self.check_origin()?;
            forwarded::check_origin(bytes, &self.received, plan.manner == Manner::Silent)?;
        }
        if !plan.manner.answers_all() || bytes.len() > MAX_EXACT {
            return Ok(());
        }
        expect::check_received(&whole, &self.received)?;
        peer::check_first(bytes, &whole)?;
        let methods: Vec<_> = whole.iter().map(|request| &*request.method).collect();
        answers::check(&self.answered, &methods, begun.as_deref().unwrap_or(b"GET"))
    }

    /// Each request that origins got is an attempt, for the strict reference as for hyper.
    fn check_origin(&self) -> Result<(), String> {
        let attempts: usize = self.outcomes.iter().map(|outcome| outcome.attempts as usize).sum();
        let mut found = 0;
        for bytes in &self.received {
            let (requests, _) = strict::requests(bytes);
            found += requests.len();
            peer::check(bytes, &requests)?;
        }
        match found <= attempts {
            true => Ok(()),
            false => Err(format!("{attempts} attempts, but {found} requests at the origin")),
        }
    }

    fn note(&self, plan: &Plan) {
        let ends = self.outcomes.iter().map(|outcome| (outcome.error, outcome.status, outcome.attempts.min(2)));
        feedback::note((ends.take(4).collect::<Vec<_>>(), plan.manner as u8, self.received.len().min(3)));
    }
}

async fn serve(bytes: &[u8], plan: &Plan) -> Result<Trace, String> {
    let origin = ScriptedConnector::always(plan.manner.script());
    let recorder = Recorder::new("r");
    let builder = Proxy::builder().filter(recorder.clone()).upstream("o", origin.cluster()).route(Route::to("o"));
    let proxy = builder.half_close(plan.half_close).build().map_err(|error| error.to_string())?;
    let mut client = TestProxy::new(proxy).connect();
    for piece in bytes.chunks(plan.piece) {
        if client.try_send(piece).await.is_err() {
            break;
        }
        match plan.pause {
            true => tokio::time::sleep(Duration::from_millis(1)).await,
            false => tokio::task::yield_now().await,
        }
    }
    if plan.half_close {
        client.half_close().await;
    }
    // Every deadline passes at once when nothing else is left to do.
    let answered = client.read_to_end().await;
    client.leave().await;
    let calls = recorder.calls();
    let count = |name: &str| calls.iter().filter(|call| *call == name).count();
    if count("r.on_request") > count("r.on_done") {
        return Err(format!("a request did not end: {calls:?}"));
    }
    let received = (0..origin.connections()).map(|index| origin.received_bytes(index)).collect();
    Ok(Trace { answered, received, outcomes: recorder.outcomes() })
}
