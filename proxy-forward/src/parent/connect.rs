//! A tunnel by a proxy that speaks HTTP (RFC 9110 §9.3.6).

use std::io;

use http::StatusCode;
use proxy_core::{Io, NextHopRefusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ahead::unread;
use crate::destination::Destination;

/// Of its answer. Some proxies explain themselves at length.
const MAX_HEAD: usize = 16 * 1024;

pub(super) const NOT_KNOWN: &str = "it does not know our name and password";

/// Asks for a tunnel to `destination`.
pub(super) async fn ask(
    mut io: Box<dyn Io>,
    destination: &Destination,
    authorization: Option<&str>,
) -> io::Result<Box<dyn Io>> {
    let authorization = authorization.map(|value| format!("Proxy-Authorization: {value}\r\n")).unwrap_or_default();
    let head = format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n{authorization}\r\n");
    io.write_all(head.as_bytes()).await?;
    io.flush().await?;
    let mut answer = Vec::new();
    loop {
        if io.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match status(&answer)? {
            None => {}
            // Its answer has no body, whatever the head says.
            Some((200..=299, length)) => return Ok(unread(io, answer.split_off(length))),
            Some((code, _)) => return Err(refusal(code).into()),
        }
    }
}

/// Status and length of the head, once that is whole.
fn status(bytes: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "it does not answer in HTTP");
    let start = b"HTTP/1.";
    let known = bytes.len().min(start.len());
    if bytes[..known] != start[..known] {
        return Err(malformed());
    }
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() < MAX_HEAD { Ok(None) } else { Err(malformed()) };
    };
    // The version's digit, a space, three digits and an end.
    match &bytes[start.len()..end] {
        [b'0' | b'1', b' ', code @ ..] => {
            let (code, rest) = code.split_at_checked(3).ok_or_else(malformed)?;
            let digits = code.iter().all(u8::is_ascii_digit) && matches!(rest, [] | [b' ' | b'\r', ..]);
            let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit.wrapping_sub(b'0')));
            // A tunnel that is not yet there (1xx) is none, and nothing asked for one.
            if digits && (200..600).contains(&code) { Ok(Some((code, end + 4))) } else { Err(malformed()) }
        }
        _ => Err(malformed()),
    }
}

/// What the client is told. Another proxy may do better where this one did badly itself; but some say 500 or 503 of
/// destinations as well (tinyproxy, Squid), so that it is not held against this one.
fn refusal(code: u16) -> NextHopRefusal {
    let refusal = |status| NextHopRefusal::new(status, format!("it answered CONNECT with {code}"));
    match code {
        // Tinyproxy says 401 of a password that is wrong.
        401 | 407 => NextHopRefusal::new(StatusCode::BAD_GATEWAY, NOT_KNOWN).worth_another(),
        403 => refusal(StatusCode::FORBIDDEN),
        504 => refusal(StatusCode::GATEWAY_TIMEOUT),
        500 | 503 => refusal(StatusCode::BAD_GATEWAY).worth_another(),
        _ => refusal(StatusCode::BAD_GATEWAY),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_read_to_the_end_of_their_head() {
        let check = |text: &str, expected: Result<Option<(u16, usize)>, ()>| {
            assert_eq!(status(text.as_bytes()).map_err(drop), expected, "{text:?}");
        };
        check("", Ok(None));
        check("HTT", Ok(None));
        check("HTTP/1.1 200 OK\r\n", Ok(None));
        check("HTTP/1.1 200 OK\r\n\r\n", Ok(Some((200, 19))));
        check("HTTP/1.0 200\r\n\r\nSSH-2.0", Ok(Some((200, 16))));
        check("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nhello", Ok(Some((403, 38))));
        for bad in [
            "S",
            "HTTP/2",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 +20 OK\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 999 ?\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 \r\n\r\n",
        ] {
            check(bad, Err(()));
        }
        assert!(status(format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(MAX_HEAD)).as_bytes()).is_err());
    }

    #[test]
    fn what_is_said_of_a_destination_is_passed_on() {
        for (code, status) in
            [(401, 502), (403, 403), (404, 502), (407, 502), (500, 502), (502, 502), (503, 502), (504, 504)]
        {
            assert_eq!(refusal(code).status(), status, "{code}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..64), start in any::<bool>()) {
            let answer = if start { [b"HTTP/1.1 ", &bytes[..]].concat() } else { bytes };
            if let Ok(Some((code, length))) = status(&answer) {
                prop_assert!((200..600).contains(&code) && length <= answer.len());
                prop_assert_eq!(status(&answer[..length]).unwrap(), Some((code, length)));
                prop_assert_eq!(status(&answer[..length - 1]).unwrap(), None);
            }
        }
    }
}
