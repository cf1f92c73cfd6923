//! Every strictness rule of HTTP/1, one row each: bytes in; status, reason code and the connection's
//! end out, the code in one event too; and nothing of a refused message on its other side.

use std::time::Duration;

use proxy_core::testing::{Script, ScriptedConnector, TestClient};
use proxy_core::{Forwarding, Limits, ProxyBuilder};
use tests::{GET, Log, Stage, ok, post};

fn plain(builder: ProxyBuilder) -> ProxyBuilder {
    builder.forwarding(Forwarding::none())
}

/// A request head that must be refused: at once, and byte by byte.
async fn check(bytes: &[u8], status: u16, code: &str) {
    check_with(plain, bytes, status, code).await;
}

async fn check_with(configure: fn(ProxyBuilder) -> ProxyBuilder, bytes: &[u8], status: u16, code: &str) {
    for step in [bytes.len(), 1] {
        let (row, log) = (format!("{} in steps of {step}", bytes.escape_ascii()), Log::start());
        let stage = Stage::with(ScriptedConnector::always(Script::ok()), configure);
        let mut client = stage.connect();
        send_in_steps(&mut client, bytes, step).await;
        let response = client.read_response().await;
        assert_eq!((response.status(), stage.code().await), (status, code), "{row}");
        assert_eq!(log.codes(), [code], "{row}");
        assert_eq!(response.header("connection"), Some("close"), "{row}");
        assert!(client.is_closed().await, "{row}: the connection is still open");
        assert_eq!(stage.origin().connections(), 0, "{row}: {}", stage.origin().received_in_all());
    }
}

