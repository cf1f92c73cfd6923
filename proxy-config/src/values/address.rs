//! Where to listen and where to connect to.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::host::is_name;
use crate::decode::{Cursor, quote};

/// Where a backend is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Address {
    /// `"127.0.0.1:9001"`, `"[::1]:9001"`.
    Ip(SocketAddr),
    /// `"api.internal:9001"`, a name to resolve; in lower case.
    Name {
        /// The name.
        host: String,
        /// The port, never 0.
        port: u16,
    },
    /// `"unix:/run/api.sock"`, an absolute path.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

pub(crate) fn backend_address(cursor: Cursor<'_>) -> Option<Address> {
    cursor.like("^(unix:/.+|.+:[0-9]{1,5})$").parsed(r#"an address such as "127.0.0.1:9001""#, parse)
}

/// An address of this machine; port 0 lets the system choose.
pub(crate) fn listen_address(cursor: Cursor<'_>) -> Option<SocketAddr> {
    const WHAT: &str = r#"an IP address and port such as "127.0.0.1:8080" or "[::]:8080""#;
    let cursor = cursor.like("^([0-9.]+|\\[[0-9A-Fa-f:.%]+\\]):[0-9]{1,5}$");
    cursor.parsed(WHAT, |text| text.parse().map_err(|_| format!("expected {WHAT}, found {}", quote(text))))
}

fn parse(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return parse_unix(path);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("{} has no port", quote(text)))?;
    let port = parse_port(port)?;
    match text.parse() {
        Ok(address) => Ok(Address::Ip(address)),
        Err(_) if is_name(host) => Ok(Address::Name { host: host.to_ascii_lowercase(), port }),
        Err(_) => Err(malformed(text)),
    }
}

fn malformed(text: &str) -> String {
    format!(r#"expected "host:port", "[IPv6]:port" or "unix:/path", found {}"#, quote(text))
}

fn parse_port(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port @ 1..) if digits => Ok(port),
        _ => Err(format!("expected a port from 1 to 65535, found {}", quote(text))),
    }
}

fn parse_unix(path: &str) -> Result<Address, String> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(format!("expected an absolute path after \"unix:\", found {}", quote(path)));
    }
    socket_path(path).map(Address::Unix)
}

/// The path of a Unix socket.
pub(crate) fn socket_path(path: &str) -> Result<PathBuf, String> {
    // sockaddr_un holds 108 bytes on Linux and 104 on the BSDs, the closing NUL included.
    const LONGEST: usize = 103;
    if !path.starts_with('/') || path.contains('\0') {
        return Err(format!("expected an absolute path, found {}", quote(path)));
    }
    if path.len() > LONGEST {
        return Err(format!("the path of a Unix socket has at most {LONGEST} bytes, this one has {}", path.len()));
    }
    Ok(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_prints_as_it_was_written() {
        for text in ["127.0.0.1:9001", "[::1]:9001", "api.internal:80", "localhost:65535", "unix:/run/api.sock"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("API.internal:80").unwrap().to_string(), "api.internal:80");
    }

    #[test]
    fn refusals() {
        let check = |text, expected: &str| assert_eq!(parse(text), Err(expected.to_owned()));
        check("127.0.0.1", r#""127.0.0.1" has no port"#);
        check("api:http", r#"expected a port from 1 to 65535, found "http""#);
        check("api:", r#"expected a port from 1 to 65535, found """#);
        check("api:+80", r#"expected a port from 1 to 65535, found "+80""#);
        check("127.0.0.1:0", r#"expected a port from 1 to 65535, found "0""#);
        check("127.0.0.1:65536", r#"expected a port from 1 to 65535, found "65536""#);
        check("::1:80", r#"expected "host:port", "[IPv6]:port" or "unix:/path", found "::1:80""#);
        check("1.2.3.400:80", r#"expected "host:port", "[IPv6]:port" or "unix:/path", found "1.2.3.400:80""#);
        check("http://a:80", r#"expected "host:port", "[IPv6]:port" or "unix:/path", found "http://a:80""#);
        check(":80", r#"expected "host:port", "[IPv6]:port" or "unix:/path", found ":80""#);
        check("unix:run/x", r#"expected an absolute path after "unix:", found "run/x""#);
        let long = format!("unix:/{}", "x".repeat(103));
        check(&long, "the path of a Unix socket has at most 103 bytes, this one has 104");
    }
}
