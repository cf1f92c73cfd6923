//! Why a server cannot be built.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a valid configuration cannot be served.
///
/// `Display` prints `path: message`, for example
/// `listeners.web.listen[0]: cannot listen on 127.0.0.1:8080: Address already in use (os error 98)`.
#[derive(Debug)]
pub struct ServerError {
    path: String,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    CannotListen(SocketAddr, io::Error),
    CannotBuild(Box<dyn StdError + Send + Sync>),
    NothingToServe,
    StartOnly,
    Stopping,
}

impl ServerError {
    pub(super) fn cannot_listen(path: String, address: SocketAddr, error: io::Error) -> Self {
        let reason = Reason::CannotListen(address, error);
        Self { path, reason }
    }

    pub(super) fn cannot_build(path: String, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let reason = Reason::CannotBuild(error.into());
        Self { path, reason }
    }

    pub(super) fn nothing_to_serve() -> Self {
        Self { path: "listeners".to_owned(), reason: Reason::NothingToServe }
    }

    pub(super) fn start_only(path: String) -> Self {
        Self { path, reason: Reason::StartOnly }
    }

    pub(super) fn stopping() -> Self {
        Self { path: "listeners".to_owned(), reason: Reason::Stopping }
    }

    /// The same of a part within `path`, which was not known where it was made.
    pub(super) fn below(mut self, path: &str) -> Self {
        self.path = match self.path.is_empty() {
            true => path.to_owned(),
            false => format!("{path}.{}", self.path),
        };
        self
    }

    /// Whether the new configuration is one that only another process can serve: it changes what is fixed at the
    /// start, [`path`](Self::path).
    pub fn needs_restart(&self) -> bool {
        matches!(self.reason, Reason::StartOnly)
    }

    /// The part of the configuration, such as `listeners.web.listen[0]`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The address that cannot be listened on, where that is the reason.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.reason {
            Reason::CannotListen(address, _) => Some(*address),
            _ => None,
        }
    }

    /// Whether another program listens on [`address`](Self::address).
    pub fn is_address_taken(&self) -> bool {
        matches!(&self.reason, Reason::CannotListen(_, error) if error.kind() == io::ErrorKind::AddrInUse)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path)?;
        match &self.reason {
            // The error of proxy-core's listener names the address.
            Reason::CannotListen(_, error) => error.fmt(f),
            Reason::CannotBuild(error) => error.fmt(f),
            Reason::NothingToServe => f.write_str("none of them can be served by this build"),
            Reason::StartOnly => f.write_str("is fixed at the start; a change of it needs a restart or an upgrade"),
            Reason::Stopping => f.write_str("the server is stopping, and takes no other configuration"),
        }
    }
}

impl StdError for ServerError {}
