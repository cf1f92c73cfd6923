//! TLS towards backends.

use std::path::PathBuf;

use super::operations::file_path;
use super::tls::{Certificate, TlsVersion, certificate, version};
use crate::decode::{Cursor, quote};

/// `upstreams.<name>.tls`: backends are spoken to over TLS, by traffic and by health checks.
///
/// Its files are looked at every second while the server runs: what replaces them is used for the next connection,
/// once it is good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamTls {
    /// `server_name`: the name to ask for and to verify; the backend's, as its address has it, when absent.
    pub server_name: Option<String>,
    /// `ca`: PEM file with the authorities to trust; those of the system when absent.
    pub ca: Option<PathBuf>,
    /// `certificate`: shown to backends that ask for one.
    pub certificate: Option<Certificate>,
    /// `pins`: SHA-256 of public keys (SPKI), in hexadecimal; a backend must have one of them, besides everything
    /// else. All are taken when absent.
    pub pins: Vec<String>,
    /// `min_version`: the oldest version that is spoken; 1.2 when absent.
    pub min_version: Option<TlsVersion>,
    /// `insecure`: verifies neither authority nor name nor date. Pins hold all the same.
    pub insecure: bool,
}

pub(super) fn upstream_tls(cursor: Cursor<'_>) -> Option<UpstreamTls> {
    cursor.object("an object; {} verifies backends by the system's authorities", |fields| {
        let server_name = fields.optional("server_name", server_name);
        let ca = fields.optional("ca", file_path);
        let certificate = fields.optional("certificate", certificate);
        let pins = fields.optional("pins", |cursor| cursor.non_empty_list("an array of SHA-256 in hexadecimal", pin));
        let min_version = fields.optional("min_version", version);
        let insecure = fields.flag("insecure").unwrap_or(false);
        if insecure && ca.is_some() {
            fields.object().revisit_key("insecure", |cursor| {
                cursor.fail::<()>("\"ca\" would not be looked at; give one of the two");
            });
        }
        Some(UpstreamTls { server_name, ca, certificate, pins: pins.unwrap_or_default(), min_version, insecure })
    })
}

fn server_name(cursor: Cursor<'_>) -> Option<String> {
    const WHAT: &str = r#"a name such as "api.internal", or an IP address"#;
    cursor.parsed(WHAT, |text| match proxy_core::tls::ClientTls::builder().server_name(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("expected {WHAT}, found {}", quote(text))),
    })
}

fn pin(cursor: Cursor<'_>) -> Option<String> {
    cursor.parsed("64 hexadecimal digits", |text| {
        let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_digest {
            Ok(text.to_owned())
        } else {
            Err(format!("expected 64 hexadecimal digits, found {}", quote(text)))
        }
    })
}
