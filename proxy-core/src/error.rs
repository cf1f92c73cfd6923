//! One opaque error: what went wrong, whose fault it was, and in which phase.

use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;

mod kind;

pub use kind::ErrorKind;

/// The result of a fallible step of a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync>;

/// Who is responsible for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The client: a malformed request, a limit it exceeded, or it left.
    Client,
    /// The upstream: it refused, broke off, or answered nonsense.
    Upstream,
    /// This proxy: a plugin failed, nothing to route to, shutting down.
    Proxy,
}

impl Fault {
    /// The word used in logs: `client`, `upstream` or `proxy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Client => "client",
            Fault::Upstream => "upstream",
            Fault::Proxy => "proxy",
        }
    }
}

/// The part of a request's life in which something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Phase {
    /// Reading the request head.
    #[default]
    Head,
    /// The request hooks of filters, and routing.
    Filter,
    /// Choosing a backend and getting a connection.
    Connect,
    /// Sending the request and waiting for the response head.
    Send,
    /// Relaying the response.
    Relay,
    /// A tunnel after an upgrade.
    Tunnel,
}

impl Phase {
    /// The word used in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Head => "head",
            Phase::Filter => "filter",
            Phase::Connect => "connect",
            Phase::Send => "send",
            Phase::Relay => "relay",
            Phase::Tunnel => "tunnel",
        }
    }
}

/// Why a request did not go well.
///
/// The kind decides the status sent to the client ([`Error::status`]) and whose fault it was.
/// `Display` prints this level only; [`source`](StdError::source) has what lies beneath.
///
/// ```
/// use proxy_core::{Error, ErrorKind, Fault};
///
/// let error = Error::new(ErrorKind::ConnectRefused);
/// assert_eq!(error.status(), 502);
/// assert_eq!(error.fault(), Fault::Upstream);
/// assert_eq!(error.code(), "connect_refused");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    status: Option<StatusCode>,
    source: Option<Source>,
}

impl Error {
    /// An error of this kind, with nothing beneath it.
    pub fn new(kind: ErrorKind) -> Self {
        Error(Box::new(Inner { kind, status: None, source: None }))
    }

    /// The error of a plugin: answered with 500 unless [`with_status`](Self::with_status) says otherwise.
    pub fn plugin(source: impl Into<Source>) -> Self {
        Error::new(ErrorKind::Plugin).with_source(source)
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Answers the client with this status rather than the kind's own.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = Some(status);
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable reason code of the kind, for logs and metrics: `connect_refused`.
    pub fn code(&self) -> &'static str {
        self.0.kind.code()
    }

    /// Who is responsible.
    pub fn fault(&self) -> Fault {
        self.0.kind.fault()
    }

    /// The status the client gets.
    pub fn status(&self) -> StatusCode {
        self.0.status.unwrap_or_else(|| self.0.kind.status())
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Error::new(kind)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.0.kind).field("source", &self.0.source).finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.text())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
