//! TLS towards clients.

use std::path::PathBuf;
use std::time::Duration;

use super::operations::file_path;
use crate::decode::Cursor;
use crate::values::count::at_least_one;
use crate::values::duration::positive_duration;

/// `listeners.<name>.tls`
///
/// Its files are looked at every second while the server runs: what replaces them is used for the next handshake,
/// once it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// `certificates`: the first one serves clients that name no host. Never empty.
    pub certificates: Vec<Certificate>,
    /// `alpn`: protocols to offer, most wanted first; all that are spoken when absent.
    pub alpn: Option<Vec<String>>,
    /// `min_version`: the oldest version that is spoken; 1.2 when absent.
    pub min_version: Option<TlsVersion>,
    /// `unknown_name`: what a client gets that asks for a name without a certificate; the first when absent.
    pub unknown_name: Option<UnknownName>,
    /// `client_auth`: clients are asked for certificates.
    pub client_auth: Option<ClientAuth>,
    /// `handshake_timeout`: how long a handshake may take; longer than zero, 10 s when absent.
    pub handshake_timeout: Option<Duration>,
    /// `max_handshakes`: how many may be under way, others wait; at least 1, 1024 when absent.
    pub max_handshakes: Option<usize>,
    /// `tickets`: whether sessions may be resumed; they may when absent, unless clients show certificates.
    pub tickets: Option<bool>,
    /// `key_log`: a file for the secrets of connections. Whoever can read it reads everything.
    pub key_log: Option<PathBuf>,
}

/// A certificate with its key: `listeners.<name>.tls.certificates[]`, `upstreams.<name>.tls.certificate`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// `cert`: PEM file with the certificate and its chain.
    pub cert: PathBuf,
    /// `key`: PEM file with the private key.
    pub key: PathBuf,
    /// `ocsp`: file with an OCSP response in DER, stapled for clients that ask for one. Of listeners only.
    pub ocsp: Option<PathBuf>,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// `"1.2"`
    Tls12,
    /// `"1.3"`
    Tls13,
}

/// What a client gets that asks for a name without a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownName {
    /// `"first"`: the first certificate.
    First,
    /// `"refuse"`: no connection.
    Refuse,
}

/// `listeners.<name>.tls.client_auth`: certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientAuth {
    /// `ca`: PEM file with the authorities that they must be from.
    pub ca: PathBuf,
    /// `crl`: PEM files with revocation lists, one or an array of them.
    pub crl: Vec<PathBuf>,
    /// `required`: whether clients without one are refused; they are when absent.
    pub required: Option<bool>,
    /// `forward`: whether backends are told, by `Client-Cert`, `X-Client-Cert-Fingerprint` and
    /// `X-Client-Cert-Names`; what clients say there is removed.
    pub forward: Option<bool>,
}

/// What an error asks for.
const FILE: &str = "the path of a PEM file";

pub(super) fn tls(cursor: Cursor<'_>) -> Option<Tls> {
    const WHAT: &str = r#"an array of {"cert": …, "key": …}"#;
    cursor.object("an object", |fields| {
        let certificates = fields.required("certificates", WHAT, |cursor| cursor.non_empty_list(WHAT, stapled));
        let alpn = fields.optional("alpn", |cursor| cursor.non_empty_list("an array of protocol names", protocol));
        let min_version = fields.optional("min_version", version);
        let unknown_name = fields.optional("unknown_name", unknown_name);
        let client_auth = fields.optional("client_auth", client_auth);
        let handshake_timeout = fields.optional("handshake_timeout", positive_duration);
        let max_handshakes = fields.optional("max_handshakes", at_least_one);
        let tickets = fields.flag("tickets");
        let key_log = fields.optional("key_log", file_path);
        if tickets == Some(true) && client_auth.is_some() {
            fields.object().revisit_key("tickets", |cursor| {
                cursor.fail::<()>("a session that is resumed would go on with a certificate that was revoked since");
            });
        }
        Some(Tls {
            certificates: certificates?,
            alpn,
            min_version,
            unknown_name,
            client_auth,
            handshake_timeout,
            max_handshakes,
            tickets,
            key_log,
        })
    })
}

fn stapled(cursor: Cursor<'_>) -> Option<Certificate> {
    cursor.object(r#"an object {"cert": …, "key": …}"#, |fields| {
        let cert = fields.required("cert", FILE, file_path);
        let key = fields.required("key", FILE, file_path);
        let ocsp = fields.optional("ocsp", file_path);
        Some(Certificate { cert: cert?, key: key?, ocsp })
    })
}

/// One that is shown to backends.
pub(super) fn certificate(cursor: Cursor<'_>) -> Option<Certificate> {
    cursor.object(r#"an object {"cert": …, "key": …}"#, |fields| {
        let cert = fields.required("cert", FILE, file_path);
        let key = fields.required("key", FILE, file_path);
        Some(Certificate { cert: cert?, key: key?, ocsp: None })
    })
}

/// RFC 7301 §3.1: an identifier has 1 to 255 bytes.
pub(super) fn protocol(cursor: Cursor<'_>) -> Option<String> {
    match cursor.string(r#"a protocol name such as "h2""#)? {
        name if (1..=255).contains(&name.len()) => Some(name.to_owned()),
        _ => cursor.fail("a protocol name has 1 to 255 bytes"),
    }
}

pub(super) fn version(cursor: Cursor<'_>) -> Option<TlsVersion> {
    cursor.tagged(
        "version of TLS",
        &[("1.2", |settings| settings.none(TlsVersion::Tls12)), ("1.3", |settings| settings.none(TlsVersion::Tls13))],
    )
}

fn unknown_name(cursor: Cursor<'_>) -> Option<UnknownName> {
    cursor.tagged(
        "way with unknown names",
        &[
            ("first", |settings| settings.none(UnknownName::First)),
            ("refuse", |settings| settings.none(UnknownName::Refuse)),
        ],
    )
}

fn client_auth(cursor: Cursor<'_>) -> Option<ClientAuth> {
    cursor.object("an object", |fields| {
        let ca = fields.required("ca", FILE, file_path);
        let crl = fields.optional("crl", files).unwrap_or_default();
        let (required, forward) = (fields.flag("required"), fields.flag("forward"));
        Some(ClientAuth { ca: ca?, crl, required, forward })
    })
}

fn files(cursor: Cursor<'_>) -> Option<Vec<PathBuf>> {
    match cursor.is_array() {
        true => cursor.non_empty_list("an array of paths of PEM files", file_path),
        false => file_path(cursor).map(|path| vec![path]),
    }
}
