//! The messages of SOCKS, byte by byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::destination::{Destination, Host};

pub(super) const VERSION_5: u8 = 5;
pub(super) const VERSION_4: u8 = 4;

/// The longest message: name and password of 255 bytes each.
pub(super) const MAX_MESSAGE: usize = 3 + 2 * 255;

/// A message that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A message and how many bytes it took; `None` where it is not complete.
pub(super) type Parsed<T> = Result<Option<(T, usize)>, Malformed>;

/// How a client of SOCKS5 may authenticate (RFC 1928 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    None,
    Password,
    /// None of those that the client offers.
    Unacceptable,
}

impl Method {
    pub(super) fn answer(self) -> [u8; 2] {
        let method = match self {
            Method::None => 0,
            Method::Password => 2,
            Method::Unacceptable => 0xff,
        };
        [VERSION_5, method]
    }
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Connect(Destination),
    /// Something that can be named and is not served.
    Refused(Reply),
}

/// How a request ended (RFC 1928 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Succeeded,
    Failed,
    NotAllowed,
    HostUnreachable,
    ConnectionRefused,
    TimedOut,
    CommandNotSupported,
    AddressNotSupported,
}

impl Reply {
    /// With an address of zeros: what the proxy connects from is no business of its clients.
    pub(super) fn version_5(self) -> [u8; 10] {
        let code = match self {
            Reply::Succeeded => 0,
            Reply::Failed => 1,
            Reply::NotAllowed => 2,
            Reply::HostUnreachable => 4,
            Reply::ConnectionRefused => 5,
            Reply::TimedOut => 6,
            Reply::CommandNotSupported => 7,
            Reply::AddressNotSupported => 8,
        };
        [VERSION_5, code, 0, 1, 0, 0, 0, 0, 0, 0]
    }

    pub(super) fn version_4(self) -> [u8; 8] {
        let code = if self == Reply::Succeeded { 0x5a } else { 0x5b };
        [0, code, 0, 0, 0, 0, 0, 0]
    }

    /// What the head of the proxy's answer comes to: `Proxy-Status` (RFC 9209) says more than the status.
    pub(super) fn of_answer(head: &[u8]) -> Reply {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        let fields = lines.filter_map(|line| line.split_once(':'));
        let said =
            fields.filter(|(name, _)| name.eq_ignore_ascii_case("proxy-status")).map(|(_, value)| value.trim()).next();
        match (status, said.and_then(|value| value.split_once("error=")).map_or("", |(_, error)| error)) {
            (status, _) if status.starts_with('2') => Reply::Succeeded,
            (_, "dns_error") => Reply::HostUnreachable,
            (_, "connection_refused") => Reply::ConnectionRefused,
            (_, "connection_timeout") | ("504", _) => Reply::TimedOut,
            ("403" | "407", _) => Reply::NotAllowed,
            _ => Reply::Failed,
        }
    }
}

/// The first message of SOCKS5: which methods the client offers; of those the one that is `wanted`.
pub(super) fn greeting(bytes: &[u8], wanted: Method) -> Parsed<Method> {
    let [version, count, rest @ ..] = bytes else { return Ok(None) };
    if *version != VERSION_5 || *count == 0 {
        return Err(Malformed);
    }
    let count = usize::from(*count);
    let Some(methods) = rest.get(..count) else { return Ok(None) };
    let offered = methods.contains(&wanted.answer()[1]);
    Ok(Some((if offered { wanted } else { Method::Unacceptable }, 2 + count)))
}

