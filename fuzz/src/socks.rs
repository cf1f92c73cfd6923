//! Handshakes of SOCKS, beside a naive reading of them; and the destinations that they name.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use proxy_core::{Listener, Peer};
use proxy_forward::{Destination, Host, SocksListener};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::{connection, feedback};

/// More than any handshake: what comes behind one is passed on as it is.
const MAX: usize = 4096;

/// However the bytes come, the proxy reads the same request, and the client the same answers; the request is the one
/// that a naive reading finds, and behind it is every byte that the client sent after it.
pub(crate) fn handshake(bytes: &[u8]) -> Result<(), String> {
    let bytes = &bytes[..bytes.len().min(MAX)];
    let runtime = connection::runtime();
    let whole = runtime.block_on(serve(bytes, bytes.len()));
    let split = runtime.block_on(serve(bytes, 1));
    feedback::note((&whole.1, whole.0.len().min(64)));
    if whole != split {
        return Err(format!("byte by byte it is another: {}, {}", whole.0.escape_ascii(), split.0.escape_ascii()));
    }
    let (read, answered) = whole;
    let Some((destination, used)) = naive(bytes) else {
        return if read.is_empty() { Ok(()) } else { Err(format!("read {}", read.escape_ascii())) };
    };
    let head = format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n\r\n");
    if read != [head.as_bytes(), &bytes[used..]].concat() {
        return Err(format!("expected {head:?}, read {}, answered {answered:?}", read.escape_ascii()));
    }
    Ok(())
}

/// What the proxy reads, and what the client is answered.
async fn serve(bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut client, server) = tokio::io::duplex(4 * MAX);
    let (mut stream, _) = SocksListener::new(Once(Some(server))).accept().await;
    let send = async {
        for part in bytes.chunks(piece.max(1)) {
            // It may have been closed already.
            if client.write_all(part).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let _ = client.shutdown().await;
        client
    };
    let mut read = Vec::new();
    let (mut client, _) = tokio::join!(send, stream.read_to_end(&mut read));
    drop(stream);
    let mut answered = Vec::new();
    let _ = client.read_to_end(&mut answered).await;
    (read, answered)
}

struct Once(Option<DuplexStream>);

impl Listener for Once {
    type Io = DuplexStream;

    async fn accept(&mut self) -> (DuplexStream, Peer) {
        match self.0.take() {
            Some(stream) => (stream, Peer::default()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Where to, and how many bytes that took.
fn naive(bytes: &[u8]) -> Option<(String, usize)> {
    match bytes.first()? {
        5 => {
            let greeting = 2 + usize::from(*bytes.get(1)?);
            if !bytes.get(2..greeting)?.contains(&0) {
                return None;
            }
            let request = &bytes[greeting..];
            if request.get(..3)? != [5, 1, 0] {
                return None;
            }
            let (host, length) = match request.get(3)? {
                1 => (Ipv4Addr::from(<[u8; 4]>::try_from(request.get(4..8)?).ok()?).to_string(), 4),
                4 => (format!("[{}]", Ipv6Addr::from(<[u8; 16]>::try_from(request.get(4..20)?).ok()?)), 16),
                3 => {
                    let length = usize::from(*request.get(4)?);
                    (name(request.get(5..5 + length)?)?, 1 + length)
                }
                _ => return None,
            };
            let port = request.get(4 + length..6 + length)?;
            Some((to(&host, port)?, greeting + 6 + length))
        }
        4 => {
            if *bytes.get(1)? != 1 {
                return None;
            }
            let (port, address) = (bytes.get(2..4)?, bytes.get(4..8)?);
            let mut parts = bytes.get(8..)?.splitn(3, |byte| *byte == 0);
            let user = parts.next()?;
            let rest = parts.next()?;
            let is_4a = address[..3] == [0, 0, 0] && address[3] != 0;
            if user.len() > 255 {
                return None;
            }
            if !is_4a {
                let host = Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).to_string();
                return Some((to(&host, port)?, 9 + user.len()));
            }
            parts.next()?;
            (rest.len() <= 255).then_some(())?;
            Some((to(&name(rest)?, port)?, 10 + user.len() + rest.len()))
        }
        _ => None,
    }
}

/// A host as it stands in an authority.
fn name(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.parse::<Ipv6Addr>().map_or_else(|_| text.to_owned(), |address| format!("[{address}]")))
}

/// A name with a colon is none, whatever a port behind it would make of it.
fn to(host: &str, port: &[u8]) -> Option<String> {
    let port = u16::from_be_bytes(port.try_into().ok()?);
    let host = host.parse::<Host>().ok()?;
    Destination::new(host, port).ok().map(|destination| destination.to_string())
}

/// A destination has one spelling, and no name is one that the system reads as an address.
pub(crate) fn destination(bytes: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(bytes);
    let parsed = Destination::parse(&text, Some(80));
    feedback::note(
        parsed.as_ref().map(|it| it.host().name().map(|name| name.split('.').count().min(4))).map_err(|it| *it as u8),
    );
    let Ok(destination) = parsed else { return Ok(()) };
    if Destination::parse(&destination.to_string(), None).as_ref() != Ok(&destination) {
        return Err(format!("{destination} is not what it prints"));
    }
    match destination.host().name().and_then(aton) {
        Some(address) => Err(format!("{destination} is {address} to the system")),
        None => Ok(()),
    }
}

/// What `inet_aton` makes of a text.
fn aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<_> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, before) = parts.split_last().filter(|(_, before)| before.len() < 4)?;
    let room = 8 * (4 - before.len() as u32);
    if before.iter().any(|part| *part > 255) || *last >= 1 << room {
        return None;
    }
    let upper = before.iter().zip(0..).fold(0, |sum, (part, index)| sum | part << (24 - 8 * index));
    Some(Ipv4Addr::from((upper | last) as u32))
}

/// As `strtoul` reads it, with the base that its prefix says.
fn number(text: &str) -> Option<u64> {
    let (digits, base) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    u64::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with('+'))
}
