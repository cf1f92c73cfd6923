//! Heads: parsing, beside httparse alone.
//!
//! Run: `cargo bench -p proxy-core --all-features --bench head`

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use proxy_core::fuzzing;

fn head(fields: usize) -> Vec<u8> {
    let names = ["User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Cookie", "Referer", "Cache-Control"];
    let line =
        |index: usize| format!("{}-{index}: some value of a usual length; q=0.{index}\r\n", names[index % names.len()]);
    let lines: String = (0..fields).map(line).collect();
    format!("GET /a/usual/path?with=query HTTP/1.1\r\nHost: example.com\r\n{lines}\r\n").into_bytes()
}

fn parse(c: &mut Criterion) {
    for fields in [0, 12, 40] {
        let bytes = head(fields);
        c.bench_function(&format!("parse, index, check and write {} fields", fields + 1), |b| {
            b.iter(|| fuzzing::request_head(black_box(&bytes)));
        });
        c.bench_function(&format!("parse, index and check {} fields", fields + 1), |b| {
            b.iter(|| fuzzing::is_request_head(black_box(&bytes)));
        });
        c.bench_function(&format!("httparse alone, {} fields", fields + 1), |b| {
            b.iter(|| {
                let mut fields = [httparse::EMPTY_HEADER; 64];
                httparse::Request::new(&mut fields).parse(black_box(&bytes)).is_ok()
            });
        });
    }
}

fn framing(c: &mut Criterion) {
    let body = b"1000\r\n".iter().chain([b'x'; 4096].iter()).chain(b"\r\n0\r\n\r\n").copied().collect::<Vec<_>>();
    c.bench_function("decode a chunked body of 4 KiB", |b| b.iter(|| fuzzing::chunked(black_box(&[&body]))));
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = parse, framing
}
criterion_main!(benches);
