use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake},
};

use proptest::proptest;
use proxy_zerocopy::{Error, Options, Relay, Side, TcpRelay, Transferred, copy_bidirectional, copy_tcp_bidirectional};
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};

use crate::{
    pair::{narrow_pair, pair},
    script::{Script, block_on, config, pattern, receive, script, send},
};

/// Both peers follow their scripts; each must get exactly what the other sent.
async fn check<C, S>(
    client: C,
    server: S,
    relay: impl Future<Output = Result<Transferred, Error>>,
    up: &Script,
    down: &Script,
) where
    C: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let (mut client_reads, mut client_writes) = split(client);
    let (mut server_reads, mut server_writes) = split(server);
    let (request, response) = (pattern(up.len(), 1), pattern(down.len(), 2));
    let (transferred, (), (), got_request, got_response) = tokio::join!(
        relay,
        async {
            send(&mut client_writes, &request, &up.segments).await;
            client_writes.shutdown().await.unwrap();
        },
        async {
            send(&mut server_writes, &response, &down.segments).await;
            server_writes.shutdown().await.unwrap();
        },
        receive(&mut server_reads, up.read_size),
        receive(&mut client_reads, down.read_size),
    );
    let transferred = transferred.unwrap();
    assert_eq!(transferred.a_to_b, request.len() as u64);
    assert_eq!(transferred.b_to_a, response.len() as u64);
    assert!(got_request == request && got_response == response);
}

#[test]
fn memory_streams_arrive_byte_for_byte() {
    proptest!(config(64), |(up in script(2000), down in script(2000), room in 1..300usize, size in 0..300usize)| {
        block_on(async {
            let (client, mut front) = duplex(room);
            let (mut back, server) = duplex(room);
            let options = Options::new().buffer_size(size);
            let relay = copy_bidirectional(&mut front, &mut back, &options);
            check(client, server, relay, &up, &down).await;
        });
    });
}

#[test]
fn sockets_arrive_byte_for_byte() {
    proptest!(config(24), |(up in script(100_000), down in script(100_000))| {
        block_on(async {
            let (client, front) = pair().await;
            let (back, server) = pair().await;
            let options = Options::new();
            let relay = copy_tcp_bidirectional(&front, &back, &options);
            check(client, server, relay, &up, &down).await;
        });
    });
}

/// The first side to finish still gets an answer to its last byte.
async fn check_half_close<S>(first: &mut S, second: &mut S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    first.write_all(b"last words").await.unwrap();
    first.shutdown().await.unwrap();
    assert_eq!(receive(second, 64).await, b"last words");
    second.write_all(b"answer").await.unwrap();
    second.shutdown().await.unwrap();
    assert_eq!(receive(first, 64).await, b"answer");
}

#[tokio::test]
async fn half_close_over_memory_in_both_orders() {
    for client_first in [true, false] {
        let (mut client, mut front) = duplex(4);
        let (mut back, mut server) = duplex(4);
        let options = Options::new();
        let relay = copy_bidirectional(&mut front, &mut back, &options);
        let (first, second) = if client_first { (&mut client, &mut server) } else { (&mut server, &mut client) };
        let (transferred, ()) = tokio::join!(relay, check_half_close(first, second));
        assert_eq!(transferred.unwrap().total(), 16);
    }
}

#[tokio::test]
async fn half_close_over_sockets_in_both_orders() {
    for client_first in [true, false] {
        let (mut client, front) = pair().await;
        let (back, mut server) = pair().await;
        let options = Options::new();
        let relay = copy_tcp_bidirectional(&front, &back, &options);
        let (first, second) = if client_first { (&mut client, &mut server) } else { (&mut server, &mut client) };
        let (transferred, ()) = tokio::join!(relay, check_half_close(first, second));
        assert_eq!(transferred.unwrap().total(), 16);
    }
}

