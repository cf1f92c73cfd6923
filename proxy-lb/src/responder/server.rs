//! The sockets of a responder.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Transport, Zone};

/// A query is never longer, short of options that nobody here reads; what is, is cut, and malformed.
const LONGEST_DATAGRAM: usize = 4096;

/// Connections at a time, each with up to 64 KiB for its query: 8 MiB.
const CONNECTIONS: usize = 128;

/// For a whole query to come, and for an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// After a failure that may last, such as being out of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers datagrams, one after the other: an answer takes microseconds.
pub(super) async fn datagrams(zone: &Zone, socket: UdpSocket) {
    let mut buffer = vec![0; LONGEST_DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let Some(answer) = zone.reply(&buffer[..length], from.ip(), Transport::Udp) else { continue };
                if let Err(error) = socket.send_to(&answer, from).await {
                    tracing::debug!(%from, %error, "an answer could not be sent");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "receiving queries failed");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Answers connections, so many at a time; others wait in the kernel's queue.
pub(super) async fn connections(zone: &Arc<Zone>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut running = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while running.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, from)) => {
                let zone = Arc::clone(zone);
                running.spawn(async move {
                    // Whoever leaves, or takes too long, has had its answers.
                    let _ = connection(&zone, stream, from.ip()).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting failed");
                sleep(PAUSE).await;
            }
        }
    }
}

/// RFC 7766: queries one after the other, each behind its length.
async fn connection(zone: &Zone, mut stream: TcpStream, from: IpAddr) -> io::Result<()> {
    loop {
        let query = timeout(PATIENCE, read(&mut stream)).await??;
        let Some(answer) = zone.reply(&query, from, Transport::Tcp) else { return Ok(()) };
        let Ok(length) = u16::try_from(answer.len()) else { return Ok(()) };
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        timeout(PATIENCE, stream.write_all(&framed)).await??;
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut query = vec![0; usize::from(length)];
    stream.read_exact(&mut query).await?;
    Ok(query)
}
