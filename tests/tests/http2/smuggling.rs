//! From HTTP/2 to HTTP/1 (RFC 9113 §10.3): what a client may try, judged by the bytes that reach an origin.

use proxy_core::testing::{Script, ScriptedConnector};
use tests::{Frame, Frames, Stage, fields};

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const HOST: (&str, &str) = (":authority", "h");
const PATH: (&str, &str) = (":path", "/");

/// What a try came to.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// Reset, or answered with an error: nothing reached the origin.
    Refused,
    /// One request with this line.
    Line(&'static str),
}

use Came::{Line, Refused};

/// What the origin reads of a request with these fields, and this body.
async fn origin_sees(head: &[(&str, &str)], body: Option<&[u8]>) -> String {
    let stage = Stage::over(ScriptedConnector::always(Script::ok()));
    let mut client = Frames::open(stage.connect().into_stream().0).await;
    client.send(&Frame::headers(1, body.is_none(), &fields(head.iter().copied()))).await;
    if let Some(body) = body {
        client.send(&Frame::data(1, true, body)).await;
    }
    loop {
        // An answer, a reset or the end: the request is over.
        match client.next().await {
            Some(frame) if frame.flags & 1 != 0 && matches!(frame.kind, 0 | 1) => break,
            Some(frame) if matches!(frame.kind, 3 | 7) => break,
            None => break,
            Some(_) => {}
        }
    }
    stage.origin().received_in_all()
}

