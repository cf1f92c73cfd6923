//! TLS towards clients.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerConnection};
use rustls::{HandshakeKind, KeyLog, KeyLogFile, ServerConfig, SupportedProtocolVersion};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use webpki::EndEntityCert;

use super::certificates::Resolver;
use super::key_log::SecretsFile;
use super::{Certificates, ClientAuth, TlsError, TlsErrorKind, TlsStream, UnknownName, provider};
use crate::listener::{ClientCertificate, TlsInfo};
use crate::{Io, Peer, ServerHandshake};

/// What a handshake may agree on, most wanted first.
#[cfg(feature = "http2")]
const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1", b"http/1.0"];
#[cfg(not(feature = "http2"))]
const PROTOCOLS: &[&[u8]] = &[b"http/1.1", b"http/1.0"];
/// How long a handshake may take, the wait for its turn included.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way at a time: each costs a signature, and some memory that a client need not pay for.
const HANDSHAKES: usize = 1024;

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3; only its suites with forward secrecy and authenticated encryption.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

impl TlsVersion {
    pub(super) fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        static VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            TlsVersion::Tls12 => &VERSIONS,
            TlsVersion::Tls13 => &VERSIONS[..1],
        }
    }
}

/// The keys of session tickets, changed every six hours. Listeners that share them resume each other's
/// sessions; a server that is rebuilt keeps its clients' sessions by keeping them.
#[derive(Clone)]
pub struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// New keys.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn new() -> Result<Self, TlsError> {
        let failed = |error| TlsError::new(TlsErrorKind::Settings, "no keys for session tickets").because(error);
        Ok(Tickets(Ticketer::new().map_err(failed)?))
    }
}

/// How a listener speaks TLS: a cheap handle, taken by [`Serve::tls`](crate::Serve::tls).
///
/// Sessions are resumed by tickets (RFC 8446 §2.2, RFC 5077), which need no memory here; not where
/// clients show certificates, so that a revoked one cannot go on.
#[derive(Clone)]
pub struct ServerTls(Arc<ArcSwap<Settings>>);

struct Settings {
    config: Arc<ServerConfig>,
    certificates: Certificates,
    turns: Semaphore,
    deadline: Duration,
}

impl ServerTls {
    /// Starts with these certificates.
    pub fn builder(certificates: Certificates) -> ServerTlsBuilder {
        ServerTlsBuilder {
            certificates,
            unknown: UnknownName::default(),
            alpn: PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect(),
            oldest: TlsVersion::default(),
            client_auth: None,
            resumption: true,
            tickets: None,
            deadline: HANDSHAKE,
            handshakes: HANDSHAKES,
            key_log: None,
        }
    }

    /// The certificates, to be replaced while connections run.
    pub fn certificates(&self) -> Certificates {
        self.0.load().certificates.clone()
    }

    /// Puts the settings of `other` in place of these, for handshakes that begin from now on. Open connections
    /// stay as they are; sessions can be resumed if both have the same [`Tickets`].
    pub fn replace(&self, other: &ServerTls) {
        self.0.store(other.0.load_full());
    }
}

impl Settings {
    fn info(&self, connection: &ServerConnection) -> TlsInfo {
        let server_name = connection.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
        let shown = self.certificates.find(server_name.as_deref());
        TlsInfo {
            names: shown.map_or_else(Arc::default, |certificate| Arc::clone(certificate.all_names())),
            server_name,
            alpn: connection.alpn_protocol().map(Into::into),
            version: connection.protocol_version().and_then(|version| version.as_str()).map_or("", label),
            cipher: connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or(""),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            client: connection.peer_certificates().and_then(<[_]>::first).map(|der| client(der)),
        }
    }
}

#[async_trait]
impl ServerHandshake for ServerTls {
    async fn perform(&self, io: Box<dyn Io>, peer: &mut Peer) -> io::Result<Box<dyn Io>> {
        let settings = self.0.load_full();
        let handshake = async {
            let _turn = settings.turns.acquire().await.map_err(io::Error::other)?;
            TlsAcceptor::from(Arc::clone(&settings.config)).accept(io).await
        };
        let stream = tokio::time::timeout(settings.deadline, handshake).await??;
        peer.tls = Some(Arc::new(settings.info(stream.get_ref().1)));
        Ok(Box::new(TlsStream::new(stream)))
    }
}

/// The name OpenSSL and the logs of other servers have for a version.
fn label(version: &str) -> &'static str {
    match version {
        "TLSv1_2" => "TLSv1.2",
        _ => "TLSv1.3",
    }
}

