//! The cases of h2spec's list, frame by frame: what a server makes of clients that break a rule, or come close to it.
//!
//! Each row names the section of RFC 9113 (or of RFC 7541, for HPACK) that it is about. As there, an error of a stream may be
//! answered by one of the whole connection.

use proxy_core::testing::Script;
use tests::{Frame, Frames, Stage, fields, ok};

use super::S;

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED: u32 = 7;
const COMPRESSION: u32 = 9;

// The codec says PROTOCOL_ERROR of frames that it cannot read, whatever RFC 9113 has a code of its own for.
const SIZE: &[u32] = &[FRAME_SIZE, PROTOCOL];
const FLOW: &[u32] = &[FLOW_CONTROL, PROTOCOL];
const FIELDS: &[u32] = &[COMPRESSION, PROTOCOL];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITISED: u8 = 0x20;

/// What the server has to say.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// A response, on stream 1.
    Answer,
    /// That the stream, or the connection, ends with one of these codes.
    Reset(&'static [u32]),
    /// That the connection does.
    Goodbye(&'static [u32]),
}

use Says::{Answer, Goodbye, Reset};

fn get() -> [(&'static str, &'static str); 4] {
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "h")]
}

fn block() -> Vec<u8> {
    fields(get())
}

/// A whole request.
fn request(stream: u32) -> Frame {
    Frame::headers(stream, true, &block())
}

/// The head of one with a body.
fn post(stream: u32) -> Frame {
    let head = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "h")];
    Frame::headers(stream, false, &fields(head))
}

/// A request with these fields instead.
fn with(head: &[(&'static str, &'static str)]) -> Vec<Frame> {
    vec![Frame::headers(1, true, &fields(head.iter().copied()))]
}

/// A request with this field beside those that it has to have.
fn and(name: &'static str, value: &'static str) -> Vec<Frame> {
    with(&[&get()[..], &[(name, value)]].concat())
}