/// Name and password (RFC 1929 §2).
pub(super) fn login(bytes: &[u8]) -> Parsed<(String, Vec<u8>)> {
    let [version, length, rest @ ..] = bytes else { return Ok(None) };
    if *version != 1 || *length == 0 {
        return Err(Malformed);
    }
    let length = usize::from(*length);
    let Some((name, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    let [password_length, rest @ ..] = rest else { return Ok(None) };
    let password_length = usize::from(*password_length);
    let Some(password) = rest.get(..password_length) else { return Ok(None) };
    // A colon would end the name in `Proxy-Authorization`.
    let name = std::str::from_utf8(name).ok().filter(|name| !name.contains(':')).ok_or(Malformed)?;
    Ok(Some(((name.to_owned(), password.to_vec()), 3 + length + password_length)))
}

/// The request of SOCKS5 (RFC 1928 §4).
pub(super) fn request(bytes: &[u8]) -> Parsed<Command> {
    let [version, command, reserved, kind, rest @ ..] = bytes else { return Ok(None) };
    if *version != VERSION_5 || *reserved != 0 {
        return Err(Malformed);
    }
    let (host, length) = match kind {
        1 => (rest.first_chunk().map(|octets: &[u8; 4]| v4(*octets)), 4),
        4 => (rest.first_chunk().map(|octets: &[u8; 16]| Some(Host::Address(Ipv6Addr::from(*octets).into()))), 16),
        3 => match rest {
            [] => return Ok(None),
            [0, ..] => return Err(Malformed),
            [length, rest @ ..] => (rest.get(..usize::from(*length)).map(name), 1 + usize::from(*length)),
        },
        _ => return Ok(Some((Command::Refused(Reply::AddressNotSupported), bytes.len()))),
    };
    let (Some(host), Some(port)) = (host, rest.get(length..length + 2)) else { return Ok(None) };
    let command = match command {
        1 => connect(host, [port[0], port[1]]),
        2 | 3 => Command::Refused(Reply::CommandNotSupported),
        _ => return Err(Malformed),
    };
    Ok(Some((command, 4 + length + 2)))
}

/// The request of SOCKS4, and of 4a, which has a name behind an address that is none: `0.0.0.x`.
pub(super) fn request_4(bytes: &[u8]) -> Parsed<Command> {
    let [version, command, port_high, port_low, a, b, c, d, rest @ ..] = bytes else { return Ok(None) };
    if *version != VERSION_4 {
        return Err(Malformed);
    }
    let Some((_, user_length)) = text(rest)? else { return Ok(None) };
    let (host, length) = match [*a, *b, *c, *d] {
        [0, 0, 0, 1..=255] => match text(&rest[user_length..])? {
            Some((text, length)) => (name(text), user_length + length),
            None => return Ok(None),
        },
        octets => (v4(octets), user_length),
    };
    let command = match command {
        1 => connect(host, [*port_high, *port_low]),
        2 => Command::Refused(Reply::CommandNotSupported),
        _ => return Err(Malformed),
    };
    Ok(Some((command, 8 + length)))
}

/// A text up to a zero byte, and its length with that.
fn text(bytes: &[u8]) -> Parsed<&[u8]> {
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) if end <= 255 => Ok(Some((&bytes[..end], end + 1))),
        None if bytes.len() <= 255 => Ok(None),
        _ => Err(Malformed),
    }
}

fn v4(octets: [u8; 4]) -> Option<Host> {
    Some(Host::Address(Ipv4Addr::from(octets).into()))
}

/// `None` where it is neither a name nor an address.
fn name(bytes: &[u8]) -> Option<Host> {
    let text = std::str::from_utf8(bytes).ok()?;
    match text.parse::<Ipv6Addr>() {
        Ok(address) => Some(Host::Address(IpAddr::V6(address))),
        Err(_) => text.parse().ok(),
    }
}

