//! Where a backend listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a backend listens.
///
/// ```
/// use proxy_core::Address;
///
/// assert!(matches!("127.0.0.1:80".parse(), Ok(Address::Tcp(_))));
/// assert!(matches!("api.internal:80".parse(), Ok(Address::Name(_, 80))));
/// assert!(matches!("unix:/run/api.sock".parse(), Ok(Address::Unix(_))));
/// assert!("api.internal".parse::<Address>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A name, resolved at each connect, and a port.
    Name(String, u16),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// The text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not HOST:PORT or unix:/PATH")]
pub struct ParseAddressError(String);

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseAddressError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(error()) } else { Ok(Address::Unix(path.into())) };
        }
        if let Ok(address) = text.parse() {
            return Ok(Address::Tcp(address));
        }
        let (name, port) = text.rsplit_once(':').ok_or_else(error)?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        // A last label of digits is a mistyped IP address, never a name (RFC 3696 §2).
        let mistyped = name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
        match port.parse() {
            Ok(port) if !name.is_empty() && name.len() <= 253 && name.bytes().all(legal) && !mistyped => {
                Ok(Address::Name(name.to_owned(), port))
            }
            _ => Err(error()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Tcp(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Name(name, port) => write!(f, "{name}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_addresses_are_refused() {
        for text in [
            "",
            ":80",
            "a",
            "a:",
            "a:65536",
            "a:-1",
            "a b:80",
            "1.2.3:80",
            "1.2.3.400:80",
            "unix:",
            "http://a:80",
            "[::1]",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn addresses_print_as_they_are_written() {
        for text in ["127.0.0.1:80", "[::1]:80", "a-b.c:1", "unix:/run/x"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }
}
