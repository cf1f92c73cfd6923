//! Certificates of clients.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::certificate::{parse_chain, read};
use super::{TlsError, TlsErrorKind, provider};

/// Asks clients for certificates (mutual TLS). What a client showed is
/// [`TlsInfo::client`](crate::TlsInfo::client).
///
/// ```
/// # fn run(ca: &[u8]) -> Result<(), proxy_core::tls::TlsError> {
/// use proxy_core::tls::ClientAuth;
///
/// let auth = ClientAuth::required(ca)?;
/// # let _ = auth;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClientAuth {
    roots: Arc<RootCertStore>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    optional: bool,
}

impl ClientAuth {
    /// Refuses clients without a certificate from one of these authorities, which are PEM text.
    ///
    /// # Errors
    /// If there is no authority in it, or one is malformed.
    pub fn required(authorities: &[u8]) -> Result<Self, TlsError> {
        Ok(ClientAuth { roots: Arc::new(roots(authorities)?), crls: Vec::new(), optional: false })
    }

    /// The same, but clients may show none. One that they show must be good.
    ///
    /// # Errors
    /// As for [`required`](Self::required).
    pub fn optional(authorities: &[u8]) -> Result<Self, TlsError> {
        Ok(ClientAuth { optional: true, ..Self::required(authorities)? })
    }

    /// The same as [`required`](Self::required) from a file.
    ///
    /// # Errors
    /// If it cannot be read, or as there; the error names the file.
    pub fn required_from(authorities: impl AsRef<Path>) -> Result<Self, TlsError> {
        let path = authorities.as_ref();
        Self::required(&read(path)?).map_err(|error| error.within(path))
    }

    /// The same as [`optional`](Self::optional) from a file.
    ///
    /// # Errors
    /// If it cannot be read, or as there; the error names the file.
    pub fn optional_from(authorities: impl AsRef<Path>) -> Result<Self, TlsError> {
        Ok(ClientAuth { optional: true, ..Self::required_from(authorities)? })
    }

    /// With certificate revocation lists, in PEM, by the authorities. Certificates of authorities without a
    /// list are taken as not revoked.
    ///
    /// # Errors
    /// If there is none in it, or one is malformed.
    pub fn with_crls(mut self, lists: &[u8]) -> Result<Self, TlsError> {
        let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(lists)
            .collect::<Result<_, _>>()
            .map_err(|error| TlsError::new(TlsErrorKind::Pem, "malformed PEM").because(error))?;
        if lists.is_empty() {
            return Err(TlsError::new(
                TlsErrorKind::Trust,
                "no revocation list: a section `BEGIN X509 CRL` is expected",
            ));
        }
        self.crls.extend(lists);
        Ok(self)
    }

    /// The same from a file.
    ///
    /// # Errors
    /// If it cannot be read, or as for [`with_crls`](Self::with_crls); the error names the file.
    pub fn with_crl_file(self, lists: impl AsRef<Path>) -> Result<Self, TlsError> {
        let path = lists.as_ref();
        self.with_crls(&read(path)?).map_err(|error| error.within(path))
    }

    pub(super) fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(provider()));
        let builder = match self.crls.is_empty() {
            true => builder,
            false => builder.with_crls(self.crls.clone()).allow_unknown_revocation_status(),
        };
        let builder = if self.optional { builder.allow_unauthenticated() } else { builder };
        let unusable =
            |error| TlsError::new(TlsErrorKind::Trust, "the authorities of clients cannot be used").because(error);
        builder.build().map_err(unusable)
    }
}

/// The authorities in a PEM text.
pub(super) fn roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for authority in parse_chain(pem)? {
        let unusable = |error| TlsError::new(TlsErrorKind::Trust, "an authority is malformed").because(error);
        store.add(authority).map_err(unusable)?;
    }
    Ok(store)
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuth")
            .field("authorities", &self.roots.len())
            .field("crls", &self.crls.len())
            .field("optional", &self.optional)
            .finish()
    }
}
