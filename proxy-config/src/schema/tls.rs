//! TLS towards clients.

use std::path::PathBuf;

use super::operations::file_path;
use crate::decode::Cursor;

/// `listeners.<name>.tls`
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// `certificates`: the first one serves clients that name no host. Never empty.
    pub certificates: Vec<Certificate>,
    /// `alpn`: protocols to offer, most wanted first.
    pub alpn: Option<Vec<String>>,
}

/// `listeners.<name>.tls.certificates[]`
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// `cert`: PEM file with the certificate and its chain.
    pub cert: PathBuf,
    /// `key`: PEM file with the private key.
    pub key: PathBuf,
}

pub(super) fn tls(cursor: Cursor<'_>) -> Option<Tls> {
    const WHAT: &str = r#"an array of {"cert": …, "key": …}"#;
    cursor.object("an object", |fields| {
        let certificates = fields.required("certificates", WHAT, |cursor| cursor.non_empty_list(WHAT, certificate));
        let alpn = fields.optional("alpn", |cursor| cursor.non_empty_list("an array of protocol names", protocol));
        Some(Tls { certificates: certificates?, alpn })
    })
}

fn certificate(cursor: Cursor<'_>) -> Option<Certificate> {
    cursor.object(r#"an object {"cert": …, "key": …}"#, |fields| {
        let cert = fields.required("cert", "the path of a PEM file", file_path);
        let key = fields.required("key", "the path of a PEM file", file_path);
        Some(Certificate { cert: cert?, key: key? })
    })
}

/// RFC 7301 §3.1: an identifier has 1 to 255 bytes.
pub(super) fn protocol(cursor: Cursor<'_>) -> Option<String> {
    match cursor.string(r#"a protocol name such as "h2""#)? {
        name if (1..=255).contains(&name.len()) => Some(name.to_owned()),
        _ => cursor.fail("a protocol name has 1 to 255 bytes"),
    }
}
