//! A connection by a proxy that speaks SOCKS5 (RFC 1928), with or without a password (RFC 1929).

use std::io;
use std::net::IpAddr;

use http::StatusCode;
use proxy_core::{Io, NextHopRefusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connect::NOT_KNOWN;
use crate::destination::{Destination, Host};

const VERSION: u8 = 5;
const NO_PASSWORD: u8 = 0;
const PASSWORD: u8 = 2;
const NONE_OF_THESE: u8 = 0xff;

/// Asks for a connection to `destination`. Nothing beyond the answer is read.
pub(super) async fn ask(
    mut io: Box<dyn Io>,
    destination: &Destination,
    credentials: Option<&(String, String)>,
) -> io::Result<Box<dyn Io>> {
    greet(&mut io, credentials).await?;
    io.write_all(&request(destination)).await?;
    io.flush().await?;
    let mut answer = [0; 4];
    io.read_exact(&mut answer).await?;
    let [VERSION, reply, 0, kind] = answer else { return Err(malformed()) };
    if reply != 0 {
        return Err(refusal(reply).into());
    }
    // The address that it connects from, which nobody asked for.
    let length = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(io.read_u8().await?),
        _ => return Err(malformed()),
    };
    io.read_exact(&mut [0; 255 + 2][..length + 2]).await?;
    Ok(io)
}

/// Method and, where it asks for them, name and password.
async fn greet(io: &mut Box<dyn Io>, credentials: Option<&(String, String)>) -> io::Result<()> {
    match credentials {
        Some(_) => io.write_all(&[VERSION, 2, NO_PASSWORD, PASSWORD]).await?,
        None => io.write_all(&[VERSION, 1, NO_PASSWORD]).await?,
    }
    io.flush().await?;
    let mut method = [0; 2];
    io.read_exact(&mut method).await?;
    match (method, credentials) {
        ([VERSION, NO_PASSWORD], _) => Ok(()),
        ([VERSION, PASSWORD], Some((name, password))) => log_in(io, name, password).await,
        ([VERSION, NONE_OF_THESE], _) => Err(not_known()),
        _ => Err(malformed()),
    }
}

async fn log_in(io: &mut Box<dyn Io>, name: &str, password: &str) -> io::Result<()> {
    let mut message = vec![1];
    for text in [name, password] {
        // Both are short enough: the constructor has seen to that.
        message.push(u8::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidInput)?);
        message.extend_from_slice(text.as_bytes());
    }
    io.write_all(&message).await?;
    io.flush().await?;
    let mut answer = [0; 2];
    io.read_exact(&mut answer).await?;
    // RFC 1929 §2: anything but zero is a refusal.
    if answer == [1, 0] { Ok(()) } else { Err(not_known()) }
}

