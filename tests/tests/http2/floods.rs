//! Attacks: each ends with the right code and is counted.

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{ErrorKind, Http2};
use tests::{Frame, Frames, Stage, fields};

use super::Failures;

const ENHANCE_YOUR_CALM: u32 = 11;
/// More frames than any budget allows.
const MANY: usize = 60_000;

/// A request for `/`, with further fields.
fn get<'a>(more: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let head = [(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/")];
    fields(head.into_iter().chain(more))
}

/// Streams of a client have odd numbers.
fn odd(number: u32) -> u32 {
    number * 2 + 1
}

/// A client that sends these frames for as long as it can is told to calm down, and the reason is counted.
async fn check(script: Script, kind: ErrorKind, frames: impl FnMut(u32) -> Vec<Frame> + Send + 'static) {
    let failures = Failures::default();
    let stage = Stage::with(ScriptedConnector::always(script), |builder| builder.observer(failures.clone()));
    let attacker = Frames::open(stage.connect().into_stream().0).await;
    let (mut reads, mut writes) = attacker.split();
    // It reads, too, or it would only block itself.
    let flood = tokio::spawn(async move { writes.flood(MANY, frames).await });
    assert_eq!(reads.goodbye().await, Some(ENHANCE_YOUR_CALM), "{kind:?}");
    flood.await.unwrap();
    assert_eq!(failures.seen(), [kind]);
}