fn setting(id: u16, value: u32) -> Frame {
    Frame::new(SETTINGS, 0, 0, [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn window(stream: u32, more: u32) -> Frame {
    Frame::new(WINDOW, 0, stream, more.to_be_bytes())
}

fn raw(block: &[u8]) -> Vec<Frame> {
    vec![Frame::headers(1, true, &[&self::block()[..], block].concat())]
}

async fn heard(frames: &[Frame], says: Says) -> Result<(), String> {
    let stage = Stage::new(Script::new().read_request().wait(S).answer(ok("ok")).repeat());
    let mut client = Frames::open(stage.connect().into_stream().0).await;
    for frame in frames {
        client.send(frame).await;
    }
    loop {
        let Some(frame) = client.next().await else { return Err("the connection ends without a word".to_owned()) };
        let code = matches!(frame.kind, RESET | GOAWAY).then(|| frame.code());
        match (says, frame.kind, code) {
            (Answer, HEADERS, _) if frame.stream == 1 => return Ok(()),
            (Reset(codes), RESET | GOAWAY, Some(code)) if codes.contains(&code) => return Ok(()),
            (Goodbye(codes), GOAWAY, Some(code)) if codes.contains(&code) => return Ok(()),
            (_, _, Some(code)) => return Err(format!("code {code} in a frame of type {}", frame.kind)),
            _ => {}
        }
    }
}

async fn check(rows: Vec<(&str, Vec<Frame>, Says)>) {
    let mut wrong = Vec::new();
    for (name, frames, says) in rows {
        if let Err(error) = heard(&frames, says).await {
            wrong.push(format!("{name}: {says:?}, but {error}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn frames() {
    let open = |kind, flags, payload: Vec<u8>| vec![post(1), Frame::new(kind, flags, 1, payload)];
    check(vec![
        ("4.1 an unknown type is ignored", vec![Frame::new(0xff, 0, 0, [0; 8]), request(1)], Answer),
        ("4.1 unknown flags are ignored", vec![Frame::new(PING, 0xfe & !1, 0, [0; 8]), request(1)], Answer),
        ("4.1 the reserved bit is ignored", vec![Frame::new(HEADERS, 5, 1 << 31 | 1, block())], Answer),
        ("4.2 data of the largest size", vec![post(1), Frame::data(1, true, &[7; 16_384])], Answer),
        ("4.2 larger data", vec![post(1), Frame::data(1, true, &[7; 16_385])], Reset(SIZE)),
        ("4.2 larger heads", vec![Frame::headers(1, true, &[0; 16_385])], Goodbye(SIZE)),
        ("4.3 a block that is none", vec![Frame::headers(1, true, &[0xff; 3])], Goodbye(FIELDS)),
        (
            "5.5 an unknown type within a block",
            vec![
                Frame::new(HEADERS, END_STREAM, 1, block()),
                Frame::new(0xff, 0, 0, [0; 8]),
                Frame::new(CONTINUATION, END_HEADERS, 1, []),
            ],
            Goodbye(&[PROTOCOL]),
        ),
        ("6.1 data of the connection", vec![Frame::data(0, true, b"x")], Goodbye(&[PROTOCOL])),
        ("6.1 more padding than data", open(DATA, PADDED | END_STREAM, vec![9, 1, 2]), Goodbye(&[PROTOCOL])),
        ("6.2 a head of the connection", vec![request(0)], Goodbye(&[PROTOCOL])),
        ("6.2 more padding than head", vec![Frame::new(HEADERS, PADDED | 5, 1, [200, 0x82])], Goodbye(&[PROTOCOL])),
        (
            "6.2 another stream's head within a block",
            vec![Frame::new(HEADERS, END_STREAM, 1, block()), request(3)],
            Goodbye(&[PROTOCOL]),
        ),
        (
            "6.2 a priority within a block",
            vec![Frame::new(HEADERS, END_STREAM, 1, block()), Frame::new(PRIORITY, 0, 1, [0, 0, 0, 0, 1])],
            Goodbye(&[PROTOCOL]),
        ),
        (
            "6.2 padding and priority",
            vec![Frame::new(HEADERS, PADDED | PRIORITISED | 5, 1, [&[1, 0, 0, 0, 0, 9][..], &block(), &[0]].concat())],
            Answer,
        ),
        ("6.3 a priority of the connection", vec![Frame::new(PRIORITY, 0, 0, [0; 5])], Goodbye(&[PROTOCOL])),
        ("6.3 a short priority", vec![Frame::new(PRIORITY, 0, 1, [0; 4])], Reset(SIZE)),
        ("6.4 a reset of the connection", vec![Frame::reset(0)], Goodbye(&[PROTOCOL])),
        ("6.4 a short reset", open(RESET, 0, vec![0; 3]), Goodbye(SIZE)),
        ("6.5 an acknowledgement with settings", vec![Frame::new(SETTINGS, 1, 0, [0; 6])], Goodbye(SIZE)),
        ("6.5 settings of a stream", vec![Frame::new(SETTINGS, 0, 1, [])], Goodbye(&[PROTOCOL])),
        ("6.5 settings cut short", vec![Frame::new(SETTINGS, 0, 0, [0; 5])], Goodbye(SIZE)),
        ("6.5.2 push neither on nor off", vec![setting(2, 2)], Goodbye(&[PROTOCOL])),
        ("6.5.2 a window beyond the largest", vec![setting(4, 1 << 31)], Goodbye(FLOW)),
        ("6.5.2 frames below the smallest", vec![setting(5, 16_383)], Goodbye(&[PROTOCOL])),
        ("6.5.2 frames beyond the largest", vec![setting(5, 1 << 24)], Goodbye(&[PROTOCOL])),
        ("6.5.2 an unknown setting", vec![setting(0xff, 1), request(1)], Answer),
        ("6.7 a ping of a stream", vec![Frame::new(PING, 0, 1, [0; 8])], Goodbye(&[PROTOCOL])),
        ("6.7 a short ping", vec![Frame::new(PING, 0, 0, [0; 6])], Goodbye(SIZE)),
        ("6.7 an answer to no ping", vec![Frame::new(PING, 1, 0, [9; 8]), request(1)], Answer),
        ("6.8 a goodbye of a stream", vec![Frame::new(GOAWAY, 0, 1, [0; 8])], Goodbye(&[PROTOCOL])),
        ("6.9 a window that grows by nothing", vec![window(0, 0)], Goodbye(&[PROTOCOL])),
        ("6.9 a stream's", vec![post(1), window(1, 0)], Reset(&[PROTOCOL])),
        ("6.9 a short update", vec![Frame::new(WINDOW, 0, 0, [0; 3])], Goodbye(SIZE)),
        (
            "6.9.1 the connection's beyond the largest",
            vec![window(0, (1 << 31) - 1), window(0, (1 << 31) - 1)],
            Goodbye(FLOW),
        ),
        ("6.9.1 a stream's", vec![post(1), window(1, (1 << 31) - 1), window(1, (1 << 31) - 1)], Reset(FLOW)),
        (
            "8.4 a promise",
            vec![Frame::new(PUSH, END_HEADERS, 1, [&[0, 0, 0, 2][..], &block()].concat())],
            Goodbye(&[PROTOCOL]),
        ),
        (
            "7 a reset for an unknown reason",
            vec![post(3), Frame::new(RESET, 0, 3, [0, 0, 0, 0xff]), request(5)],
            Goodbye(&[0]),
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn streams() {
    let closed = [STREAM_CLOSED, PROTOCOL];
    let closed: &'static [u32] = Box::leak(Box::new(closed));
    let within = |frame: Frame| vec![request(1), frame];
    let reset = |frame: Frame| vec![post(1), Frame::reset(1), frame];
    check(vec![
        ("5.1 data before a head", vec![Frame::data(1, true, b"x")], Goodbye(&[PROTOCOL])),
        ("5.1 a reset before a head", vec![Frame::reset(1)], Goodbye(&[PROTOCOL])),
        ("5.1 a window before a head", vec![window(1, 100)], Goodbye(&[PROTOCOL])),
        (
            "5.1 a continuation of nothing",
            vec![Frame::new(CONTINUATION, END_HEADERS, 1, block())],
            Goodbye(&[PROTOCOL]),
        ),
        ("5.1 data behind the end", within(Frame::data(1, true, b"x")), Reset(closed)),
        ("5.1 a head behind the end", within(request(1)), Reset(closed)),
        (
            "5.1 a continuation behind the end",
            within(Frame::new(CONTINUATION, END_HEADERS, 1, block())),
            Goodbye(closed),
        ),
        ("5.1 data behind a reset", reset(Frame::data(1, true, b"x")), Reset(closed)),
        ("5.1 a head behind a reset", reset(request(1)), Reset(closed)),
        (
            "5.1 a continuation behind a reset",
            reset(Frame::new(CONTINUATION, END_HEADERS, 1, block())),
            Goodbye(closed),
        ),
        ("5.1.1 an even number", vec![request(2)], Goodbye(&[PROTOCOL])),
        ("5.1.1 a number below the last", vec![request(5), request(3)], Goodbye(closed)),
        (
            "5.1.2 more streams than there may be",
            (0..200).map(|number| request(2 * number + 1)).collect(),
            Reset(&[REFUSED, PROTOCOL]),
        ),
        (
            "6.10 continuations",
            vec![
                Frame::new(HEADERS, END_STREAM, 1, &block()[..5]),
                Frame::new(CONTINUATION, 0, 1, &block()[5..10]),
                Frame::new(CONTINUATION, END_HEADERS, 1, &block()[10..]),
            ],
            Answer,
        ),
        (
            "6.10 something else behind one",
            vec![
                Frame::new(HEADERS, END_STREAM, 1, &block()[..5]),
                Frame::new(CONTINUATION, 0, 1, &block()[5..]),
                Frame::data(1, true, b"x"),
            ],
            Goodbye(&[PROTOCOL]),
        ),
        (
            "6.10 one of the connection",
            vec![
                Frame::new(HEADERS, END_STREAM, 1, &block()[..5]),
                Frame::new(CONTINUATION, END_HEADERS, 0, &block()[5..]),
            ],
            Goodbye(&[PROTOCOL]),
        ),
        (
            "6.10 one behind the last",
            vec![post(1), Frame::new(CONTINUATION, END_HEADERS, 1, block())],
            Goodbye(&[PROTOCOL]),
        ),
        (
            "6.10 one behind data",
            vec![post(1), Frame::data(1, false, b"x"), Frame::new(CONTINUATION, END_HEADERS, 1, block())],
            Goodbye(&[PROTOCOL]),
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn messages() {
    let without = |name: &str| -> Vec<_> { get().into_iter().filter(|(known, _)| *known != name).collect() };
    let length = |text: &'static str, pieces: &[&[u8]]| {
        let head =
            [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "h"), ("content-length", text)];
        let mut frames = vec![Frame::headers(1, false, &fields(head))];
        let last = pieces.len() - 1;
        frames.extend(pieces.iter().enumerate().map(|(index, piece)| Frame::data(1, index == last, piece)));
        frames
    };
    let trailers = |end, name, value| vec![post(1), Frame::headers(1, end, &fields([(name, value)]))];
    check(vec![
        ("8.1 trailers", trailers(true, "x-end", "1"), Answer),
        ("8.1 a second head that ends nothing", trailers(false, "x-end", "1"), Reset(&[PROTOCOL])),
        ("8.2.1 upper case", and("X-Case", "1"), Reset(&[PROTOCOL])),
        ("8.3 an unknown pseudo field", and(":unknown", "1"), Reset(&[PROTOCOL])),
        ("8.3 one of responses", and(":status", "200"), Reset(&[PROTOCOL])),
        ("8.3 one among trailers, which is left out", trailers(true, ":method", "GET"), Answer),
        (
            "8.3 one behind a field",
            with(&[(":method", "GET"), (":scheme", "http"), ("x", "1"), (":path", "/"), (":authority", "h")]),
            Reset(&[PROTOCOL]),
        ),
        ("8.2.2 a field of connections", and("connection", "keep-alive"), Reset(&[PROTOCOL])),
        ("8.2.2 TE", and("te", "trailers, deflate"), Reset(&[PROTOCOL])),
        (
            "8.3.1 an empty path",
            with(&[(":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", "h")]),
            Reset(&[PROTOCOL]),
        ),
        ("8.3.1 no method", with(&without(":method")), Reset(&[PROTOCOL])),
        ("8.3.1 no scheme", with(&without(":scheme")), Reset(&[PROTOCOL])),
        ("8.3.1 no path", with(&without(":path")), Reset(&[PROTOCOL])),
        ("8.3.1 two methods", and(":method", "GET"), Reset(&[PROTOCOL])),
        ("8.3.1 two schemes", and(":scheme", "http"), Reset(&[PROTOCOL])),
        ("8.3.1 two paths", and(":path", "/"), Reset(&[PROTOCOL])),
        ("8.1.1 another length", length("1", &[b"test"]), Reset(&[PROTOCOL])),
        ("8.1.1 another length, in pieces", length("1", &[b"te", b"st"]), Reset(&[PROTOCOL])),
        ("8.1.1 the same length", length("4", &[b"te", b"st"]), Answer),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn field_compression() {
    check(vec![
        ("2.3.3 an index beyond the tables", raw(&[0xff, 0x00]), Goodbye(FIELDS)),
        ("2.3.3 a name's", raw(&[0x7f, 0x20, 1, b'x']), Goodbye(FIELDS)),
        ("4.2 another table size behind fields", raw(&[0x20]), Goodbye(FIELDS)),
        ("5.2 padding of zeros", raw(&[0x00, 0x83, 0xf2, 0xb2, 0x40, 1, b'x']), Reset(&[COMPRESSION, PROTOCOL])),
        ("5.2 the end within a text", raw(&[0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 1, b'x']), Goodbye(FIELDS)),
        ("6.1 the index 0", raw(&[0x80]), Goodbye(FIELDS)),
        (
            "6.3 a larger table than there may be",
            vec![Frame::headers(1, true, &[&[0x3f, 0xe1, 0xff, 0x03][..], &block()].concat())],
            Goodbye(FIELDS),
        ),
        ("6.3 a smaller one", vec![Frame::headers(1, true, &[&[0x20][..], &block()].concat())], Answer),
    ])
    .await;
}
