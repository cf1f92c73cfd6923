use std::{future::poll_fn, time::Duration};

use proxy_zerocopy::{ErrorKind, Options, Relay, copy_tcp_bidirectional};
use tokio::{
    io::{AsyncWriteExt, duplex},
    time::{Instant, sleep},
};

use crate::pair::pair;

const LIMIT: Duration = Duration::from_secs(10);

/// Seconds at which the relay ends by its idle timeout if bytes come at the given seconds.
async fn check(bytes_at: &[u64], ends_at: u64) {
    let (mut client, mut front) = duplex(64);
    let (mut back, _server) = duplex(64);
    let start = Instant::now();
    let mut relay = Relay::new(&Options::new().idle_timeout(LIMIT));
    let (result, ()) = tokio::join!(poll_fn(|cx| relay.poll_relay(cx, &mut front, &mut back)), async {
        for &second in bytes_at {
            sleep(Duration::from_secs(second) - start.elapsed()).await;
            client.write_all(b"x").await.unwrap();
        }
    },);
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.side()), (ErrorKind::IdleTimeout, None));
    assert_eq!(error.transferred().a_to_b, bytes_at.len() as u64);
    assert_eq!(start.elapsed(), Duration::from_secs(ends_at), "bytes at {bytes_at:?}");
}

#[tokio::test(start_paused = true)]
async fn the_timeout_counts_from_the_last_byte() {
    check(&[], 10).await;
    check(&[0], 10).await;
    check(&[6], 16).await;
    check(&[1, 2, 3], 13).await;
    check(&[6, 12], 22).await;
    check(&[9, 18, 27, 36], 46).await;
}

#[tokio::test(start_paused = true)]
async fn bytes_that_nobody_takes_do_not_keep_a_relay_alive() {
    let (mut client, mut front) = duplex(64);
    let (mut back, _server) = duplex(3);
    let mut relay = Relay::new(&Options::new().idle_timeout(LIMIT));
    client.write_all(b"hello").await.unwrap();
    let error = poll_fn(|cx| relay.poll_relay(cx, &mut front, &mut back)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IdleTimeout);
    assert_eq!(error.transferred().a_to_b, 3);
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_relay_still_times_out() {
    let (mut client, mut front) = duplex(64);
    let (mut back, _server) = duplex(64);
    client.shutdown().await.unwrap();
    let mut relay = Relay::new(&Options::new().idle_timeout(LIMIT));
    let error = poll_fn(|cx| relay.poll_relay(cx, &mut front, &mut back)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IdleTimeout);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_moves_bytes_ends_with_its_lifetime() {
    let (mut client, mut front) = duplex(64);
    let (mut back, _server) = duplex(64);
    let start = Instant::now();
    let mut relay = Relay::new(&Options::new().idle_timeout(LIMIT).lifetime(3 * LIMIT));
    let talk = async {
        loop {
            client.write_all(b"x").await.unwrap();
            sleep(LIMIT / 2).await;
        }
    };
    let error = tokio::select! {
        result = poll_fn(|cx| relay.poll_relay(cx, &mut front, &mut back)) => result.unwrap_err(),
        () = talk => unreachable!("it talks for ever"),
    };
    assert_eq!((error.kind(), error.side()), (ErrorKind::LifetimeOver, None));
    assert_eq!(start.elapsed(), 3 * LIMIT);
}

#[tokio::test]
async fn silent_sockets_time_out() {
    let (_client, front) = pair().await;
    let (back, _server) = pair().await;
    tokio::time::pause(); // from here on the clock jumps to the next timer
    let options = Options::new().idle_timeout(LIMIT);
    let start = Instant::now();
    let error = copy_tcp_bidirectional(&front, &back, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IdleTimeout);
    // Timers have a grain of one millisecond, and this clock did not start on a whole one.
    assert!((LIMIT..=LIMIT + Duration::from_millis(1)).contains(&start.elapsed()));
}