#[tokio::test]
async fn unsized_streams_can_be_relayed() {
    trait Stream: AsyncRead + AsyncWrite + Unpin {}
    impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

    let (mut client, front) = duplex(64);
    let (back, mut server) = duplex(64);
    let (mut front, mut back): (Box<dyn Stream>, Box<dyn Stream>) = (Box::new(front), Box::new(back));
    let options = Options::new();
    let relay = copy_bidirectional(&mut *front, &mut *back, &options);
    let (transferred, ()) = tokio::join!(relay, check_half_close(&mut client, &mut server));
    assert!(transferred.is_ok());
}

/// A writer that keeps bytes until it is flushed must not keep them while its source is silent.
#[tokio::test]
async fn buffered_writers_are_flushed_when_the_source_pauses() {
    let (mut client, mut front) = duplex(64);
    let (back, mut server) = duplex(64);
    let mut back = io::BufWriter::new(back);
    let mut relay = Relay::new(&Options::new());
    client.write_all(b"hello").await.unwrap();
    let mut hello = [0; 5];
    tokio::select! {
        _ = poll_fn(|cx| relay.poll_relay(cx, &mut front, &mut back)) => panic!("neither has ended"),
        read = server.read_exact(&mut hello) => drop(read.unwrap()),
    }
    assert_eq!(&hello, b"hello");
    assert_eq!(relay.transferred().a_to_b, 5);
}

#[tokio::test]
async fn counts_outlive_a_cancelled_socket_relay() {
    let (mut client, front) = pair().await;
    let (back, mut server) = pair().await;
    let mut relay = TcpRelay::new(&Options::new());
    server.write_all(b"hello").await.unwrap();
    let mut hello = [0; 5];
    tokio::select! {
        biased;
        _ = poll_fn(|cx| relay.poll_relay(cx, &front, &back)) => panic!("neither has ended"),
        read = client.read_exact(&mut hello) => drop(read.unwrap()),
    }
    assert_eq!(relay.transferred().b_to_a, 5);
}

/// What was read from either side before the relay began reaches the other before the rest, however little
/// of it the other takes at a time.
#[tokio::test]
async fn bytes_read_before_go_first() {
    let (early, late) = (pattern(200_000, 6), pattern(1000, 7));
    let all = [&early[..], &late].concat();

    let ((client, front), (back, server)) = (pair().await, narrow_pair().await);
    let mut relay =
        TcpRelay::new(&Options::new()).after_reading(Side::A, early.clone()).after_reading(Side::B, vec![1]);
    let relay = poll_fn(|cx| relay.poll_relay(cx, &front, &back));
    check_early(client, server, relay, (&late, &all)).await;

    let ((client, mut front), (mut back, server)) = (duplex(64), duplex(7));
    let mut relay = Relay::new(&Options::new()).after_reading(Side::A, early).after_reading(Side::B, vec![1]);
    let relay = poll_fn(|cx| relay.poll_relay(cx, &mut front, &mut back));
    check_early(client, server, relay, (&late, &all)).await;
}

async fn check_early<S>(
    mut client: S,
    mut server: S,
    relay: impl Future<Output = Result<Transferred, Error>>,
    (late, all): (&[u8], &[u8]),
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        let send = async {
            client.write_all(late).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let ((), received) = tokio::join!(send, receive(&mut server, 3000));
        assert!(received == all);
        server.write_all(&[2]).await.unwrap();
        server.shutdown().await.unwrap();
        assert_eq!(receive(&mut client, 10).await, [1, 2]);
    };
    let (transferred, ()) = tokio::join!(relay, exchange);
    let transferred = transferred.unwrap();
    assert_eq!((transferred.a_to_b, transferred.b_to_a), (all.len() as u64, 2));
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Both streams are always ready: without a bound, one poll would never return.
#[test]
fn a_poll_is_bounded_and_asks_for_another() {
    let flag = Arc::new(Flag::default());
    let waker = flag.clone().into();
    let mut a = io::join(io::repeat(1), io::sink());
    let mut b = io::join(io::repeat(2), io::sink());
    let mut relay = Relay::new(&Options::new());
    assert!(relay.poll_relay(&mut Context::from_waker(&waker), &mut a, &mut b).is_pending());
    assert!(flag.0.load(Ordering::Relaxed));
    assert_eq!(relay.transferred().a_to_b, 1024 * 1024);
}
