//! What calling hooks costs: a request through some filters to an upstream that answers at once,
//! without any I/O. What a row adds to `no filter`, divided by its filters, is one filter's.
//!
//! Run: `cargo bench -p proxy-core --bench hooks`

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use http::StatusCode;
use proxy_core::{
    Backend, Body, Context, Filter, Flow, Outcome, Proxy, Request, RequestHead, Response, Result, Route, Upstream,
};
use tower_service::Service;

/// Overrides no hook.
struct Nothing;
impl Filter for Nothing {}

/// Overrides the one hook that may wait: costs a box.
struct OnRequest;
#[async_trait]
impl Filter for OnRequest {
    async fn on_request(&self, request: &mut Request, _: &mut Context) -> Result<Flow> {
        black_box(request.head().method());
        Ok(Flow::Continue)
    }
}

struct OnForward;
impl Filter for OnForward {
    fn on_forward(&self, head: &mut RequestHead, _: &Backend, _: &mut Context) -> Result<()> {
        black_box(head.method());
        Ok(())
    }
}

struct OnResponse;
impl Filter for OnResponse {
    fn on_response(&self, response: &mut Response, _: &mut Context) -> Result<()> {
        black_box(response.head().status());
        Ok(())
    }
}

struct OnDone;
impl Filter for OnDone {
    fn on_done(&self, outcome: &Outcome, _: &Context) {
        black_box(outcome.status);
    }
}

/// Overrides all that do not wait.
struct Sync;
impl Filter for Sync {
    fn on_forward(&self, head: &mut RequestHead, backend: &Backend, context: &mut Context) -> Result<()> {
        OnForward.on_forward(head, backend, context)
    }

    fn on_response(&self, response: &mut Response, context: &mut Context) -> Result<()> {
        OnResponse.on_response(response, context)
    }

    fn on_done(&self, outcome: &Outcome, context: &Context) {
        OnDone.on_done(outcome, context);
    }
}

/// Answers at once.
struct Answers(Backend);
#[async_trait]
impl Upstream for Answers {
    async fn send(&self, mut request: Request, context: &mut Context) -> Result<Response> {
        context.forward(request.head_mut(), &self.0)?;
        Ok(Response::status(StatusCode::NO_CONTENT))
    }
}

type Make = fn() -> Box<dyn Filter>;

fn proxy(filters: usize, make: Make) -> Proxy {
    let backend = Backend::new("127.0.0.1:9".parse().expect("an address"));
    let builder = Proxy::builder().upstream("answers", Answers(backend)).route(Route::to("answers"));
    let builder = (0..filters).fold(builder, |builder, _| builder.filter(make()));
    builder.build().expect("the route names the upstream")
}

/// Nothing in it waits: one poll is enough.
fn request(proxy: &mut Proxy) -> StatusCode {
    let request = http::Request::builder().uri("/").header("host", "h").body(Body::empty()).expect("a request");
    match pin!(proxy.call(request)).poll(&mut Task::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => response.status(),
        Poll::Ready(Err(never)) => match never {},
        Poll::Pending => panic!("nothing waits here"),
    }
}

fn hooks(c: &mut Criterion) {
    let mut row = |name: &str, filters: usize, make: Make| {
        let mut proxy = proxy(filters, make);
        assert_eq!(request(&mut proxy), StatusCode::NO_CONTENT);
        c.bench_function(&format!("hooks/{name}"), |b| b.iter(|| request(&mut proxy)));
    };
    row("no filter", 0, || Box::new(Nothing));
    let kinds: [(&str, Make); 6] = [
        ("none overridden", || Box::new(Nothing)),
        ("on_forward", || Box::new(OnForward)),
        ("on_response", || Box::new(OnResponse)),
        ("on_done", || Box::new(OnDone)),
        ("on_forward, on_response and on_done", || Box::new(Sync)),
        ("on_request", || Box::new(OnRequest)),
    ];
    for (kind, make) in kinds {
        for filters in [1, 3, 8] {
            row(&format!("{filters} x {kind}"), filters, make);
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700))
        .nresamples(10_000);
    targets = hooks
}
criterion_main!(benches);
