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

/// A reset that a write comes upon first: reading from that socket then finds an end, which must not be passed on. The
/// client would take a stream that was cut for a whole one.
#[tokio::test]
async fn a_reset_found_by_writing_is_not_taken_for_an_end() {
    for spliced in [true, false] {
        let (mut client, mut front) = pair().await;
        let (mut back, server) = pair().await;
        server.set_zero_linger().unwrap();
        drop(server);
        client.write_all(b"hello").await.unwrap();
        front.readable().await.unwrap();
        back.writable().await.unwrap();
        let options = Options::new();
        let error = match spliced {
            true => copy_tcp_bidirectional(&front, &back, &options).await.unwrap_err(),
            false => copy_bidirectional(&mut front, &mut back, &options).await.unwrap_err(),
        };
        assert_eq!(error.side(), Some(Side::B));
        front.set_zero_linger().unwrap();
        drop(front);
        assert_eq!(client.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
}
