use std::{
    fs::{self, File},
    future::poll_fn,
    io::Write,
    ops::Range,
    process,
    sync::atomic::{AtomicU32, Ordering},
    task::{Context, Waker},
};

use proptest::proptest;
use proxy_zerocopy::{ErrorKind, FileRange, Side, send_file};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    pair::{narrow_pair, pair},
    script::{block_on, config, pattern, receive},
};

/// A file that is gone once it is closed.
fn file(bytes: &[u8]) -> File {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("proxy-zerocopy-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let mut file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn within(share: (usize, usize), length: usize) -> Range<u64> {
    let (one, other) = (length * share.0 / 100, length * share.1 / 100);
    one.min(other) as u64..one.max(other) as u64
}

/// Reads it to its end, `step` bytes at a time, giving the memory back now and then.
async fn read(part: &mut FileRange, step: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while poll_fn(|cx| part.poll_read(cx)).await.unwrap() > 0 {
        let piece = part.data().len().min(step);
        all.extend_from_slice(&part.data()[..piece]);
        part.consume(piece);
        if all.len().is_multiple_of(3) {
            part.release();
        }
    }
    all
}

/// Exactly the bytes of the range arrive, sent or read, whatever the sink takes at a time.
#[test]
fn a_range_arrives_byte_for_byte() {
    proptest!(config(24), |(length in 0..3_000_000usize, share in (0..=100usize, 0..=100usize), size in 1000..300_000usize)| {
        block_on(async {
            let bytes = pattern(length, 5);
            let range = within(share, length);
            let expected = &bytes[range.start as usize..range.end as usize];
            let (mut to, mut sink) = pair().await;
            let source = std::sync::Arc::new(file(&bytes));
            let mut part = FileRange::new(source.clone(), range.clone());
            assert_eq!(part.left(), expected.len() as u64);
            tokio::join!(
                async {
                    poll_fn(|cx| part.poll_send(cx, &to)).await.unwrap();
                    to.shutdown().await.unwrap();
                },
                async { assert!(receive(&mut sink, size).await == expected) },
            );
            assert_eq!((part.left(), part.moved()), (0, expected.len() as u64));
            assert!(read(&mut FileRange::new(source, range), size).await == expected);
        });
    });
}

/// What was read before is sent first.
#[tokio::test]
async fn reading_and_sending_take_turns() {
    let bytes = pattern(400_000, 9);
    let (mut to, mut sink) = narrow_pair().await;
    let mut part = FileRange::new(file(&bytes), 0..400_000);
    let sent = async {
        poll_fn(|cx| part.poll_read(cx)).await.unwrap();
        to.write_all(&part.data()[..1000]).await.unwrap();
        part.consume(1000);
        poll_fn(|cx| part.poll_send(cx, &to)).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let (got, ()) = tokio::join!(receive(&mut sink, 5000), sent);
    assert!(got == bytes);
}

/// A file that was cut short is no complete one: neither sent nor read.
#[tokio::test]
async fn a_shorter_file_is_an_error() {
    let bytes = pattern(10_000, 1);
    let ((to, mut sink), mut got) = (pair().await, [0; 10_000]);
    let error = send_file(file(&bytes), 0..20_000, &to).await.unwrap_err();
    assert_eq!((error.kind(), error.side()), (ErrorKind::UnexpectedEof, Some(Side::A)));
    assert_eq!(error.transferred().a_to_b, 10_000);
    sink.read_exact(&mut got).await.unwrap();
    let mut part = FileRange::new(file(&bytes), 9_999..10_001);
    assert_eq!(poll_fn(|cx| part.poll_read(cx)).await.unwrap(), 1);
    part.consume(1);
    assert_eq!(poll_fn(|cx| part.poll_read(cx)).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_sink_that_is_gone_is_named() {
    let (to, sink) = pair().await;
    sink.set_zero_linger().unwrap();
    drop(sink);
    let error = send_file(file(&vec![0; 8_000_000]), 0..8_000_000, &to).await.unwrap_err();
    assert_eq!((error.kind(), error.side()), (ErrorKind::Write, Some(Side::B)));
}

/// Who does not read gets no more than the kernel has room for, and nothing waits for a disk meanwhile.
#[tokio::test]
async fn a_full_socket_is_waited_for() {
    let (to, mut sink) = narrow_pair().await;
    let bytes = pattern(1_000_000, 2);
    let mut part = FileRange::new(file(&bytes), 0..1_000_000);
    poll_fn(|cx| part.poll_read(cx)).await.unwrap();
    part.release();
    let mut cx = Context::from_waker(Waker::noop());
    while part.moved() == 0 {
        assert!(part.poll_send(&mut cx, &to).is_pending());
        tokio::task::yield_now().await;
    }
    let first = part.moved() as usize;
    assert!(first < 1_000_000 && !part.is_waiting_for_disk());
    let mut got = vec![0; 1_000_000];
    let (sent, received) = tokio::join!(poll_fn(|cx| part.poll_send(cx, &to)), sink.read_exact(&mut got));
    sent.unwrap();
    received.unwrap();
    assert!(got == bytes);
}

/// The bytes are the same where they have to come from the disk: a thread reads them.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_not_in_memory_is_read_first() {
    let bytes = pattern(3_000_000, 3);
    let (mut to, mut sink) = pair().await;
    let source = file(&bytes);
    source.sync_all().unwrap();
    rustix::fs::fadvise(&source, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let sent = async {
        send_file(source, 0..3_000_000, &to).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let (got, ()) = tokio::join!(receive(&mut sink, 100_000), sent);
    assert!(got == bytes);
}
