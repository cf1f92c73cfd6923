use proxy_zerocopy::{Error, ErrorKind, Options, Side, copy_bidirectional, copy_tcp_bidirectional};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::pair::pair;

/// Passes five bytes on and then resets the connection they came by.
async fn send_and_reset(mut from: TcpStream, to: &mut TcpStream) {
    from.write_all(b"hello").await.unwrap();
    to.read_exact(&mut [0; 5]).await.unwrap();
    from.set_zero_linger().unwrap();
}

fn check(error: &Error, side: Side, up: u64, down: u64) {
    assert_eq!((error.kind(), error.side()), (ErrorKind::Read, Some(side)));
    assert_eq!(error.transferred().a_to_b, up);
    assert_eq!(error.transferred().b_to_a, down);
}

#[tokio::test]
async fn a_reset_ends_a_socket_relay_and_names_its_side() {
    let options = Options::new();

    let (client, front) = pair().await;
    let (back, mut server) = pair().await;
    let relay = copy_tcp_bidirectional(&front, &back, &options);
    let (result, ()) = tokio::join!(relay, send_and_reset(client, &mut server));
    check(&result.unwrap_err(), Side::A, 5, 0);

    let (mut client, front) = pair().await;
    let (back, server) = pair().await;
    let relay = copy_tcp_bidirectional(&front, &back, &options);
    let (result, ()) = tokio::join!(relay, send_and_reset(server, &mut client));
    check(&result.unwrap_err(), Side::B, 0, 5);
}

#[tokio::test]
async fn a_reset_ends_a_buffered_relay_and_names_its_side() {
    let (client, mut front) = pair().await;
    let (mut back, mut server) = pair().await;
    let options = Options::new();
    let relay = copy_bidirectional(&mut front, &mut back, &options);
    let (result, ()) = tokio::join!(relay, send_and_reset(client, &mut server));
    check(&result.unwrap_err(), Side::A, 5, 0);
}
