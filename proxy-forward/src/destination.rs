//! Where a client wants to go.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest name that DNS has (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
/// Longest label of one.
const MAX_LABEL: usize = 63;

/// A host and a port, as a client named them, in one spelling: names in lower case and without the dot
/// that ends a fully qualified one, addresses as addresses.
///
/// There is one way to write an address. What a resolver of the system would take for one all the same
/// (`2130706433`, `0x7f.1`, `0177.0.0.1`) is refused, so that no rule is passed by with a spelling.
///
/// ```
/// use proxy_forward::Destination;
///
/// let destination = Destination::parse("Example.COM.:443", None)?;
/// assert_eq!((destination.host().to_string(), destination.port()), ("example.com".into(), 443));
/// assert!(Destination::parse("0x7f000001:80", None).is_err());
/// # Ok::<(), proxy_forward::DestinationError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    host: Host,
    port: u16,
}

/// A name or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, in lower case, without a dot at its end.
    Name(Box<str>),
    /// An address; one of IPv4 mapped into IPv6 stays as it is.
    Address(IpAddr),
}

/// Why a text is no [`Destination`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationError {
    /// Neither a name nor an address.
    #[error("the host is neither a name nor an address")]
    Host,
    /// An address in an unusual spelling, or a name that ends in a number, which no name does.
    #[error("the host is an address in a spelling that is not its own")]
    Spelling,
    /// No port from 1 to 65,535, and none to assume.
    #[error("the port is missing or not a number from 1 to 65535")]
    Port,
}

impl Destination {
    /// The destination in `host:port`, where an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// If it is none; a port may be left out only where there is one to assume.
    pub fn parse(authority: &str, assumed_port: Option<u16>) -> Result<Self, DestinationError> {
        let (host, port) = split(authority)?;
        let port = match port {
            Some(text) => Some(parse_port(text)?),
            None => assumed_port,
        };
        Ok(Destination { host: host.parse()?, port: port.ok_or(DestinationError::Port)? })
    }

    /// A host and a port.
    ///
    /// # Errors
    /// If the port is 0.
    pub fn new(host: Host, port: u16) -> Result<Self, DestinationError> {
        if port == 0 { Err(DestinationError::Port) } else { Ok(Destination { host, port }) }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Host {
    /// The name, where it is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Host::Name(name) => Some(name),
            Host::Address(_) => None,
        }
    }

    /// The address, where it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::Address(address) => Some(*address),
        }
    }
}

impl std::str::FromStr for Host {
    type Err = DestinationError;

    /// An IPv6 address stands in brackets.
    fn from_str(text: &str) -> Result<Self, DestinationError> {
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            return address.map(|address| Host::Address(address.into())).ok_or(DestinationError::Host);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Ok(Host::Address(address.into()));
        }
        if name.len() > MAX_NAME || !name.split('.').all(is_label) {
            return Err(DestinationError::Host);
        }
        // The resolver of the system may read such a text as an address: `127.1`, `0x7f000001`.
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err(DestinationError::Spelling);
        }
        Ok(Host::Name(name.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(address)) => address.fmt(f),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Host and port, the brackets of an IPv6 address with the host.
fn split(authority: &str) -> Result<(&str, Option<&str>), DestinationError> {
    let host_end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']').ok_or(DestinationError::Host)? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(host_end);
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(DestinationError::Host),
    }
}

/// Up to five digits: `u16::from_str` takes a plus sign.
fn parse_port(text: &str) -> Result<u16, DestinationError> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port != 0);
    port.ok_or(DestinationError::Port)
}

/// Letters, digits and dashes, and the underscore of service names.
fn is_label(label: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(legal)
}

/// Whether a label is what `inet_aton` takes for a number: decimal, octal or hexadecimal.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || label.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn destinations_have_one_spelling() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Destination::parse(text, Some(80)).unwrap().to_string(), expected, "{text}");
        };
        check("a", "a:80");
        check("A.b:443", "a.b:443");
        check("a.b.:1", "a.b:1");
        check("127.0.0.1:080", "127.0.0.1:80");
        check("127.0.0.1.", "127.0.0.1:80");
        check("[::1]", "[::1]:80");
        check("[0:0::1]:65535", "[::1]:65535");
        check("_http.3com.com", "_http.3com.com:80");
        check("0x7f.example", "0x7f.example:80");
    }

    #[test]
    fn what_is_no_destination_says_why() {
        use DestinationError::{Host, Port, Spelling};
        let check = |text: &str, expected| assert_eq!(Destination::parse(text, None), Err(expected), "{text:?}");
        for text in ["a", "a:", "a:0", "a:65536", "a:+1", "a:-1", "a: 1", "a:1:2", "a:http", "[::1]"] {
            check(text, Port);
        }
        for text in [
            "",
            ":1",
            ".:1",
            "a..b:1",
            ".a:1",
            "a b:1",
            "u@h:1",
            "%31:1",
            "a/b:1",
            "::1:1",
            "[::1:1",
            "[::1]x:1",
            "[::1%lo]:1",
            "[127.0.0.1]:1",
            "ⓛocalhost:1",
            "127。0。0。1:1",
            "a\\b:1",
            "*:1",
        ] {
            // A colon ends the host: what is behind it is read as a port first.
            let error = Destination::parse(text, None).unwrap_err();
            assert!(error == Host || error == Port && text == "::1:1", "{text:?}: {error:?}");
        }
        check(&format!("{}:1", "a".repeat(64)), Host);
        check(&format!("{}a:1", "a.".repeat(127)), Host);
        for text in
            ["127.1:1", "2130706433:1", "0177.0.0.1:1", "0x7f000001:1", "0X7F.0.0.0x1:1", "127.0.0.01:1", "1.2.3.4.5:1"]
        {
            check(text, Spelling);
        }
    }

    proptest! {
        #[test]
        fn what_parses_prints_as_what_parses_to_the_same(text in "[a-zA-Z0-9.:_\\[\\]-]{0,24}") {
            if let Ok(destination) = Destination::parse(&text, Some(80)) {
                prop_assert_eq!(Destination::parse(&destination.to_string(), None), Ok(destination));
            }
        }
    }
}