fn request(destination: &Destination) -> Vec<u8> {
    let mut request = vec![VERSION, 1, 0];
    match destination.host() {
        Host::Address(IpAddr::V4(address)) => {
            request.push(1);
            request.extend_from_slice(&address.octets());
        }
        Host::Address(IpAddr::V6(address)) => {
            request.push(4);
            request.extend_from_slice(&address.octets());
        }
        // A name has at most 253 characters.
        Host::Name(name) => {
            request.extend_from_slice(&[3, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
            request.extend_from_slice(name.as_bytes());
        }
    }
    request.extend_from_slice(&destination.port().to_be_bytes());
    request
}

/// What the client is told. Only a failure without a reason may be the proxy's own.
fn refusal(reply: u8) -> NextHopRefusal {
    let (status, what) = match reply {
        2 => (StatusCode::FORBIDDEN, "its rules do not allow it"),
        3 => (StatusCode::BAD_GATEWAY, "the network cannot be reached"),
        4 => (StatusCode::BAD_GATEWAY, "the host cannot be reached"),
        5 => (StatusCode::BAD_GATEWAY, "the connection was refused"),
        6 => (StatusCode::GATEWAY_TIMEOUT, "the host did not answer in time"),
        7 => (StatusCode::BAD_GATEWAY, "it does not know the command"),
        8 => (StatusCode::BAD_GATEWAY, "it does not know this kind of address"),
        _ => return NextHopRefusal::new(StatusCode::BAD_GATEWAY, "it failed").worth_another(),
    };
    NextHopRefusal::new(status, what)
}

fn not_known() -> io::Error {
    NextHopRefusal::new(StatusCode::BAD_GATEWAY, NOT_KNOWN).worth_another().into()
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it does not answer in SOCKS5")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a proxy that says `answers` is sent, and what comes of it: its own bytes behind the answer, or why not.
    async fn talk(destination: &str, password: bool, answers: &[u8]) -> (Vec<u8>, Result<Vec<u8>, String>) {
        let (near, mut far) = tokio::io::duplex(4096);
        far.write_all(answers).await.unwrap();
        let credentials = password.then(|| ("ada".to_owned(), "secret".to_owned()));
        let destination = Destination::parse(destination, None).unwrap();
        let mut sent = Vec::new();
        let result = {
            let asked = async {
                let asked = ask(Box::new(near), &destination, credentials.as_ref()).await;
                match asked {
                    Ok(mut io) => {
                        io.shutdown().await.unwrap();
                        let mut rest = Vec::new();
                        io.read_to_end(&mut rest).await.unwrap();
                        Ok(rest)
                    }
                    Err(error) => Err(error.to_string()),
                }
            };
            let read = async {
                let _ = far.read_to_end(&mut sent).await;
                drop(far);
            };
            // An answer that is not whole waits for ever: the far side says no more once it has read no more.
            tokio::select! {
                biased;
                (result, ()) = async { tokio::join!(asked, read) } => result,
                () = tokio::time::sleep(std::time::Duration::from_secs(1)) => Err("no answer".into()),
            }
        };
        (sent, result)
    }

    #[tokio::test(start_paused = true)]
    async fn a_destination_is_asked_for_as_it_is_named() {
        let open = b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50SSH";
        let check = async |destination: &str, expected: &[u8]| {
            let (sent, result) = talk(destination, false, open).await;
            assert_eq!((&sent[..], result), (&[b"\x05\x01\x00", expected].concat()[..], Ok(b"SSH".to_vec())));
        };
        check("one.example:443", b"\x05\x01\x00\x03\x0bone.example\x01\xbb").await;
        check("9.9.9.9:80", b"\x05\x01\x00\x01\x09\x09\x09\x09\x00\x50").await;
        check("[2620:fe::fe]:80", b"\x05\x01\x00\x04\x26\x20\0\xfe\0\0\0\0\0\0\0\0\0\0\0\xfe\x00\x50").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_is_given_where_it_is_asked_for() {
        let (sent, result) = talk("a:1", true, b"\x05\x02\x01\x00\x05\x00\x00\x03\x02hi\x00\x50x").await;
        assert_eq!(result, Ok(b"x".to_vec()));
        assert_eq!(sent, b"\x05\x02\x00\x02\x01\x03ada\x06secret\x05\x01\x00\x03\x01a\x00\x01");
        let (sent, result) = talk("a:1", true, b"\x05\x00\x05\x00\x00\x04aaaabbbbccccdddd\x00\x50").await;
        assert_eq!(result, Ok(vec![]));
        assert!(!String::from_utf8_lossy(&sent).contains("secret"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_wrong_is_told_apart() {
        let check = async |password, answers: &[u8], expected: &str| {
            let (_, result) = talk("a:1", password, answers).await;
            assert!(result.as_ref().is_err_and(|error| error.contains(expected)), "{answers:?}: {result:?}");
        };
        check(false, b"\x05\xff", NOT_KNOWN).await;
        check(true, b"\x05\x02\x01\x01", NOT_KNOWN).await;
        check(false, b"\x05\x02", "SOCKS5").await;
        check(false, b"\x04\x00", "SOCKS5").await;
        check(false, b"HTTP/1.1 400", "SOCKS5").await;
        check(false, b"\x05\x00\x05\x00\x00\x09", "SOCKS5").await;
        check(false, b"\x05\x00\x05\x00\x01\x01", "SOCKS5").await;
        for (reply, text) in [(1, "failed"), (2, "rules"), (3, "network"), (4, "host"), (5, "refused"), (6, "in time")]
        {
            check(false, &[5, 0, 5, reply, 0, 1, 0, 0, 0, 0, 0, 0], text).await;
        }
        check(false, b"\x05\x00\x05\x00\x00\x01\x7f", "no answer").await;
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd(answers in prop::collection::vec(any::<u8>(), 0..64), password in any::<bool>()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let answers = [b"\x05", &answers[..]].concat();
            let (_, result) = runtime.block_on(talk("one.example:1", password, &answers));
            if let Ok(rest) = result {
                prop_assert!(answers.ends_with(&rest));
            }
        }
    }
}
