//! TLS towards backends.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::certificate::read;
use super::client_auth::roots;
use super::verifier::{Anybody, Pinned};
use super::{Certificate, TlsError, TlsErrorKind, TlsStream, TlsVersion, provider};
use crate::{Address, ClientHandshake, Io, Protocol, Target};

/// How backends are spoken to over TLS: a cheap handle, taken by
/// [`ClusterBuilder::tls`](crate::ClusterBuilder::tls).
///
/// Two of them never share a connection, however alike they are; clones of one do.
///
/// ```
/// # fn run(ca: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// use proxy_core::Cluster;
/// use proxy_core::tls::ClientTls;
///
/// let tls = ClientTls::builder().authorities(ca)?.server_name("api.internal")?.build()?;
/// # let selector = proxy_core::selector_fn(|candidates, _| candidates.at(0).cloned());
/// let cluster = Cluster::builder(selector).backend("10.0.0.1:8443".parse()?).tls(tls).build();
/// # let _ = cluster;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClientTls(Arc<ArcSwap<Settings>>);

struct Settings {
    /// By what is to be spoken: HTTP/1, HTTP/2, or whichever the backend wants.
    configs: [Arc<ClientConfig>; 3],
    name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// Starts with the authorities the system trusts, each backend's address as its name, and no client certificate.
    pub fn builder() -> ClientTlsBuilder {
        ClientTlsBuilder::default()
    }

    /// Puts the settings of `other` in place of these, for connections that are made from now on: a certificate
    /// that was renewed, say. Those that are open stay, and are used on.
    pub fn replace(&self, other: &ClientTls) {
        self.0.store(other.0.load_full());
    }

    #[cfg(test)]
    pub(super) fn only_tls12(&mut self) {
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap().dangerous();
        let config = builder.with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth();
        let name = self.0.load().name.clone();
        self.0.store(Arc::new(Settings { configs: by_protocol(&config), name }));
    }
}

/// The same settings for each protocol, over one store of sessions.
fn by_protocol(config: &ClientConfig) -> [Arc<ClientConfig>; 3] {
    let offers: [&[&[u8]]; 3] = [&[b"http/1.1"], &[b"h2"], &[b"h2", b"http/1.1"]];
    offers.map(|names| {
        let mut config = config.clone();
        config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    })
}

impl Settings {
    fn config_for(&self, protocol: Protocol) -> &Arc<ClientConfig> {
        &self.configs[match protocol {
            Protocol::Http1 | Protocol::Raw => 0,
            Protocol::Http2 => 1,
            Protocol::Negotiated => 2,
        }]
    }

    /// Whom the backend must be.
    fn name_of(&self, target: &Target) -> io::Result<ServerName<'static>> {
        let unnamed = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        match (&self.name, target.backend().address()) {
            (Some(name), _) => Ok(name.clone()),
            (None, Address::Tcp(address)) => Ok(ServerName::IpAddress(address.ip().into())),
            (None, Address::Name(name, _)) => {
                ServerName::try_from(name.to_string()).map_err(|error| unnamed(format!("{name}: {error}")))
            }
            (None, Address::Unix(_)) => Err(unnamed("a Unix socket has no name to verify: set one".to_owned())),
        }
    }
}

#[async_trait]
impl ClientHandshake for ClientTls {
    async fn perform(&self, io: Box<dyn Io>, target: &Target) -> io::Result<Box<dyn Io>> {
        let settings = self.0.load_full();
        let name = settings.name_of(target)?;
        let stream = TlsConnector::from(Arc::clone(settings.config_for(target.protocol()))).connect(name, io).await?;
        Ok(Box::new(TlsStream::new(stream)))
    }
}

/// Makes a [`ClientTls`].
#[derive(Clone, Debug, Default)]
pub struct ClientTlsBuilder {
    authorities: Option<RootCertStore>,
    name: Option<ServerName<'static>>,
    certificate: Option<Certificate>,
    pins: Vec<String>,
    oldest: TlsVersion,
    insecure: bool,
}

