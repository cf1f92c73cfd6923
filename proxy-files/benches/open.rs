//! What looking a file up costs, in the task that asks and on a thread for blocking work:
//! `cargo bench -p proxy-files`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use proxy_core::{Context, Request, RequestHead, Upstream};
use proxy_files::Files;

fn get(path: &str) -> Request {
    Request::new(RequestHead::new(Method::GET, path).expect("a path"), proxy_core::Body::empty())
}

fn look_up(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let mut group = criterion.benchmark_group("look_up");
    let here = env!("CARGO_MANIFEST_DIR");
    for (name, slow_storage) in [("in place", false), ("on a thread", true)] {
        let files = Files::builder(here).slow_storage(slow_storage).build().expect("a folder");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (files, mut context) = (files.clone(), Context::internal());
                let answered = async move { files.send(get("/src/lib.rs"), &mut context).await };
                black_box(runtime.block_on(answered)).expect("an answer")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, look_up);
criterion_main!(benches);
