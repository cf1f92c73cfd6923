//! What can be wrong with certificates, keys and settings.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// A file cannot be read.
    File,
    /// What was read is not PEM, or holds nothing of what was expected.
    Pem,
    /// A certificate is malformed.
    Certificate,
    /// A key is malformed, or of a kind that cannot sign.
    Key,
    /// The key belongs to another certificate.
    KeyMismatch,
    /// A certificate of the chain has expired.
    Expired,
    /// A certificate of the chain is not valid yet.
    NotYetValid,
    /// A certificate of the chain was not issued by the one behind it.
    ChainOrder,
    /// There is no certificate at all.
    NoCertificate,
    /// A certificate authority or a revocation list cannot be used.
    Trust,
    /// A server name is no DNS name or address.
    Name,
    /// The cryptography refused the settings.
    Settings,
}

/// TLS that cannot be set up; says which file, and what is wrong with it.
#[derive(Debug, Error)]
#[error("{text}")]
pub struct TlsError {
    kind: TlsErrorKind,
    text: String,
    file: Option<PathBuf>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl TlsError {
    pub(super) fn new(kind: TlsErrorKind, text: impl Into<String>) -> Self {
        TlsError { kind, text: text.into(), file: None, source: None }
    }

    pub(super) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// In this file.
    pub(super) fn within(mut self, path: &Path) -> Self {
        self.text = format!("{}: {}", path.display(), self.text);
        self.file = Some(path.to_owned());
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> TlsErrorKind {
        self.kind
    }

    /// The file that it is wrong with, where there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}
