//! Heads: parsing, beside httparse alone, and writing onwards; where messages end.
//!
//! Run: `cargo bench -p proxy-core --all-features --bench head`

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderName, HeaderValue};
use proxy_core::fuzzing;

/// `Host` and so many fields more.
fn head(fields: usize) -> Vec<u8> {
    let names = ["User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Cookie", "Referer", "Cache-Control"];
    let line =
        |index: usize| format!("{}-{index}: some value of a usual length; q=0.{index}\r\n", names[index % names.len()]);
    let lines: String = (0..fields).map(line).collect();
    format!("GET /a/usual/path?with=query HTTP/1.1\r\nHost: example.com\r\n{lines}\r\n").into_bytes()
}

/// Ours checks every rule, indexes and copies the head; httparse tokenises it.
fn requests(c: &mut Criterion) {
    for fields in [0, 12, 40] {
        let bytes = head(fields);
        assert!(fuzzing::parse_request(&bytes).is_some());
        c.bench_function(&format!("request head/{} fields", fields + 1), |b| {
            b.iter(|| fuzzing::parse_request(black_box(&bytes)));
        });
        c.bench_function(&format!("request head/{} fields, httparse alone", fields + 1), |b| {
            b.iter(|| {
                let mut fields = [httparse::EMPTY_HEADER; 64];
                httparse::Request::new(&mut fields).parse(black_box(&bytes)).is_ok()
            });
        });
    }
}

fn responses(c: &mut Criterion) {
    for fields in [0, 12, 40] {
        let request = String::from_utf8(head(fields)).expect("ASCII");
        let (_, lines) = request.split_once("Host: example.com\r\n").expect("a host");
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{lines}").into_bytes();
        assert!(fuzzing::parse_response(&bytes).is_some());
        c.bench_function(&format!("response head/{} fields", fields + 1), |b| {
            b.iter(|| fuzzing::parse_response(black_box(&bytes)));
        });
        c.bench_function(&format!("response head/{} fields, httparse alone", fields + 1), |b| {
            b.iter(|| {
                let mut fields = [httparse::EMPTY_HEADER; 64];
                httparse::Response::new(&mut fields).parse(black_box(&bytes)).is_ok()
            });
        });
    }
}

/// As it came; and with one field set, one added and one removed.
fn write(c: &mut Criterion) {
    let bytes = head(12);
    let [unedited, mut edited] = [0; 2].map(|_| fuzzing::parse_request(&bytes).expect("a legal head"));
    let headers = edited.headers_mut();
    headers.insert(HeaderName::from_static("accept-1"), HeaderValue::from_static("*/*"));
    headers.append(HeaderName::from_static("x-request-id"), HeaderValue::from_static("0123456789abcdef"));
    headers.remove("cookie-4");
    let mut out = Vec::with_capacity(2 * bytes.len());
    for (name, head) in [("unedited", unedited), ("edited thrice", edited)] {
        c.bench_function(&format!("write a head/13 fields, {name}"), |b| {
            b.iter(|| {
                out.clear();
                fuzzing::write_request(black_box(&head), &mut out);
                out.len()
            });
        });
    }
}

fn framing(c: &mut Criterion) {
    for (name, field) in
        [("no body", ""), ("counted", "Content-Length: 5\r\n"), ("chunked", "Transfer-Encoding: chunked\r\n")]
    {
        let bytes = [b"POST / HTTP/1.1\r\nHost: example.com\r\n", field.as_bytes(), b"\r\n"].concat();
        let head = fuzzing::parse_request(&bytes).expect("a legal head");
        assert!(fuzzing::is_framed(&head));
        c.bench_function(&format!("decide the framing/{name}"), |b| b.iter(|| fuzzing::is_framed(black_box(&head))));
    }
}

/// Bytes per second are those of the data.
fn chunks(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode chunks");
    group.throughput(Throughput::Bytes(4096));
    for (count, size) in [(1, 4096), (64, 64), (4096, 1)] {
        let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
        let body = chunk.repeat(count) + "0\r\n\r\n";
        assert_eq!(fuzzing::chunked_length(body.as_bytes()), Some(4096));
        group.bench_function(format!("{count} of {size} bytes"), |b| {
            b.iter(|| fuzzing::chunked_length(black_box(body.as_bytes())));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700))
        .nresamples(10_000);
    targets = requests, responses, write, framing, chunks
}
criterion_main!(benches);