#[tokio::test(start_paused = true)]
async fn rapid_reset() {
    // CVE-2023-44487, at a pace at which every request is begun.
    let failures = Failures::default();
    let stage = Stage::with(ScriptedConnector::always(Script::new()), |builder| builder.observer(failures.clone()));
    let mut attacker = Frames::open(stage.connect().into_stream().0).await;
    let mut sent = 0;
    while failures.seen().is_empty() {
        attacker.send(&Frame::headers(odd(sent), true, &get([]))).await;
        tokio::task::yield_now().await;
        attacker.send(&Frame::reset(odd(sent))).await;
        tokio::task::yield_now().await;
        sent += 1;
        assert!(sent < 1000);
    }
    assert_eq!(attacker.goodbye().await, Some(ENHANCE_YOUR_CALM));
    assert_eq!(failures.seen(), [ErrorKind::RapidReset]);
    assert!((200..210).contains(&sent), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn rapid_reset_before_anybody_has_seen_the_request() {
    check(Script::new(), ErrorKind::RapidReset, |number| {
        let stream = odd(number);
        vec![Frame::headers(stream, true, &get([])), Frame::reset(stream)]
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_some_requests_back_is_served_on() {
    let stage = Stage::new(Script::ok());
    let mut client = Frames::open(stage.connect().into_stream().0).await;
    for round in 0..500 {
        client.send(&Frame::headers(odd(2 * round), true, &get([]))).await;
        assert_eq!(client.next_of(0).await.unwrap().stream, odd(2 * round));
        client.send(&Frame::headers(odd(2 * round + 1), false, &get([]))).await;
        client.send(&Frame::reset(odd(2 * round + 1))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn made_you_reset() {
    // CVE-2025-8671: the client breaks a rule of each stream, so that the server resets it.
    let broken: [fn(u32) -> Frame; 3] = [
        |stream| Frame::new(8, 0, stream, [0, 0, 0, 0]),
        |stream| Frame::new(8, 0, stream, [0x7f, 0xff, 0xff, 0xff]),
        |stream| Frame::data(stream, true, b"more than nothing"),
    ];
    for frame in broken {
        let failures = Failures::default();
        let stage = Stage::with(ScriptedConnector::always(Script::new()), |builder| builder.observer(failures.clone()));
        let mut attacker = Frames::open(stage.connect().into_stream().0).await;
        let mut sent = 0;
        while failures.seen().is_empty() {
            attacker.send(&Frame::headers(odd(sent), false, &get([("content-length", "5")]))).await;
            tokio::task::yield_now().await;
            attacker.send(&frame(odd(sent))).await;
            tokio::task::yield_now().await;
            sent += 1;
            assert!(sent < 3000);
        }
        assert!(matches!(
            failures.seen()[..],
            [ErrorKind::RapidReset | ErrorKind::MadeReset | ErrorKind::Http2Protocol]
        ));
        assert!(stage.origin().connections() <= 210, "{}", stage.origin().connections());
    }
}

#[tokio::test(start_paused = true)]
async fn continuations() {
    check(Script::new(), ErrorKind::ContinuationFlood, |number| {
        let one = fields([("x", "y")]);
        vec![if number == 0 { Frame::new(1, 0, 1, get([])) } else { Frame::new(9, 0, 1, one) }]
    })
    .await;
    check(Script::new(), ErrorKind::ContinuationFlood, |number| {
        vec![if number == 0 { Frame::new(1, 0, 1, get([])) } else { Frame::new(9, 0, 1, []) }]
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn header_bombs() {
    // A field of 4 KiB goes into the table once, and is named by one byte from then on.
    let value = "x".repeat(3900);
    let mut bomb = get([]);
    bomb.push(0x40);
    bomb.extend([1, b'a', 127, 0xbd, 0x1d]);
    bomb.extend(value.bytes());
    bomb.extend(std::iter::repeat_n(0x80 | 62, 10_000));
    let frame = Frame::headers(1, true, &bomb);
    check(Script::new(), ErrorKind::HeaderBomb, move |number| if number == 0 { vec![frame.clone()] } else { vec![] })
        .await;
}

#[tokio::test(start_paused = true)]
async fn frames_that_bring_nothing() {
    let floods: [fn(u32) -> Frame; 7] = [
        |_| Frame::new(6, 0, 0, [0; 8]),
        |_| Frame::new(6, 1, 0, [0; 8]),
        |_| Frame::new(4, 0, 0, []),
        |_| Frame::new(2, 0, 1, [0, 0, 0, 0, 7]),
        |_| Frame::new(8, 0, 0, [0, 0, 0, 1]),
        |_| Frame::new(0x77, 0, 0, b"what is this".to_vec()),
        |number| if number == 0 { Frame::headers(1, false, &get([])) } else { Frame::new(8, 0, 1, [0, 0, 0, 1]) },
    ];
    for flood in floods {
        check(Script::new(), ErrorKind::FrameFlood, move |number| vec![flood(number)]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn empty_and_tiny_data() {
    let floods: [fn(u32) -> Frame; 2] = [|_| Frame::data(1, false, b""), |_| Frame::data(1, false, b"x")];
    for flood in floods {
        // An origin that reads them on is not flooded by tiny ones: nothing piles up.
        let script = Script::new().read_head().wait(3600 * super::S);
        check(script, ErrorKind::FrameFlood, move |number| {
            vec![if number == 0 { Frame::headers(1, false, &get([])) } else { flood(number) }]
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn more_streams_than_allowed() {
    let failures = Failures::default();
    let stage = Stage::with(ScriptedConnector::always(Script::new()), |builder| {
        builder.observer(failures.clone()).http2(Http2 { max_streams: 10, ..Http2::default() })
    });
    let mut client = Frames::open(stage.connect().into_stream().0).await;
    for number in 0..12 {
        client.send(&Frame::headers(odd(number), true, &get([]))).await;
    }
    for stream in [21, 23] {
        let refused = client.next_of(3).await.unwrap();
        assert_eq!((refused.stream, refused.code()), (stream, 7), "REFUSED_STREAM");
    }
    assert_eq!(failures.seen(), []);
    let (mut reads, mut writes) = client.split();
    let flood = tokio::spawn(async move {
        writes.flood(MANY, |number| vec![Frame::headers(odd(number + 12), true, &get([]))]).await;
    });
    assert_eq!(reads.goodbye().await, Some(ENHANCE_YOUR_CALM));
    flood.await.unwrap();
    assert_eq!((failures.seen(), stage.origin().connections()), (vec![ErrorKind::MadeReset], 10));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips() {
    let failures = Failures::default();
    let stage = Stage::with(ScriptedConnector::always(Script::new()), |builder| builder.observer(failures.clone()));
    let (mut reads, mut writes) = Frames::open(stage.connect().into_stream().0).await.split();
    let started = tokio::time::Instant::now();
    let drip = tokio::spawn(async move {
        writes.send(&Frame::new(1, 0, 1, get([]))).await;
        for byte in Frame::new(9, 4, 1, fields([("x-slow", "yes")])).bytes() {
            tokio::time::sleep(super::S).await;
            writes.send_bytes(&[byte]).await;
        }
    });
    assert_eq!(reads.goodbye().await, Some(ENHANCE_YOUR_CALM));
    assert_eq!((started.elapsed().as_secs(), failures.seen()), (10, vec![ErrorKind::HeadTimeout]));
    drip.abort();
}

#[tokio::test(start_paused = true)]
async fn broken_frames() {
    let check = async |frame: Frame, code| {
        let failures = Failures::default();
        let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.observer(failures.clone()));
        let mut client = Frames::open(stage.connect().into_stream().0).await;
        client.send(&frame).await;
        assert_eq!(client.goodbye().await, Some(code), "{frame:?}");
        assert_eq!(failures.seen(), [ErrorKind::Http2Protocol], "{frame:?}");
        assert_eq!(stage.origin().connections(), 0);
    };
    check(Frame::data(1, true, b"no head"), 1).await;
    check(Frame::headers(2, true, &get([])), 1).await;
    check(Frame::headers(0, true, &get([])), 1).await;
    check(Frame::headers(1, true, &[0x80]), 1).await;
    check(Frame::new(9, 4, 1, get([])), 1).await;
    check(Frame::new(6, 0, 0, [0; 7]), 1).await;
    check(Frame::new(5, 4, 1, [0, 0, 0, 2]), 1).await;
}
