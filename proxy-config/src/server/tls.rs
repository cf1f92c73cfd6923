//! TLS, as the configuration and its files have it.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use proxy_core::tls::{
    Certificate, Certificates, ClientAuth, ClientTls, ServerTls, ServerTlsBuilder, Tickets, TlsError, TlsErrorKind,
    TlsVersion, UnknownName,
};
use tokio::task::AbortHandle;

use super::ServerError;
use super::files::{Files, Reload};
use super::health::Task;
use crate::path::Path;
use crate::{Config, Http2, Listener, ListenerKind, Tls, UpstreamTls};

/// The protocols of HTTP listeners, most wanted first.
const HTTP: [&str; 3] = ["h2", "http/1.1", "http/1.0"];

/// The TLS of a listener that runs. A clone is the same one.
#[derive(Clone)]
pub(super) struct Secured {
    server: ServerTls,
    /// Kept by whatever replaces it, so that clients can resume their sessions.
    tickets: Tickets,
    _followed: Arc<Followed>,
}

/// The TLS of a listener of the next configuration, loaded.
pub(super) struct PlannedTls {
    server: ServerTls,
    tickets: Tickets,
    files: Files,
    reload: Reload,
}

/// What looks after files, until it is dropped.
struct Followed(AbortHandle);

impl Drop for Followed {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Secured {
    pub(super) fn server(&self) -> &ServerTls {
        &self.server
    }
}

impl PlannedTls {
    /// Loads the certificates of a listener, `path`, whatever it had before.
    pub(super) fn load(
        path: &Path<'_>,
        listener: &Listener,
        config: &Tls,
        before: Option<&Secured>,
    ) -> Result<Self, ServerError> {
        let protocols = protocols(listener, config);
        let path = &Path::Key(path, "tls");
        let files = Files::new(listener_files(config));
        let tickets = before.map_or_else(Tickets::new, |before| Ok(before.tickets.clone()));
        let tickets = tickets.map_err(|error| failed(path, &error))?;
        let loaded = server(path, config, &protocols, &tickets)?;
        // Those that are loaded later go to the one that runs, which is this or the one before.
        let running = before.map_or(&loaded, |before| &before.server).clone();
        let (place, config, keys) = (path.to_string(), config.clone(), tickets.clone());
        let reload = move || {
            running.replace(&server(&Path::Root, &config, &protocols, &keys).map_err(|error| error.below(&place))?);
            Ok(())
        };
        Ok(PlannedTls { server: loaded, tickets, files, reload: Arc::new(reload) })
    }

    /// Puts it into force.
    pub(super) fn start(self, before: Option<&Secured>) -> Secured {
        let PlannedTls { server, tickets, files, reload } = self;
        let followed = Followed(tokio::spawn(files.follow(reload)).abort_handle());
        let server = match before {
            Some(before) => {
                before.server.replace(&server);
                before.server.clone()
            }
            None => server,
        };
        Secured { server, tickets, _followed: Arc::new(followed) }
    }
}

fn listener_files(config: &Tls) -> impl Iterator<Item = PathBuf> {
    let certificates = config.certificates.iter();
    let certificates =
        certificates.flat_map(|it| [Some(&it.cert), Some(&it.key), it.ocsp.as_ref()].into_iter().flatten());
    let auth = config.client_auth.iter().flat_map(|auth| std::iter::once(&auth.ca).chain(&auth.crl));
    certificates.chain(auth).cloned()
}

/// Everything but the log of secrets, which is only to be opened by who serves.
fn server(path: &Path<'_>, config: &Tls, protocols: &[String], tickets: &Tickets) -> Result<ServerTls, ServerError> {
    let builder = loaded(path, config).map_err(|mut errors| errors.swap_remove(0))?;
    let builder = builder.alpn(protocols.iter().map(String::as_str)).tickets(tickets.clone());
    let builder = match &config.key_log {
        Some(file) => {
            tracing::warn!(%path, file = %file.display(), "the secrets of TLS connections are written down");
            builder.key_log_file(file).map_err(|error| failed(&Path::Key(path, "key_log"), &error))?
        }
        None => builder,
    };
    builder.build().map_err(|error| failed(path, &error))
}

/// What the files hold, or all that is wrong with them.
fn loaded(path: &Path<'_>, config: &Tls) -> Result<ServerTlsBuilder, Vec<ServerError>> {
    let (certificates, mut errors) = certificates(&Path::Key(path, "certificates"), config);
    let auth = config.client_auth.as_ref().map(|auth| client_auth(&Path::Key(path, "client_auth"), auth));
    let auth = auth.transpose().map_err(|error| errors.push(error));
    let (Ok(auth), true) = (auth, errors.is_empty()) else { return Err(errors) };
    let certificates = Certificates::new(certificates).map_err(|error| vec![failed(path, &error)])?;
    let builder = ServerTls::builder(certificates)
        .oldest(oldest(config.min_version))
        .unknown_name(match config.unknown_name {
            Some(crate::UnknownName::Refuse) => UnknownName::Refuse,
            Some(crate::UnknownName::First) | None => UnknownName::First,
        })
        .resumption(config.tickets.unwrap_or(true));
    let builder = auth.into_iter().fold(builder, ServerTlsBuilder::client_auth);
    let builder = config.handshake_timeout.into_iter().fold(builder, ServerTlsBuilder::handshake_timeout);
    Ok(config.max_handshakes.into_iter().fold(builder, ServerTlsBuilder::max_handshakes))
}

fn certificates(path: &Path<'_>, config: &Tls) -> (Vec<Certificate>, Vec<ServerError>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (index, config) in config.certificates.iter().enumerate() {
        match certificate(&Path::Index(path, index), config) {
            Ok(certificate) => good.push(certificate),
            Err(error) => bad.push(error),
        }
    }
    (good, bad)
}

