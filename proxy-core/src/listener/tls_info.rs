//! What a handshake agreed on.

use std::sync::Arc;

/// What a TLS handshake with a client agreed on; [`Peer::tls`](crate::Peer::tls) has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The name the client asked for (SNI), in lower case.
    pub server_name: Option<Box<str>>,
    /// The names of the certificate the client was shown, a wildcard as `*.example.com`.
    pub names: Arc<[Box<str>]>,
    /// The protocol that was agreed on (ALPN), such as `h2`.
    pub alpn: Option<Box<[u8]>>,
    /// The version, as `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, as `TLS13_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The certificate the client showed, where it was asked for one. It has been verified.
    pub client: Option<ClientCertificate>,
}

/// A client's certificate, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCertificate {
    /// The certificate itself, in DER.
    pub der: Arc<[u8]>,
    /// Its DNS names, in lower case.
    pub dns_names: Vec<Box<str>>,
    /// Its URIs, such as `spiffe://…`.
    pub uris: Vec<Box<str>>,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: Box<str>,
}

impl TlsInfo {
    /// Whether the certificate the client was shown is for this host, which may have a port. A client
    /// that named no host is not held to one.
    pub fn covers(&self, host: &str) -> bool {
        let Some(asked) = &self.server_name else { return true };
        let host = without_port(host);
        asked.eq_ignore_ascii_case(host) || self.names.iter().any(|name| fits(name, host))
    }
}

/// Whether a certificate's name is for a host; a star stands for one label (RFC 9525 §6.3).
fn fits(name: &str, host: &str) -> bool {
    let Some(suffix) = name.strip_prefix('*') else { return name.eq_ignore_ascii_case(host) };
    let label = host.len().checked_sub(suffix.len()).and_then(|length| host.split_at_checked(length));
    label.is_some_and(|(label, rest)| rest.eq_ignore_ascii_case(suffix) && !label.is_empty() && !label.contains('.'))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_covers_its_names_and_what_was_asked_for() {
        let info = TlsInfo {
            server_name: Some("asked.example".into()),
            names: ["a.example".into(), "*.b.example".into()].into(),
            ..TlsInfo::default()
        };
        for host in ["asked.example", "a.example:8443", "A.Example", "x.b.example", "X.B.Example:1"] {
            assert!(info.covers(host), "{host}");
        }
        for host in ["b.example", "x.y.b.example", ".b.example", "c.example", "ä.example", ""] {
            assert!(!info.covers(host), "{host}");
        }
        assert!(TlsInfo::default().covers("any"), "nothing was asked for");
    }
}
