//! One certificate.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::InconsistentKeys;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use webpki::{EndEntityCert, KeyUsage};

use super::{TlsError, TlsErrorKind, provider};

/// A certificate with its chain and its private key, checked when it is loaded: the key belongs to it,
/// nothing has expired, and each certificate was issued by the one behind it.
///
/// Cheap to clone. RSA, ECDSA and Ed25519 keys are taken, in PKCS #8, PKCS #1 or SEC 1.
#[derive(Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Arc<[Box<str>]>,
}

impl Certificate {
    /// Reads a chain, the server's own certificate first, and its key from PEM files. They may be one file.
    ///
    /// # Errors
    /// If a file cannot be read, or as for [`from_pem`](Self::from_pem); the error names the file.
    pub fn load(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        let (chain_path, key_path) = (chain.as_ref(), key.as_ref());
        let chain = parse_chain(&read(chain_path)?).map_err(|error| error.within(chain_path))?;
        let key = parse_key(&read(key_path)?).map_err(|error| error.within(key_path))?;
        Self::new(chain, key, SystemTime::now()).map_err(|error| match error.kind() {
            TlsErrorKind::Key | TlsErrorKind::KeyMismatch => error.within(key_path),
            _ => error.within(chain_path),
        })
    }

    /// The same from PEM text.
    ///
    /// # Errors
    /// If there is no certificate or no key, one is malformed, they do not belong together, a
    /// certificate is not valid now, or the chain is out of order.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::new(parse_chain(chain)?, parse_key(key)?, SystemTime::now())
    }

    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        check_chain(&chain, now)?;
        let names = names(&chain[0])?;
        let key = CertifiedKey::from_der(chain, key, provider()).map_err(of_key)?;
        Ok(Certificate { key: Arc::new(key), names })
    }

    /// With this OCSP response, in DER, stapled for clients that ask for one.
    #[must_use]
    pub fn with_ocsp(mut self, response: Vec<u8>) -> Self {
        Arc::make_mut(&mut self.key).ocsp = Some(response);
        self
    }

    /// The same from a file.
    ///
    /// # Errors
    /// If it cannot be read, or holds no successful OCSP response in DER; the error names the file.
    pub fn with_ocsp_file(self, path: impl AsRef<Path>) -> Result<Self, TlsError> {
        let path = path.as_ref();
        let response = read(path)?;
        match is_ocsp_response(&response) {
            true => Ok(self.with_ocsp(response)),
            false => {
                let text = "no successful OCSP response in DER";
                Err(TlsError::new(TlsErrorKind::Certificate, text).within(path))
            }
        }
    }

    /// The DNS names it is for, in lower case; a wildcard as `*.example.com`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    pub(super) fn all_names(&self) -> &Arc<[Box<str>]> {
        &self.names
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::new(TlsErrorKind::File, error.to_string()).within(path))
}

/// Whether it begins as RFC 6960 §4.2.1 says: a sequence, whose first element is the status `successful`.
fn is_ocsp_response(der: &[u8]) -> bool {
    const SUCCESSFUL: [u8; 3] = [0x0a, 1, 0];
    let Some((0x30, rest)) = der.split_first().map(|(tag, rest)| (*tag, rest)) else { return false };
    let Some((length, rest)) = rest.split_first() else { return false };
    // In the long form (X.690 §8.1.3.5) the length follows, in so many bytes.
    let follow = if *length < 0x80 { 0 } else { usize::from(*length & 0x7f) };
    rest.get(follow..).is_some_and(|content| content.starts_with(&SUCCESSFUL))
}

/// Every certificate in a PEM text.
pub(super) fn parse_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::new(TlsErrorKind::Pem, "malformed PEM").because(error))?;
    match chain.is_empty() {
        true => Err(TlsError::new(TlsErrorKind::Pem, "no certificate: a section `BEGIN CERTIFICATE` is expected")),
        false => Ok(chain),
    }
}

fn parse_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    use rustls::pki_types::pem::Error;
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        Error::NoItemsFound => {
            TlsError::new(TlsErrorKind::Pem, "no private key: an unencrypted section `BEGIN PRIVATE KEY` is expected")
        }
        error => TlsError::new(TlsErrorKind::Pem, "malformed PEM").because(error),
    })
}

fn check_chain(chain: &[CertificateDer<'_>], now: SystemTime) -> Result<(), TlsError> {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let parsed: Vec<_> = chain
        .iter()
        .enumerate()
        .map(|(index, der)| EndEntityCert::try_from(der).map_err(|error| malformed(index, error)))
        .collect::<Result<_, _>>()?;
    for (index, certificate) in parsed.iter().enumerate() {
        check_validity(certificate, UnixTime::since_unix_epoch(since)).map_err(|kind| {
            let text = match kind {
                TlsErrorKind::Expired => "has expired",
                _ => "is not valid yet",
            };
            TlsError::new(kind, format!("{} {text}", place(index)))
        })?;
    }
    for (index, pair) in parsed.windows(2).enumerate() {
        if pair[0].issuer() != pair[1].subject() {
            let text = format!("{} was not issued by {}", place(index), place(index + 1));
            return Err(TlsError::new(TlsErrorKind::ChainOrder, text));
        }
    }
    Ok(())
}

/// Asks for a path to no anchor at all: the validity is looked at first, and everything else fails.
fn check_validity(certificate: &EndEntityCert<'_>, now: UnixTime) -> Result<(), TlsErrorKind> {
    let usage = KeyUsage::server_auth();
    match certificate.verify_for_usage(&[], &[], &[], now, usage, None, None) {
        Err(webpki::Error::CertExpired { .. }) => Err(TlsErrorKind::Expired),
        Err(webpki::Error::CertNotValidYet { .. }) => Err(TlsErrorKind::NotYetValid),
        _ => Ok(()),
    }
}

fn place(index: usize) -> String {
    match index {
        0 => "the certificate".to_owned(),
        _ => format!("certificate {} of the chain", index + 1),
    }
}

fn malformed(index: usize, error: webpki::Error) -> TlsError {
    TlsError::new(TlsErrorKind::Certificate, format!("{} is malformed", place(index))).because(error)
}

fn names(certificate: &CertificateDer<'_>) -> Result<Arc<[Box<str>]>, TlsError> {
    let parsed = EndEntityCert::try_from(certificate).map_err(|error| malformed(0, error))?;
    Ok(parsed.valid_dns_names().map(|name| name.to_ascii_lowercase().into_boxed_str()).collect())
}

fn of_key(error: rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::new(TlsErrorKind::KeyMismatch, "the private key belongs to another certificate")
        }
        error => TlsError::new(TlsErrorKind::Key, "the private key cannot be used").because(error),
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}
