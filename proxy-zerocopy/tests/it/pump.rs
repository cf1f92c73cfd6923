use std::{
    io::ErrorKind::{ResourceBusy, WouldBlock},
    task::{Context, Waker},
};

use proptest::proptest;
use proxy_zerocopy::{
    ErrorKind, Side,
    splice::{Ended, Pipe, Pump, copy_exact},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::yield_now,
};

use crate::{
    pair::{narrow_pair, pair},
    script::{block_on, config, pattern, receive, script, send},
};

/// The bytes up to the limit reach the sink; all others can still be read from the source.
#[test]
fn the_limit_is_never_passed() {
    proptest!(config(32), |(segments in script(100_000), share in 0..=100usize)| {
        block_on(async {
            let (mut source, mut from) = pair().await;
            let (mut to, mut sink) = pair().await;
            let bytes = pattern(segments.len(), 3);
            let limit = bytes.len() * share / 100;
            tokio::join!(
                async {
                    send(&mut source, &bytes, &segments.segments).await;
                    source.shutdown().await.unwrap();
                },
                async {
                    copy_exact(&from, &to, limit as u64).await.unwrap();
                    to.shutdown().await.unwrap();
                    assert!(receive(&mut from, segments.read_size).await == bytes[limit..]);
                },
                async { assert!(receive(&mut sink, segments.read_size).await == bytes[..limit]) },
            );
        });
    });
}

#[tokio::test]
async fn an_early_end_is_reported_with_its_count() {
    let (mut source, from) = pair().await;
    let (to, mut sink) = pair().await;
    source.write_all(&[7; 60]).await.unwrap();
    source.shutdown().await.unwrap();
    let error = copy_exact(&from, &to, 100).await.unwrap_err();
    assert_eq!((error.kind(), error.side()), (ErrorKind::UnexpectedEof, Some(Side::A)));
    assert_eq!(error.transferred().a_to_b, 60);
    drop(to);
    assert_eq!(receive(&mut sink, 100).await, [7; 60]);
}

#[tokio::test]
async fn nothing_is_touched_for_a_limit_of_zero() {
    let ((_source, from), (to, _sink)) = (pair().await, pair().await);
    assert_eq!(Pump::new(Some(0)).run(&from, &to).await.unwrap(), Ended::Limit);
}

#[tokio::test]
async fn an_ended_pump_stays_ended() {
    let ((source, from), (to, _sink)) = (pair().await, pair().await);
    drop(source);
    let mut pump = Pump::new(Some(5));
    assert_eq!(pump.run(&from, &to).await.unwrap(), Ended::Eof);
    assert_eq!(pump.run(&from, &to).await.unwrap(), Ended::Eof);
}

/// sozu #1323: a pipe fills by slots. Treated as an empty socket, the tail of many small segments
/// would wait for a wake-up that never comes, as the source sends no more and stays open.
#[tokio::test]
async fn many_small_segments_do_not_strand_their_tail() {
    let (mut source, from) = pair().await;
    let (to, mut sink) = pair().await;
    source.set_nodelay(true).unwrap();
    let bytes = pattern(40_000, 4);
    for segment in bytes.chunks(50) {
        source.write_all(segment).await.unwrap();
    }
    let mut got = vec![0; bytes.len()];
    let mut pump = Pump::new(None);
    tokio::select! {
        _ = pump.run(&from, &to) => panic!("the source is still open"),
        read = sink.read_exact(&mut got) => drop(read.unwrap()),
    }
    assert!(got == bytes);
}

/// Polls until bytes wait for a sink that takes no more.
async fn clog(pump: &mut Pump, from: &TcpStream, to: &TcpStream) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut before = None;
    while pump.in_flight() == 0 || before != Some(pump.moved()) {
        before = Some(pump.moved());
        assert!(pump.poll_pump(&mut cx, from, to).is_pending());
        yield_now().await;
    }
}

/// mmproxy-rs #22: the source has long ended when the sink begins to read. Also: a pump that was
/// left alone in the middle goes on where it was.
#[tokio::test]
async fn a_slow_reader_gets_everything_before_the_end() {
    let (mut source, from) = pair().await;
    let (mut to, mut sink) = narrow_pair().await;
    let bytes = pattern(3_000_000, 5);
    let mut pump = Pump::new(None);
    tokio::join!(
        async {
            source.write_all(&bytes).await.unwrap();
            source.shutdown().await.unwrap();
        },
        async {
            clog(&mut pump, &from, &to).await;
            let write = async {
                assert_eq!(pump.run(&from, &to).await.unwrap(), Ended::Eof);
                to.shutdown().await.unwrap();
            };
            let ((), got) = tokio::join!(write, receive(&mut sink, 5000));
            assert!(got == bytes);
        },
    );
    assert_eq!((pump.moved(), pump.in_flight()), (3_000_000, 0));
}

#[tokio::test]
async fn a_sink_that_is_gone_is_a_write_error() {
    let (mut source, from) = pair().await;
    let (to, sink) = pair().await;
    sink.set_zero_linger().unwrap();
    drop(sink);
    to.readable().await.unwrap(); // the reset has arrived
    source.write_all(b"hello").await.unwrap();
    let error = Pump::new(None).run(&from, &to).await.unwrap_err();
    assert_eq!((error.kind(), error.side()), (ErrorKind::Write, Some(Side::B)));
}

#[tokio::test]
async fn a_pipe_is_filled_only_while_empty() {
    let (mut source, from) = pair().await;
    let (to, mut sink) = pair().await;
    let mut pipe = Pipe::take();
    from.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(pipe.fill(&from, 3).unwrap_err().kind(), WouldBlock);
    source.write_all(b"hello").await.unwrap();
    from.readable().await.unwrap();
    assert_eq!(pipe.fill(&from, 3).unwrap(), 3);
    assert_eq!(pipe.fill(&from, 3).unwrap_err().kind(), ResourceBusy);
    to.writable().await.unwrap();
    assert_eq!(pipe.drain(&to).unwrap(), 3);
    assert_eq!(pipe.drain(&to).unwrap(), 0);
    drop(to);
    assert_eq!(receive(&mut sink, 9).await, b"hel");
}