async fn check(head: &[(&str, &str)], body: Option<&[u8]>, came: Came) {
    let seen = origin_sees(head, body).await;
    match came {
        Refused => assert!(!seen.contains("\r\n\r\n"), "{head:?}: a whole head reached the origin: {seen:?}"),
        Line(line) => {
            assert!(seen.starts_with(line), "{head:?}: {seen:?}");
            assert_eq!(seen.matches(" HTTP/1.1\r\n").count(), 1, "{head:?}: {seen:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn line_ends_and_nul_in_names_and_values() {
    for bad in ["a\r\nb: c", "a\nb", "a\rb", "a\0b", " a", "a\t", "a ", "\u{7f}"] {
        check(&[METHOD, SCHEME, HOST, PATH, ("x", bad)], None, Refused).await;
        check(&[METHOD, SCHEME, HOST, PATH, ("cookie", bad)], None, Refused).await;
        check(&[METHOD, SCHEME, HOST, PATH, ("cookie", "a=b"), ("cookie", bad)], None, Refused).await;
    }
    for bad in ["a\r\nb", "a b", "a:", "a: b", ":a", "", "A", "a\0", "X-Upper", "a\u{e9}", "transfer-encoding "] {
        check(&[METHOD, SCHEME, HOST, PATH, (bad, "1")], None, Refused).await;
    }
}

#[tokio::test(start_paused = true)]
async fn lengths_and_codings() {
    let post = (":method", "POST");
    let check = async |more: &[(&str, &str)], body, came| {
        check(&[&[post, SCHEME, HOST, PATH], more].concat(), body, came).await;
    };
    check(&[("content-length", "0")], Some(b"GET /evil HTTP/1.1\r\n\r\n"), Refused).await;
    check(&[("content-length", "5"), ("content-length", "5")], Some(b"hello"), Refused).await;
    check(&[("content-length", "5"), ("content-length", "6")], Some(b"hello"), Refused).await;
    check(&[("content-length", "5, 5")], Some(b"hello"), Refused).await;
    check(&[("content-length", "+5")], Some(b"hello"), Refused).await;
    check(&[("content-length", "0x5")], Some(b"hello"), Refused).await;
    check(&[("content-length", "")], Some(b"hello"), Refused).await;
    check(&[("content-length", "99999999999999999999")], Some(b"hello"), Refused).await;
    check(&[("content-length", "5")], None, Refused).await;
    check(&[("transfer-encoding", "chunked")], Some(b"0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"), Refused).await;
    check(&[("transfer-encoding", "identity"), ("content-length", "5")], Some(b"hello"), Refused).await;
    check(&[("content_length", "9")], Some(b"hello"), Line("POST / HTTP/1.1\r\n")).await;
    check(&[("content-length", "5")], Some(b"hello"), Line("POST / HTTP/1.1\r\n")).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_never_becomes_a_request() {
    let head = [(":method", "POST"), SCHEME, HOST, PATH];
    let seen = origin_sees(&head, Some(b"0\r\n\r\nGET /evil HTTP/1.1\r\nhost: h\r\n\r\n")).await;
    assert!(
        seen.contains("Transfer-Encoding: chunked\r\n\r\n24\r\n0\r\n\r\nGET /evil") && seen.ends_with("\r\n0\r\n\r\n"),
        "{seen:?}"
    );
    let underscored =
        [(":method", "POST"), SCHEME, HOST, PATH, ("transfer_encoding", "chunked"), ("content_length", "1")];
    let seen = origin_sees(&underscored, Some(b"hello")).await;
    assert!(!seen.contains('_'), "an origin may take it for the other: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn fields_of_connections() {
    for name in ["connection", "keep-alive", "proxy-connection", "upgrade", "transfer-encoding"] {
        check(&[METHOD, SCHEME, HOST, PATH, (name, "x")], None, Refused).await;
    }
    check(&[METHOD, SCHEME, HOST, PATH, ("te", "gzip")], None, Refused).await;
    check(&[METHOD, SCHEME, HOST, PATH, ("te", "trailers, chunked")], None, Refused).await;
    check(&[METHOD, SCHEME, HOST, PATH, ("te", "trailers")], None, Line("GET / HTTP/1.1\r\nhost: h\r\n")).await;
}

#[tokio::test(start_paused = true)]
async fn pseudo_headers() {
    let check = async |head: &[(&str, &str)], came| check(head, None, came).await;
    check(&[SCHEME, HOST, PATH], Refused).await;
    check(&[METHOD, HOST, PATH], Refused).await;
    check(&[METHOD, SCHEME, HOST], Refused).await;
    check(&[METHOD, METHOD, SCHEME, HOST, PATH], Refused).await;
    check(&[METHOD, SCHEME, HOST, PATH, PATH], Refused).await;
    check(&[METHOD, SCHEME, HOST, HOST, PATH], Refused).await;
    check(&[METHOD, SCHEME, HOST, PATH, (":status", "200")], Refused).await;
    check(&[METHOD, SCHEME, HOST, PATH, (":protocol", "websocket")], Refused).await;
    check(&[METHOD, SCHEME, HOST, PATH, (":unknown", "x")], Refused).await;
    check(&[METHOD, SCHEME, HOST, ("accept", "*/*"), PATH], Refused).await;
    check(&[("accept", "*/*"), METHOD, SCHEME, HOST, PATH], Refused).await;
    check(&[(":method", "GET /evil HTTP/1.1\r\nx:"), SCHEME, HOST, PATH], Refused).await;
    check(&[(":method", "GE T"), SCHEME, HOST, PATH], Refused).await;
    check(&[(":method", ""), SCHEME, HOST, PATH], Refused).await;
    check(&[METHOD, (":scheme", "http://evil/?"), HOST, PATH], Refused).await;
    check(&[METHOD, (":scheme", "ftp"), HOST, PATH], Refused).await;
    check(&[METHOD, (":scheme", "https"), HOST, PATH], Line("GET / HTTP/1.1\r\nhost: h\r\n")).await;
}

#[tokio::test(start_paused = true)]
async fn paths() {
    let check = async |path, came| check(&[METHOD, SCHEME, HOST, (":path", path)], None, came).await;
    for bad in
        ["", "evil", "http://evil/", "h:80/", "*", "/a b", "/a\tb", "/a\r\nx: y", "/\u{e9}", "/\0", "@evil/", "?x"]
    {
        check(bad, Refused).await;
    }
    check("/ HTTP/1.1\r\nhost: evil\r\n\r\nGET /", Refused).await;
    check("/a?b=c%0d%0a", Line("GET /a?b=c%0d%0a HTTP/1.1\r\n")).await;
    check("//evil/", Line("GET //evil/ HTTP/1.1\r\n")).await;
    // The codec cuts fragments off.
    check("/a#b", Line("GET /a HTTP/1.1\r\n")).await;
}

#[tokio::test(start_paused = true)]
async fn hosts() {
    let check = async |head: &[(&str, &str)], came| check(&[&[METHOD, SCHEME, PATH], head].concat(), None, came).await;
    check(&[], Refused).await;
    check(&[("host", "h")], Line("GET / HTTP/1.1\r\nhost: h\r\n")).await;
    check(&[("host", "h"), ("host", "h")], Refused).await;
    let both = |authority, host| [METHOD, SCHEME, (":authority", authority), PATH, ("host", host)];
    for (authority, host, came) in [
        ("h", "h", Line("GET / HTTP/1.1\r\nhost: h\r\n")),
        ("h", "H", Line("GET / HTTP/1.1\r\nhost: h\r\n")),
        ("h", "evil", Refused),
        ("h", "h:80", Refused),
        ("h", "", Refused),
    ] {
        super::smuggling::check(&both(authority, host), None, came).await;
    }
    for bad in ["", "u@h", "h/evil", "h evil", "h:x", "h\r\nx: y", "h:80:80", "h,evil?"] {
        let head = [METHOD, SCHEME, (":authority", bad), PATH];
        super::smuggling::check(&head, None, Refused).await;
    }
}