/// The proxy may have refused the beginning already, and closed.
async fn send_in_steps(client: &mut TestClient, bytes: &[u8], step: usize) {
    for piece in bytes.chunks(step) {
        if client.try_send(piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// A good head with a body that turns bad: refused, and the origin gets no complete request.
async fn check_body(bytes: &str, status: u16, code: &str) {
    for step in [bytes.len(), 1] {
        let (row, log) = (format!("{bytes:?} in steps of {step}"), Log::start());
        let stage = Stage::new(Script::ok());
        let mut client = stage.connect();
        send_in_steps(&mut client, bytes.as_bytes(), step).await;
        let response = client.read_response().await;
        assert_eq!((response.status(), stage.code().await), (status, code), "{row}");
        assert_eq!(log.codes(), [code], "{row}");
        assert_eq!(response.header("connection"), Some("close"), "{row}");
        assert!(client.is_closed().await, "{row}: the connection is still open");
        assert!(!stage.origin().received_in_all().ends_with("0\r\n\r\n"), "{row}: the origin got it all");
    }
}

/// A request that passes, and what the origin gets for it.
async fn check_passes(bytes: &str, forwarded: &str) {
    for step in [bytes.len(), 1] {
        let stage = Stage::with(ScriptedConnector::always(Script::ok()), plain);
        let mut client = stage.connect();
        send_in_steps(&mut client, bytes.as_bytes(), step).await;
        assert_eq!(client.read_response().await.status(), 200, "{bytes:?}");
        assert_eq!(stage.origin().received(0), forwarded, "in steps of {step}");
        assert_eq!(stage.code().await, "ok");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_framing_is_unambiguous() {
    let table: &[(&str, &str)] = &[
        // CL.TE and TE.CL.
        ("Content-Length: 6\r\nTransfer-Encoding: chunked", "length_and_chunked"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", "length_and_chunked"),
        ("Transfer-Encoding: identity\r\nContent-Length: 4", "length_and_chunked"),
        // TE.TE, and all that some origin takes for chunked.
        ("Transfer-Encoding: xchunked", "transfer_encoding"),
        ("Transfer-Encoding: chunked, identity", "transfer_encoding"),
        ("Transfer-Encoding: identity, chunked", "transfer_encoding"),
        ("Transfer-Encoding: gzip, chunked", "transfer_encoding"),
        ("Transfer-Encoding: chunked, chunked", "transfer_encoding"),
        ("Transfer-Encoding: chunked,", "transfer_encoding"),
        ("Transfer-Encoding: chunked;q=1", "transfer_encoding"),
        ("Transfer-Encoding: \"chunked\"", "transfer_encoding"),
        ("Transfer-Encoding: identity", "transfer_encoding"),
        ("Transfer-Encoding:", "transfer_encoding"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "transfer_encoding"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "transfer_encoding"),
        ("Transfer-Encoding: identity\r\ntransfer-encoding: chunked", "transfer_encoding"),
        ("Transfer-Encoding : chunked", "bad_header"),
        ("Transfer-Encoding\t: chunked", "bad_header"),
        (" Transfer-Encoding: chunked", "bad_header"),
        ("X: y\r\n Transfer-Encoding: chunked", "bad_header"),
        ("Transfer-Encoding:\r\n chunked", "bad_header"),
        ("Transfer-Encoding: \u{b}chunked", "bad_header"),
        ("Transfer-Encoding: chunked\0", "bad_header"),
        ("X: y\nTransfer-Encoding: chunked", "bare_line_end"),
        ("X: y\rTransfer-Encoding: chunked", "bad_header"),
        // One Content-Length, all digits.
        ("Content-Length: 4\r\nContent-Length: 4", "length_repeated"),
        ("Content-Length: 4\r\nContent-Length: 5", "length_repeated"),
        ("Content-Length: 4, 4", "length_malformed"),
        ("Content-Length: 4,5", "length_malformed"),
        ("Content-Length: +4", "length_malformed"),
        ("Content-Length: -4", "length_malformed"),
        ("Content-Length: 0x4", "length_malformed"),
        ("Content-Length: 4 4", "length_malformed"),
        ("Content-Length: 4.0", "length_malformed"),
        ("Content-Length: 1e1", "length_malformed"),
        ("Content-Length:", "length_malformed"),
        ("Content-Length: 99999999999999999999", "length_malformed"),
        ("Content-Length: 18446744073709551616", "length_malformed"),
    ];
    for (fields, code) in table {
        let bytes =
            format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
        check(bytes.as_bytes(), 400, code).await;
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    check(old, 400, "chunked_in_http10").await;
}

#[tokio::test(start_paused = true)]
async fn rule_2_heads_have_one_spelling() {
    let table: &[(&[u8], &str)] = &[
        (b"GET / HTTP/1.1\nHost: h\n\n", "bare_line_end"),
        (b"GET / HTTP/1.1\r\nHost: h\n\r\n", "bare_line_end"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\n", "bare_line_end"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\rc: d\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\tc\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA\0: b\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\x7f\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\x01\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA b: c\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA(b): c\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\n\r\n", "host_missing"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "host_repeated"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", "host_repeated"),
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "host_malformed"),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "host_malformed"),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "host_malformed"),
        (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "host_malformed"),
        (b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "host_mismatch"),
        (b"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", "host_mismatch"),
        (b"GET http:/// HTTP/1.1\r\nHost: \r\n\r\n", "bad_target"),
        (b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
        (b"GET /#f HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"),
        (b"GET /\xe9 HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"),
        (b"GET a HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"),
        (b"GET a HTTP/1.0\r\n\r\n", "bad_target"),
        (b"GET http://u@a/ HTTP/1.0\r\n\r\n", "bad_target"),
        (b"GET * HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"),
        (b"CONNECT /x HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"),
        (b"GET /  HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"),
        (b" GET / HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"),
        (b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"),
        (b"GET /\r\nHost: h\r\n\r\n", "bad_request_line"),
        (b"GET /\r\n\r\n", "bad_request_line"),
        (b"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"),
        (b"G\0T / HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"),
        (b"GET / HTTP/1.1\rHost: h\r\n\r\n", "bad_request_line"),
        (b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", "bad_request_line"),
        (b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"),
        (b"GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"),
        (b"GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA\xe9: b\r\n\r\n", "bad_header"),
        (b"GET / HTTP/1.10\r\nHost: h\r\n\r\n", "bad_request_line"),
        (b"GET / http/1.1\r\nHost: h\r\n\r\n", "bad_request_line"),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "bad_request_line"),
    ];
    for (bytes, code) in table {
        check(bytes, 400, code).await;
    }
}

#[tokio::test(start_paused = true)]
async fn other_refusals_have_their_own_status() {
    check(b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505, "bad_version").await;
    check(b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505, "bad_version").await;
    let http1 = |builder: ProxyBuilder| plain(builder).http2(None::<proxy_core::Http2>);
    check_with(http1, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "bad_version").await;
    check(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 405, "connect_method").await;
    // What it says behind it was for the tunnel.
    let tunnelled = format!("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n{GET}");
    check(tunnelled.as_bytes(), 405, "connect_method").await;
    for expectation in ["200-ok", "100-continue, x", "x100-continue", "", "100-continue\r\nExpect: x"] {
        let bytes = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: {expectation}\r\n\r\n");
        check(bytes.as_bytes(), 417, "expectation").await;
    }
}

#[tokio::test(start_paused = true)]
async fn rule_2_good_spellings_pass() {
    // A leading empty line is skipped, nothing else is changed.
    check_passes("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", GET).await;
    check_passes("GET / HTTP/1.1\r\nhOST:\th \r\nA:\r\n\r\n", "GET / HTTP/1.1\r\nhOST:\th \r\nA:\r\n\r\n").await;
    check_passes("GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n").await;
    check_passes("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").await;
    // An origin gets its own form of the target, and a Host that agrees.
    check_passes("GET http://H/a?b HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n").await;
    check_passes("GET http://h:81/a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.1\r\nHost: h:81\r\n\r\n").await;
    // An expectation of HTTP/1.0 is none, and is not made one.
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding: CHUNKED\r\n\r\n1\r\na\r\n0\r\n\r\n";
    let forwarded = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    check_passes(chunked, forwarded).await;
}

#[tokio::test(start_paused = true)]
async fn rule_3_chunks_have_one_spelling() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let table: &[(&str, &str)] = &[
        ("5\nhello\r\n0\r\n\r\n", "bad_chunk"),
        ("5\r\nhello\n0\r\n\r\n", "bad_chunk"),
        ("5\r\nhello\r\n0\n\r\n", "bad_chunk"),
        ("5\r\nhello0\r\n\r\n", "bad_chunk"),
        ("5\r\nhelloXX0\r\n\r\n", "bad_chunk"),
        ("5\rhello\r\n0\r\n\r\n", "bad_chunk"),
        (" 5\r\nhello\r\n0\r\n\r\n", "bad_chunk"),
        ("5 \r\nhello\r\n0\r\n\r\n", "bad_chunk"),
        ("+5\r\nhello\r\n0\r\n\r\n", "bad_chunk"),
        ("-5\r\nhello\r\n0\r\n\r\n", "bad_chunk"),
        ("0x5\r\nhello\r\n0\r\n\r\n", "bad_chunk"),
        ("g\r\nhello\r\n0\r\n\r\n", "bad_chunk"),
        ("\r\nhello\r\n0\r\n\r\n", "bad_chunk"),
        (";a=b\r\nhello\r\n0\r\n\r\n", "bad_chunk"),
        ("5;a\nb\r\nhello\r\n0\r\n\r\n", "bad_chunk"),
        ("5;a\0\r\nhello\r\n0\r\n\r\n", "bad_chunk"),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", "bad_chunk"),
        ("0000000000000000005\r\nhello\r\n0\r\n\r\n", "bad_chunk"),
        ("0\r\nA: b\n\r\n", "bad_trailer"),
        ("0\r\nA: b\n\n", "bad_trailer"),
        ("0\r\nA : b\r\n\r\n", "bad_trailer"),
        ("0\r\n A: b\r\n\r\n", "bad_trailer"),
        ("0\r\nA: b\r\n c\r\n\r\n", "bad_trailer"),
        ("0\r\nA: b\0\r\n\r\n", "bad_trailer"),
        ("0\r\nno colon\r\n\r\n", "bad_trailer"),
        ("0\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", "bad_trailer"),
    ];
    for (body, code) in table {
        check_body(&format!("{head}{body}"), 400, code).await;
    }
    check_body(&format!("{head}5;{}\r\n", "x".repeat(5000)), 400, "bad_chunk").await;
    check_body(&format!("{head}0\r\nA: {}\r\n\r\n", "x".repeat(9000)), 400, "bad_trailer").await;
    check_body(&format!("{head}0\r\n{}\r\n", "A: b\r\n".repeat(40)), 400, "bad_trailer").await;
}

#[tokio::test(start_paused = true)]
async fn rule_3_chunks_are_encoded_anew() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let stage = Stage::new(Script::ok());
    let body = "005;ext=\"x\"\r\nhello\r\n0;y\r\nHost: evil\r\nContent-Length: 9\r\nX-Sum: 7\r\n\r\n";
    let mut client = stage.connect_and_send(format!("{head}{body}")).await;
    assert_eq!(client.read_response().await.status(), 200);
    let received = stage.origin().received(0);
    let (_, forwarded) = received.split_once("\r\n\r\n").expect("a head");
    assert_eq!(forwarded, "5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn rule_4_fields_for_one_connection_stay_on_it() {
    let check = async |fields: &str, forwarded: &str| {
        let bytes = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let stage = Stage::with(ScriptedConnector::always(Script::ok()), plain);
        let mut client = stage.connect_and_send(&bytes).await;
        assert_eq!(client.read_response().await.status(), 200, "{fields:?}");
        assert_eq!(stage.origin().received(0), format!("GET / HTTP/1.1\r\nHost: h\r\n{forwarded}\r\n"), "{fields:?}");
    };
    check("Connection: keep-alive\r\nKeep-Alive: 5\r\n", "").await;
    check("Connection: X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n", "X-End: 2\r\n").await;
    check("X-Hop: 1\r\nX-End: 2\r\nConnection: x, x-hop ,\r\nConnection: Y\r\nY: 3\r\n", "X-End: 2\r\n").await;
    check("Connection: Host, Cookie, Authorization\r\nCookie: a=b\r\n", "Cookie: a=b\r\n").await;
    check("TE: gzip, trailers\r\nConnection: TE\r\n", "TE: trailers\r\n").await;
    check("Proxy-Connection: close\r\nProxy-Authorization: x\r\n", "").await;
    check("Upgrade: websocket\r\n", "").await;
    // Cleartext HTTP/2 would carry requests past every filter.
    check("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n", "").await;
    check("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", "").await;
}

#[tokio::test(start_paused = true)]
async fn rule_4_holds_for_responses() {
    let check = async |fields: &str, relayed: &str| {
        let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
        let stage = Stage::new(Script::new().read_request().answer(head(fields)));
        let mut client = stage.connect_and_send(GET).await;
        assert_eq!(client.read_response().await.head(), head(relayed), "{fields:?}");
    };
    check("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", "").await;
    check("X-Hop: 1\r\nConnection: close, x-hop\r\nX-End: 2\r\n", "X-End: 2\r\n").await;
    check("Proxy-Connection: close\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n", "").await;
    check("Connection: Set-Cookie, Content-Length\r\nSet-Cookie: a=b\r\n", "Set-Cookie: a=b\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn rule_4_what_frames_a_body_cannot_be_nominated_away() {
    let all = |builder: ProxyBuilder| builder.forwarding(Forwarding::default().x_forwarded_host(true));
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), all);
    let request = "POST / HTTP/1.1\r\nHost: h\r\nConnection: Content-Length, X-Forwarded-For, X-Forwarded-Host, Host, Via\r\n\
                   Content-Length: 2\r\n\r\nhi";
    let mut client = stage.connect_and_send(request).await;
    assert_eq!(client.read_response().await.status(), 200);
    let received = stage.origin().received(0);
    for line in [
        "\r\nHost: h\r\n",
        "Content-Length: 2\r\n",
        "X-Forwarded-For: 192.0.2.1\r\n",
        "X-Forwarded-Host: h\r\n",
        "Via: 1.1 ",
    ] {
        assert_eq!(received.matches(line).count(), 1, "{line:?} in {received:?}");
    }
    assert!(received.ends_with("\r\n\r\nhi"));
}

#[tokio::test(start_paused = true)]
async fn rule_5_only_trusted_peers_are_believed() {
    let check = async |forwarding: Forwarding, forwarded_for: &str, host: &str| {
        let origin = ScriptedConnector::always(Script::ok());
        let stage = Stage::with(origin, |builder| builder.forwarding(forwarding));
        let claims = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Host: evil\r\nForwarded: for=203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\n";
        let mut client = stage.connect_and_send(format!("GET / HTTP/1.1\r\nHost: h\r\n{claims}\r\n")).await;
        assert_eq!(client.read_response().await.status(), 200);
        let received = stage.origin().received(0);
        let value =
            |name: &str| received.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).map(str::to_owned);
        assert_eq!(value("X-Forwarded-For:").as_deref(), Some(forwarded_for));
        assert_eq!(value("X-Forwarded-Host:").as_deref(), Some(host));
        assert_eq!(received.matches("X-Forwarded-For").count(), 1);
        received
    };
    let ours = Forwarding::default().x_forwarded_host(true);
    let received = check(ours.clone(), "192.0.2.1", "h").await;
    assert!(!received.contains("203.0.113.9"), "{received}");
    let trusting = ours.trust(["192.0.2.0/24".parse().expect("a range")]);
    check(trusting, "203.0.113.9, 192.0.2.1", "evil").await;
}

/// Other names for the same claims, and spellings that CGI and its heirs take for them.
#[tokio::test(start_paused = true)]
async fn rule_5_claims_go_whatever_their_name() {
    let check = async |trusted: &str, fields: &str, forwarded: &str| {
        let forwarding = Forwarding::none().trust([trusted.parse().expect("a range")]);
        let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.forwarding(forwarding));
        let mut client = stage.connect_and_send(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).await;
        assert_eq!(client.read_response().await.status(), 200, "{fields:?}");
        assert_eq!(stage.origin().received(0), format!("GET / HTTP/1.1\r\nHost: h\r\n{forwarded}\r\n"), "{fields:?}");
    };
    let (peer, another) = ("192.0.2.0/24", "198.51.100.0/24");
    for name in ["Prefix", "Server", "Ssl", "Port", "Scheme", "Client-Cert", "User"] {
        let field = format!("X-Forwarded-{name}: 1\r\n");
        check(another, &field, "").await;
        check(peer, &field, &field).await;
    }
    let spelled = ["X_Forwarded_For", "x-forwarded_proto", "X_Real_IP", "X_Forwarded_Prefix"];
    for name in spelled.into_iter().chain(["Content_Length", "Transfer_Encoding", "Proxy_Authorization"]) {
        for trusted in [peer, another] {
            check(trusted, &format!("{name}: 1\r\nA_b: 2\r\n"), "A_b: 2\r\n").await;
        }
    }
}

/// Without a length there is no body, whatever the method and the version: what follows is a request.
#[tokio::test(start_paused = true)]
async fn rule_7_a_request_never_ends_with_the_connection() {
    for head in ["POST / HTTP/1.1\r\nHost: h\r\n\r\n", "POST / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"] {
        let stage = Stage::with(ScriptedConnector::always(Script::ok()), plain);
        let mut client = stage.connect_and_send(format!("{head}body\r\n\r\n")).await;
        assert_eq!(client.read_response().await.status(), 200, "{head:?}");
        assert_eq!(client.read_response().await.status(), 400, "{head:?}");
        assert!(client.is_closed().await);
        assert_eq!(stage.origin().received_in_all(), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    }
}

/// The end of the client's side is not the end of its request.
#[tokio::test(start_paused = true)]
async fn rule_7_a_body_that_breaks_off_is_no_request() {
    for (framing, part) in [("Content-Length: 9", "part"), ("Transfer-Encoding: chunked", "4\r\npart\r\n")] {
        for half_close in [false, true] {
            let origin = ScriptedConnector::always(Script::ok());
            let (stage, log) = (Stage::with(origin, |builder| builder.half_close(half_close)), Log::start());
            let request = format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n{part}");
            let mut client = stage.connect_and_send(request).await;
            client.half_close().await;
            let response = client.read_response().await;
            assert_eq!((response.status(), stage.code().await), (400, "body_aborted"), "{framing}");
            assert_eq!(log.codes(), ["body_aborted"], "{framing}");
            assert!(client.is_closed().await);
            assert!(!stage.origin().received_in_all().ends_with("0\r\n\r\n"), "{framing}: the origin got an end");
        }
    }
}

/// A client that leaves within a response leaves the rest of it on the upstream's connection.
#[tokio::test(start_paused = true)]
async fn rule_7_a_half_read_connection_is_never_used_again() {
    for framing in ["Content-Length: 4\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"] {
        let half = Script::new().read_request().answer(format!("HTTP/1.1 200 OK\r\n{framing}"));
        let rest = half.wait(Duration::from_secs(1)).answer("2\r\ncd\r\n0\r\n\r\n").read_request().answer(ok("stray"));
        let stage = Stage::over(ScriptedConnector::in_turn([rest, Script::ok()]));
        let mut client = stage.connect_and_send(GET).await;
        client.read_head().await;
        client.leave().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut other = stage.connect_and_send(GET).await;
        assert_eq!(other.read_response().await.text(), "ok", "{framing:?}");
        assert_eq!(stage.origin().connections(), 2, "{framing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_10_sizes_have_limits_by_default() {
    let x = |count| "x".repeat(count);
    let table = [
        (format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", x(32 * 1024)), 431, "head_too_large"),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(100)), 431, "too_many_headers"),
        (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", x(8 * 1024)), 414, "target_too_long"),
    ];
    for (bytes, status, code) in table {
        check(bytes.as_bytes(), status, code).await;
    }
    let stage = Stage::new(Script::ok());
    let edges = [
        format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", x(32 * 1024 - 32)),
        format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(99)),
        format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", x(8 * 1024 - 1)),
    ];
    let mut client = stage.connect();
    for request in edges {
        client.send(&request).await;
        assert_eq!(client.read_response().await.status(), 200, "{} bytes", request.len());
    }
}

#[tokio::test(start_paused = true)]
async fn rule_10_sizes_have_limits() {
    fn small(builder: ProxyBuilder) -> ProxyBuilder {
        let limits = Limits {
            max_head_bytes: 400,
            max_headers: 4,
            max_target_bytes: 100,
            max_body_bytes: Some(10),
            ..Limits::default()
        };
        plain(builder.limits(limits))
    }
    let x = |count| "x".repeat(count);
    let table = [
        (format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", x(400)), 431, "head_too_large"),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}", x(400)), 431, "head_too_large"),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(4)), 431, "too_many_headers"),
        (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", x(100)), 414, "target_too_long"),
        (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", x(1000)), 414, "target_too_long"),
        (format!("GET /{}", x(1000)), 414, "target_too_long"),
        (format!("{} / HTTP/1.1\r\nHost: h\r\n\r\n", x(100)), 400, "bad_request_line"),
        (post(&x(11)), 413, "body_too_large"),
    ];
    for (bytes, status, code) in table {
        check_with(small, bytes.as_bytes(), status, code).await;
    }
    // The edges themselves pass.
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), small);
    let edges = [
        format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(3)),
        format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", x(99)),
        post(&x(10)),
    ];
    let mut client = stage.connect();
    for request in edges {
        client.send(&request).await;
        assert_eq!(client.read_response().await.status(), 200, "{request:?}");
    }
}

/// The length is known only as the body comes.
#[tokio::test(start_paused = true)]
async fn rule_10_a_chunked_body_has_a_limit() {
    let limits = Limits { max_body_bytes: Some(10), ..Limits::default() };
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.limits(limits));
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = stage.connect_and_send(format!("{head}6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n")).await;
    assert_eq!(client.read_response().await.status(), 413);
    assert_eq!(stage.code().await, "body_too_large");
    assert!(client.is_closed().await);
}

/// A client that is still sending must be able to read why it should not.
#[tokio::test(start_paused = true)]
async fn a_body_refused_by_its_length_does_not_reset_the_answer() {
    let limits = Limits { max_body_bytes: Some(10), ..Limits::default() };
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.limits(limits));
    let mut client = stage.connect_and_send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n").await;
    assert_eq!(client.read_response().await.status(), 413);
    client.send(vec![b'x'; 100_000]).await;
    assert!(client.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order() {
    let slow_first = Script::new()
        .read_request()
        .wait(Duration::from_secs(1))
        .answer(ok("first"))
        .read_request()
        .answer(ok("second"))
        .read_request()
        .answer(ok("third"));
    let stage = Stage::new(slow_first);
    let mut client = stage.connect_and_send(format!("{GET}{}{GET}", post("body"))).await;
    for body in ["first", "second", "third"] {
        assert_eq!(client.read_response().await.text(), body);
    }
    assert_eq!(stage.origin().connections(), 1);
    assert_eq!(stage.recorder().wait_for(3).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn garbage_behind_a_request_is_refused_after_its_answer() {
    for (garbage, code) in [
        ("garbage\r\n\r\n", "bad_request_line"),
        ("\0\0\0", "bad_request_line"),
        ("GET / HTTP/1.1\n\n", "bare_line_end"),
    ] {
        let stage = Stage::new(Script::ok());
        let mut client = stage.connect_and_send(format!("{}{garbage}", post("hi"))).await;
        assert_eq!(client.read_response().await.status(), 200, "{garbage:?}");
        assert_eq!(client.read_response().await.status(), 400, "{garbage:?}");
        assert!(client.is_closed().await);
        let outcomes = stage.recorder().wait_for(2).await;
        assert_eq!(outcomes[1].error.map(proxy_core::ErrorKind::code), Some(code));
        assert!(stage.origin().received_in_all().ends_with("\r\n\r\nhi"));
    }
}

/// A response that breaks a rule: 502, and its connection is closed.
async fn check_response(bytes: &[u8], code: &str) {
    let origin =
        ScriptedConnector::in_turn([Script::new().read_request().answer(bytes.to_vec()).half_close(), Script::ok()]);
    let (stage, log) = (Stage::over(origin), Log::start());
    let mut client = stage.connect_and_send(post("x")).await;
    let mut response = client.read_response().await;
    while response.status() < 200 {
        response = client.read_response().await;
    }
    let row = bytes.escape_ascii();
    assert_eq!((response.status(), stage.code().await), (502, code), "{row}");
    assert_eq!(log.codes(), [code], "{row}");
    client.send(GET).await;
    assert_eq!(client.read_response().await.text(), "ok", "{row}");
    assert_eq!(stage.origin().connections(), 2, "{row}: its connection was used again");
}

#[tokio::test(start_paused = true)]
async fn rule_12_bad_response_heads_are_502() {
    let table: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"<html>hello</html>\r\n\r\n",
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
    ];
    for bytes in table {
        check_response(bytes, "bad_response").await;
    }
    let large = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(40_000));
    check_response(large.as_bytes(), "bad_response").await;
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(200));
    check_response(many.as_bytes(), "bad_response").await;
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(100);
    check_response(interim.as_bytes(), "bad_response").await;
    check_response(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "unexpected_upgrade",
    )
    .await;
}

/// The head has left by then, so the connection is all that can say it.
#[tokio::test(start_paused = true)]
async fn rule_12_bad_response_bodies_break_the_response_off() {
    let table = [
        ("Transfer-Encoding: chunked", "5\nhello\r\n0\r\n\r\n", "bad_response_body"),
        ("Transfer-Encoding: chunked", "5\r\nhelloXX0\r\n\r\n", "bad_response_body"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nA : b\r\n\r\n", "bad_response_body"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n", "upstream_gone"),
        ("Content-Length: 10", "hello", "upstream_gone"),
    ];
    for (framing, body, code) in table {
        let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
        let script = Script::new().read_request().answer(head).wait(Duration::from_secs(1)).answer(body).half_close();
        let stage = Stage::over(ScriptedConnector::in_turn([script, Script::ok()]));
        let mut client = stage.connect_and_send(GET).await;
        assert!(client.try_read_response().await.is_none(), "{body:?}");
        assert_eq!(stage.code().await, code, "{body:?}");
        assert!(client.is_closed().await);
        let mut other = stage.connect_and_send(GET).await;
        assert_eq!(other.read_response().await.text(), "ok");
        assert_eq!(stage.origin().connections(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_12_bytes_behind_a_response_are_never_relayed() {
    let origin = ScriptedConnector::in_turn([
        Script::new().read_request().answer(ok("one") + &ok("stray")),
        Script::new().read_request().answer(ok("two")).wait(Duration::from_secs(1)).answer(ok("late")),
        Script::ok(),
    ]);
    let stage = Stage::over(origin);
    let mut client = stage.connect();
    for body in ["one", "two"] {
        client.send(GET).await;
        assert_eq!(client.read_response().await.text(), body);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    client.send(GET).await;
    assert_eq!(client.read_response().await.text(), "ok");
    assert_eq!(stage.origin().connections(), 3);
}