fn client(der: &rustls::pki_types::CertificateDer<'_>) -> ClientCertificate {
    // It was verified: it parses.
    let parsed = EndEntityCert::try_from(der).ok();
    let lower = |name: &str| name.to_ascii_lowercase().into_boxed_str();
    ClientCertificate {
        dns_names: parsed.iter().flat_map(|it| it.valid_dns_names()).map(lower).collect(),
        uris: parsed.iter().flat_map(|it| it.valid_uri_names()).map(Into::into).collect(),
        fingerprint: super::verifier::sha256(der).into(),
        der: der.as_ref().into(),
    }
}

/// Makes a [`ServerTls`].
#[derive(Clone)]
pub struct ServerTlsBuilder {
    certificates: Certificates,
    unknown: UnknownName,
    alpn: Vec<Vec<u8>>,
    oldest: TlsVersion,
    client_auth: Option<ClientAuth>,
    resumption: bool,
    tickets: Option<Tickets>,
    deadline: Duration,
    handshakes: usize,
    key_log: Option<Arc<dyn KeyLog>>,
}

impl ServerTlsBuilder {
    /// What a client gets that asks for a name without a certificate. Default: the first certificate.
    #[must_use]
    pub fn unknown_name(mut self, unknown: UnknownName) -> Self {
        self.unknown = unknown;
        self
    }

    /// The protocols to offer, most wanted first. Default `h2` (with the feature `http2`), `http/1.1` and `http/1.0`.
    /// Leave `h2` out where the proxy does not speak it.
    #[must_use]
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The oldest version that is spoken. Default TLS 1.2.
    #[must_use]
    pub fn oldest(mut self, version: TlsVersion) -> Self {
        self.oldest = version;
        self
    }

    /// Asks clients for certificates. Default: does not.
    #[must_use]
    pub fn client_auth(mut self, auth: ClientAuth) -> Self {
        self.client_auth = Some(auth);
        self
    }

    /// Whether sessions may be resumed. Default: yes, unless clients are asked for certificates.
    #[must_use]
    pub fn resumption(mut self, on: bool) -> Self {
        self.resumption = on;
        self
    }

    /// Keys of session tickets that others use too. Default: its own.
    #[must_use]
    pub fn tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// How long a handshake may take, the wait for its turn included. Default 10 s.
    #[must_use]
    pub fn handshake_timeout(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Handshakes under way at a time; others wait. Default 1024.
    #[must_use]
    pub fn max_handshakes(mut self, count: usize) -> Self {
        self.handshakes = count.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// Writes the secrets of connections to the file that `SSLKEYLOGFILE` names, for a network analyser:
    /// whoever has that file reads everything.
    #[must_use]
    pub fn key_log(mut self, on: bool) -> Self {
        self.key_log = on.then(|| Arc::new(KeyLogFile::new()) as Arc<dyn KeyLog>);
        self
    }

    /// The same to this file, which only its owner can read where it is made here; what is in it stays.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn key_log_file(mut self, path: impl AsRef<Path>) -> Result<Self, TlsError> {
        self.key_log = Some(Arc::new(SecretsFile::open(path.as_ref())?));
        Ok(self)
    }

    /// The finished settings.
    ///
    /// # Errors
    /// If the authorities or revocation lists of clients cannot be used.
    pub fn build(self) -> Result<ServerTls, TlsError> {
        let refused = |error| TlsError::new(TlsErrorKind::Settings, "these TLS settings do not work").because(error);
        let resolver = Resolver { certificates: self.certificates.clone(), unknown: self.unknown };
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(self.oldest.and_later())
            .map_err(refused)?;
        let builder = match &self.client_auth {
            Some(auth) => builder.with_client_cert_verifier(auth.verifier()?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = self.alpn;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match self.resumption && self.client_auth.is_none() {
            true => config.ticketer = self.tickets.map_or_else(Tickets::new, Ok)?.0,
            false => config.send_tls13_tickets = 0,
        }
        if let Some(log) = self.key_log {
            config.key_log = log;
        }
        let settings = Settings {
            config: Arc::new(config),
            certificates: self.certificates,
            turns: Semaphore::new(self.handshakes),
            deadline: self.deadline,
        };
        Ok(ServerTls(Arc::new(ArcSwap::from_pointee(settings))))
    }
}

impl fmt::Debug for ServerTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTlsBuilder").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("certificates", &self.certificates()).finish_non_exhaustive()
    }
}