impl ClientTlsBuilder {
    /// The authorities to trust instead of the system's: PEM text.
    ///
    /// # Errors
    /// If there is none in it, or one is malformed.
    pub fn authorities(mut self, pem: &[u8]) -> Result<Self, TlsError> {
        self.authorities = Some(roots(pem)?);
        Ok(self)
    }

    /// The same from a file.
    ///
    /// # Errors
    /// If it cannot be read, or as for [`authorities`](Self::authorities); the error names the file.
    pub fn authorities_from(self, path: impl AsRef<Path>) -> Result<Self, TlsError> {
        let path = path.as_ref();
        self.authorities(&read(path)?).map_err(|error| error.within(path))
    }

    /// The name to ask for (SNI) and to verify. Default: the backend's, as its address has it.
    ///
    /// # Errors
    /// If it is no DNS name or IP address.
    pub fn server_name(mut self, name: &str) -> Result<Self, TlsError> {
        let bad = |error| TlsError::new(TlsErrorKind::Name, format!("{name:?} is no server name")).because(error);
        self.name = Some(ServerName::try_from(name.to_owned()).map_err(bad)?);
        Ok(self)
    }

    /// The certificate to show to backends that ask for one.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Takes only a backend whose public key (SPKI) has this SHA-256, in hexadecimal, or that of another pin,
    /// besides everything else that is verified. It is what `openssl x509 -pubkey | openssl pkey -pubin
    /// -outform der | sha256sum` prints.
    ///
    /// # Errors
    /// If it is not 64 hexadecimal digits.
    pub fn pin(mut self, sha256: &str) -> Result<Self, TlsError> {
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(TlsError::new(TlsErrorKind::Settings, format!("{sha256:?} is no SHA-256 in hexadecimal")));
        }
        self.pins.push(sha256.to_ascii_lowercase());
        Ok(self)
    }

    /// The oldest version that is spoken. Default TLS 1.2.
    #[must_use]
    pub fn oldest(mut self, version: TlsVersion) -> Self {
        self.oldest = version;
        self
    }

    /// Verifies no authority, no name and no date: whoever answers is taken for the backend. Pins still hold.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// The finished settings.
    ///
    /// # Errors
    /// If the system trusts nobody and no authorities were given, or the settings do not work together.
    pub fn build(self) -> Result<ClientTls, TlsError> {
        let refused = |error| TlsError::new(TlsErrorKind::Settings, "these TLS settings do not work").because(error);
        let verifier: Arc<dyn ServerCertVerifier> = match (self.insecure, self.authorities) {
            (true, _) => Arc::new(Anybody),
            (false, authorities) => verifier(authorities)?,
        };
        let verifier = match self.pins.is_empty() {
            true => verifier,
            false => Arc::new(Pinned { inner: verifier, pins: self.pins }),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(self.oldest.and_later())
            .map_err(refused)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match self.certificate {
            Some(certificate) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(certificate.key()))))
            }
            None => builder.with_no_client_auth(),
        };
        let settings = Settings { configs: by_protocol(&config), name: self.name };
        Ok(ClientTls(Arc::new(ArcSwap::from_pointee(settings))))
    }
}

fn verifier(authorities: Option<RootCertStore>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let roots = authorities.map_or_else(system, Ok)?;
    let unusable = |error| TlsError::new(TlsErrorKind::Trust, "the authorities cannot be used").because(error);
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider()));
    Ok(builder.build().map_err(unusable)?)
}

/// The authorities the system trusts. One that is malformed is nobody's loss.
fn system() -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(found.certs);
    match store.is_empty() {
        true => Err(TlsError::new(TlsErrorKind::Trust, "the system has no trusted authorities: name some")),
        false => Ok(store),
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("name", &self.0.load().name).finish_non_exhaustive()
    }
}