fn connect(host: Option<Host>, port: [u8; 2]) -> Command {
    let destination = host.and_then(|host| Destination::new(host, u16::from_be_bytes(port)).ok());
    destination.map_or(Command::Refused(Reply::HostUnreachable), Command::Connect)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn to(text: &str) -> Command {
        Command::Connect(Destination::parse(text, None).unwrap())
    }

    #[test]
    fn greetings_offer_what_is_wanted_or_not() {
        let check = |bytes: &[u8], wanted, expected| assert_eq!(greeting(bytes, wanted), expected, "{bytes:?}");
        check(&[5, 1, 0], Method::None, Ok(Some((Method::None, 3))));
        check(&[5, 2, 0, 2, 9], Method::Password, Ok(Some((Method::Password, 4))));
        check(&[5, 1, 2], Method::None, Ok(Some((Method::Unacceptable, 3))));
        check(&[5, 1, 0], Method::Password, Ok(Some((Method::Unacceptable, 3))));
        check(&[5, 2, 0], Method::None, Ok(None));
        check(&[5], Method::None, Ok(None));
        check(&[5, 0], Method::None, Err(Malformed));
        check(&[4, 1, 0], Method::None, Err(Malformed));
    }

    #[test]
    fn requests_name_a_place() {
        let check = |bytes: &[u8], expected: Parsed<Command>| assert_eq!(request(bytes), expected, "{bytes:?}");
        check(&[5, 1, 0, 1, 9, 9, 9, 9, 1, 187, 7], Ok(Some((to("9.9.9.9:443"), 10))));
        check(b"\x05\x01\x00\x03\x09A.example\x00\x50", Ok(Some((to("a.example:80"), 16))));
        check(b"\x05\x01\x00\x03\x03::1\x00\x50", Ok(Some((to("[::1]:80"), 10))));
        check(b"\x05\x01\x00\x03\x079.9.9.9\x00\x50", Ok(Some((to("9.9.9.9:80"), 14))));
        let mut v6 = vec![5, 1, 0, 4];
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        check(&v6, Ok(None));
        v6.extend([0, 80]);
        check(&v6, Ok(Some((to("[::1]:80"), 22))));
        check(&[5, 2, 0, 1, 9, 9, 9, 9, 1, 187], Ok(Some((Command::Refused(Reply::CommandNotSupported), 10))));
        check(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0], Ok(Some((Command::Refused(Reply::CommandNotSupported), 10))));
        check(&[5, 1, 0, 2, 9], Ok(Some((Command::Refused(Reply::AddressNotSupported), 5))));
        check(&[5, 1, 0, 1, 9, 9, 9, 9, 0, 0], Ok(Some((Command::Refused(Reply::HostUnreachable), 10))));
        for bad in ["a b", "127.1", "0x7f.1", "a\0b", "a:80", "[::1", "\u{e9}", "a/b"] {
            let mut bytes = vec![5, 1, 0, 3, bad.len() as u8];
            bytes.extend(bad.as_bytes());
            bytes.extend([0, 80]);
            let expected = Command::Refused(Reply::HostUnreachable);
            check(&bytes, Ok(Some((expected, bytes.len()))));
        }
        for partial in [
            &b""[..],
            b"\x05",
            b"\x05\x01\x00",
            b"\x05\x01\x00\x03",
            b"\x05\x01\x00\x03\x05abc",
            b"\x05\x01\x00\x03\x01a\x00",
        ] {
            check(partial, Ok(None));
        }
        for bad in [
            &b"\x04\x01\x00\x01"[..],
            b"\x05\x01\x01\x01",
            b"\x05\x00\x00\x01\x01\x01\x01\x01\x00\x50",
            b"\x05\x01\x00\x03\x00\x00\x50",
        ] {
            check(bad, Err(Malformed));
        }
    }

    #[test]
    fn requests_of_the_fourth_version_name_a_place() {
        let check = |bytes: &[u8], expected: Parsed<Command>| assert_eq!(request_4(bytes), expected, "{bytes:?}");
        check(b"\x04\x01\x00\x50\x09\x09\x09\x09me\0", Ok(Some((to("9.9.9.9:80"), 11))));
        check(b"\x04\x01\x00\x50\x00\x00\x00\x01me\0a.example\0", Ok(Some((to("a.example:80"), 21))));
        check(b"\x04\x01\x00\x50\x00\x00\x00\x00\0", Ok(Some((to("0.0.0.0:80"), 9))));
        check(b"\x04\x02\x00\x50\x09\x09\x09\x09\0", Ok(Some((Command::Refused(Reply::CommandNotSupported), 9))));
        check(b"\x04\x01\x00\x50\x00\x00\x00\x01\0\0", Ok(Some((Command::Refused(Reply::HostUnreachable), 10))));
        for partial in [
            &b"\x04\x01\x00\x50\x09\x09\x09"[..],
            b"\x04\x01\x00\x50\x09\x09\x09\x09me",
            b"\x04\x01\x00\x50\x00\x00\x00\x01me\0a",
        ] {
            check(partial, Ok(None));
        }
        check(b"\x04\x03\x00\x50\x09\x09\x09\x09\0", Err(Malformed));
        let long = [&b"\x04\x01\x00\x50\x09\x09\x09\x09"[..], &[b'x'; 256]].concat();
        check(&long, Err(Malformed));
    }

    #[test]
    fn logins_are_a_name_and_a_password() {
        let check = |bytes: &[u8], expected: Parsed<(&str, &str)>| {
            let parsed = login(bytes);
            let parsed = parsed.as_ref().map(|parsed| {
                parsed
                    .as_ref()
                    .map(|((name, password), length)| ((&**name, std::str::from_utf8(password).unwrap()), *length))
            });
            assert_eq!(parsed.map_err(|error| *error), expected, "{bytes:?}");
        };
        check(b"\x01\x03ada\x06secret!", Ok(Some((("ada", "secret"), 12))));
        check(b"\x01\x01a\x00", Ok(Some((("a", ""), 4))));
        for partial in [&b""[..], b"\x01", b"\x01\x03ad", b"\x01\x03ada", b"\x01\x03ada\x06secre"] {
            check(partial, Ok(None));
        }
        for bad in [&b"\x05\x03ada\x01x"[..], b"\x01\x00\x01x", b"\x01\x03a:b\x01x", b"\x01\x01\xff\x01x"] {
            check(bad, Err(Malformed));
        }
    }

    #[test]
    fn answers_of_the_proxy_are_told_in_the_words_of_socks() {
        let check = |head: &str, expected| assert_eq!(Reply::of_answer(head.as_bytes()), expected, "{head}");
        check("HTTP/1.1 200 OK\r\n\r\n", Reply::Succeeded);
        check("HTTP/1.1 502 Bad Gateway\r\nProxy-Status: proxy; error=dns_error\r\n\r\n", Reply::HostUnreachable);
        check(
            "HTTP/1.1 502 Bad Gateway\r\nA: b\r\nproxy-status: proxy; error=connection_refused\r\n\r\n",
            Reply::ConnectionRefused,
        );
        check("HTTP/1.1 504 Gateway Timeout\r\n\r\n", Reply::TimedOut);
        check("HTTP/1.1 403 Forbidden\r\nproxy-status: proxy; error=http_request_denied\r\n\r\n", Reply::NotAllowed);
        check("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Reply::NotAllowed);
        check("HTTP/1.1 500 Internal Server Error\r\n\r\n", Reply::Failed);
        check("", Reply::Failed);
    }

    proptest! {
        /// What is parsed needs no byte more, and none fewer.
        #[test]
        fn a_message_ends_where_it_says(bytes in prop::collection::vec(any::<u8>(), 0..600), version in 0_u8..6) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            if let Ok(Some((_, length))) = request(&bytes) && bytes.get(3).is_some_and(|kind| [1, 3, 4].contains(kind)) {
                prop_assert!(length <= bytes.len());
                prop_assert_eq!(request(&bytes[..length - 1]), Ok(None));
            }
            if let Ok(Some((_, length))) = request_4(&bytes) {
                prop_assert!(length <= bytes.len() && request_4(&bytes[..length - 1]) == Ok(None));
            }
            if let Ok(Some((_, length))) = login(&bytes) {
                prop_assert!(length <= bytes.len() && length <= MAX_MESSAGE && login(&bytes[..length - 1]) == Ok(None));
            }
        }
    }
}
