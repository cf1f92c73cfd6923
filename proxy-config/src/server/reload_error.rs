//! Why a file was not gone over to.

use std::error::Error as StdError;
use std::fmt;

use super::ServerError;
use crate::ConfigErrors;

/// Why a file was not gone over to: all is as it was.
///
/// `Display` prints what is wrong with the file, a line for each mistake, or why it cannot be served.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReloadError {
    /// It is not a valid configuration, or cannot be read.
    Config(ConfigErrors),
    /// It is valid, and cannot be served.
    Server(ServerError),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadError::Config(errors) => errors.fmt(f),
            ReloadError::Server(error) => error.fmt(f),
        }
    }
}

impl StdError for ReloadError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            ReloadError::Config(errors) => errors.source(),
            ReloadError::Server(error) => error.source(),
        }
    }
}