fn certificate(path: &Path<'_>, config: &crate::Certificate) -> Result<Certificate, ServerError> {
    let certificate = Certificate::load(&config.cert, &config.key);
    let certificate = certificate.map_err(|error| failed(&Path::Key(path, part(&error, config)), &error))?;
    match &config.ocsp {
        Some(file) => certificate.with_ocsp_file(file).map_err(|error| failed(&Path::Key(path, "ocsp"), &error)),
        None => Ok(certificate),
    }
}

/// Which of the two files an error is about.
fn part(error: &TlsError, config: &crate::Certificate) -> &'static str {
    let is_in_key = config.key != config.cert && error.file() == Some(&config.key);
    match error.kind() {
        TlsErrorKind::Key | TlsErrorKind::KeyMismatch => "key",
        _ if is_in_key => "key",
        _ => "cert",
    }
}

fn client_auth(path: &Path<'_>, config: &crate::ClientAuth) -> Result<ClientAuth, ServerError> {
    let at = |key, error: &TlsError| failed(&Path::Key(path, key), error);
    let auth = match config.required {
        Some(false) => ClientAuth::optional_from(&config.ca),
        Some(true) | None => ClientAuth::required_from(&config.ca),
    };
    let auth = auth.map_err(|error| at("ca", &error))?;
    config.crl.iter().try_fold(auth, ClientAuth::with_crl_file).map_err(|error| at("crl", &error))
}

/// What is offered: nothing that the listener does not speak. What is behind raw TCP, the file knows alone.
fn protocols(listener: &Listener, config: &Tls) -> Vec<String> {
    let spoken = match &listener.kind {
        ListenerKind::Tcp(_) | ListenerKind::Udp(_) => return config.alpn.clone().unwrap_or_default(),
        ListenerKind::Http(http) if http.http2 == Http2::Off => &HTTP[1..],
        ListenerKind::Http(_) | ListenerKind::Forward(_) | ListenerKind::Socks(_) => &HTTP[..],
    };
    match &config.alpn {
        Some(names) => names.iter().filter(|name| spoken.contains(&name.as_str())).cloned().collect(),
        None => spoken.iter().map(ToString::to_string).collect(),
    }
}

fn oldest(version: Option<crate::TlsVersion>) -> TlsVersion {
    match version {
        Some(crate::TlsVersion::Tls13) => TlsVersion::Tls13,
        Some(crate::TlsVersion::Tls12) | None => TlsVersion::Tls12,
    }
}

/// The TLS of an upstream, `path`.
pub(super) fn client(path: &Path<'_>, config: &UpstreamTls) -> Result<ClientTls, ServerError> {
    let path = &Path::Key(path, "tls");
    let at = |key, error: &TlsError| failed(&Path::Key(path, key), error);
    let mut builder = ClientTls::builder().oldest(oldest(config.min_version));
    if let Some(name) = &config.server_name {
        builder = builder.server_name(name).map_err(|error| at("server_name", &error))?;
    }
    if let Some(file) = &config.ca {
        builder = builder.authorities_from(file).map_err(|error| at("ca", &error))?;
    }
    if let Some(config) = &config.certificate {
        builder = builder.certificate(certificate(&Path::Key(path, "certificate"), config)?);
    }
    for pin in &config.pins {
        builder = builder.pin(pin).map_err(|error| at("pins", &error))?;
    }
    let builder = if config.insecure { builder.insecure() } else { builder };
    builder.build().map_err(|error| failed(path, &error))
}

/// Loads the files of an upstream again, whenever they change.
pub(super) fn follow(path: &Path<'_>, config: &UpstreamTls, files: Files, running: &ClientTls) -> Task {
    let (place, config, running) = (path.to_string(), config.clone(), running.clone());
    let reload = move || {
        running.replace(&client(&Path::Root, &config).map_err(|error| error.below(&place))?);
        Ok(())
    };
    Box::pin(files.follow(Arc::new(reload)))
}

pub(super) fn upstream_files(config: &UpstreamTls) -> Files {
    let shown = config.certificate.iter().flat_map(|it| [&it.cert, &it.key]);
    Files::new(config.ca.iter().chain(shown).cloned())
}

/// Whether backends are told of clients' certificates. Then nobody but a handshake may speak of them, whichever
/// listener it comes to.
pub(super) fn forwards_certificates(config: &Config) -> bool {
    let mut auth = config.listeners.values().filter_map(|listener| listener.tls.as_ref()?.client_auth.as_ref());
    auth.any(|auth| auth.forward == Some(true))
}

/// Everything that is wrong with the files that TLS needs.
pub(super) fn check(config: &Config) -> Vec<ServerError> {
    let (listeners, upstreams) = (Path::Key(&Path::Root, "listeners"), Path::Key(&Path::Root, "upstreams"));
    let mut errors = Vec::new();
    for (name, listener) in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
        let path = Path::Key(&listeners, name);
        let path = Path::Key(&path, "tls");
        match loaded(&path, tls) {
            Ok(builder) => errors.extend(builder.build().err().map(|error| failed(&path, &error))),
            Err(wrong) => errors.extend(wrong),
        }
    }
    for (name, upstream) in &config.upstreams {
        let path = Path::Key(&upstreams, name);
        errors.extend(upstream.tls.as_ref().and_then(|tls| client(&path, tls).err()));
    }
    errors
}

/// Level by level: what is wrong, and where that came from.
fn failed(path: &Path<'_>, error: &TlsError) -> ServerError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    ServerError::cannot_build(path.to_string(), text)
}
