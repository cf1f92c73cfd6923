//! Heads: parsing, beside httparse alone, and writing onwards.
//!
//! Run: `cargo bench -p proxy-core --all-features --bench head`

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderName, HeaderValue};
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

fn responses(c: &mut Criterion) {
    for fields in [0, 12, 40] {
        let request = String::from_utf8(head(fields)).expect("ASCII");
        let (_, lines) = request.split_once("Host: example.com\r\n").expect("a host");
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{lines}").into_bytes();
        assert!(fuzzing::parse_response(&bytes).is_some());
        c.bench_function(&format!("response: parse, index and check {} fields", fields + 1), |b| {
            b.iter(|| fuzzing::parse_response(black_box(&bytes)));
        });
        c.bench_function(&format!("response: httparse alone, {} fields", fields + 1), |b| {
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
        c.bench_function(&format!("write 13 fields, {name}"), |b| {
            b.iter(|| {
                out.clear();
                fuzzing::write_request(black_box(&head), &mut out);
                out.len()
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
    targets = parse, responses, write, framing
}
criterion_main!(benches);
