//! The certificates of a listener.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Certificate, TlsError, TlsErrorKind};

/// What a client gets that asks for a name which no certificate is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownName {
    /// The first certificate, as do clients that name nothing.
    #[default]
    First,
    /// A refused handshake (`access_denied`, as rustls says it).
    Refuse,
}

/// The certificates of a listener, by name. A handle: what is [replaced](Self::replace) through one is
/// replaced for all, for handshakes from then on.
///
/// A client gets the certificate for exactly the name it asks for (SNI), else the one whose wildcard
/// fits, else the first. Several for the same name, an ECDSA and an RSA one, go by what the client can verify.
#[derive(Clone)]
pub struct Certificates {
    table: Arc<ArcSwap<Table>>,
}

/// Certificates for the same name, those that sign fastest first.
type Group = Vec<Certificate>;

struct Table {
    exact: HashMap<Box<str>, Group>,
    /// By what is behind the star.
    wildcard: HashMap<Box<str>, Group>,
    first: Group,
}

impl Certificates {
    /// A set of certificates.
    ///
    /// # Errors
    /// If there is none.
    pub fn new(certificates: impl IntoIterator<Item = Certificate>) -> Result<Self, TlsError> {
        let table = Table::new(&certificates.into_iter().collect::<Vec<_>>())?;
        Ok(Certificates { table: Arc::new(ArcSwap::from_pointee(table)) })
    }

    /// Puts others in their place. Open connections are not touched, and sessions can still be resumed.
    ///
    /// # Errors
    /// If there is none: the present ones stay.
    pub fn replace(&self, certificates: impl IntoIterator<Item = Certificate>) -> Result<(), TlsError> {
        self.table.store(Arc::new(Table::new(&certificates.into_iter().collect::<Vec<_>>())?));
        Ok(())
    }

    /// What a client that asks for this name, or for none, gets.
    pub(super) fn find(&self, name: Option<&str>) -> Option<Certificate> {
        self.table.load().group(name, UnknownName::First)?.first().cloned()
    }
}

impl Table {
    fn new(certificates: &[Certificate]) -> Result<Self, TlsError> {
        let Some(first) = certificates.first().cloned() else {
            return Err(TlsError::new(TlsErrorKind::NoCertificate, "no certificate"));
        };
        let mut table = Table { exact: HashMap::new(), wildcard: HashMap::new(), first: vec![first.clone()] };
        // The first one's siblings, for clients that cannot verify it.
        let siblings = certificates[1..].iter().filter(|other| first.names().eq(other.names()));
        table.first.extend(siblings.cloned());
        for certificate in certificates {
            for name in certificate.names() {
                let (names, key) = match name.strip_prefix('*') {
                    Some(suffix) => (&mut table.wildcard, suffix),
                    None => (&mut table.exact, name),
                };
                names.entry(key.into()).or_default().push(certificate.clone());
            }
        }
        let groups = table.exact.values_mut().chain(table.wildcard.values_mut()).chain([&mut table.first]);
        groups.for_each(|group| group.sort_by_key(cost));
        Ok(table)
    }

    fn group(&self, name: Option<&str>, unknown: UnknownName) -> Option<&Group> {
        let Some(name) = name else { return Some(&self.first) };
        let lower = name.to_ascii_lowercase();
        let wildcard = || self.wildcard.get(&lower[lower.find('.')?..]);
        let known = self.exact.get(&*lower).or_else(wildcard);
        known.or((unknown == UnknownName::First).then_some(&self.first))
    }
}

/// An RSA signature takes many times what the others do.
fn cost(certificate: &Certificate) -> bool {
    certificate.key().key.algorithm() == rustls::SignatureAlgorithm::RSA
}

/// Chooses for a handshake.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) certificates: Certificates,
    pub(super) unknown: UnknownName,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.certificates.table.load();
        let group = table.group(hello.server_name(), self.unknown)?;
        let verifiable = |certificate: &&Certificate| can_verify(certificate, hello.signature_schemes());
        // Where the client can verify none, the handshake says so better than we could.
        group.iter().find(verifiable).or(group.first()).map(|certificate| Arc::clone(certificate.key()))
    }
}

fn can_verify(certificate: &Certificate, schemes: &[SignatureScheme]) -> bool {
    certificate.key().key.choose_scheme(schemes).is_some()
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("first", &self.table.load().first).finish_non_exhaustive()
    }
}
