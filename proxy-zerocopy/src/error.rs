use std::{error, fmt, io};

use crate::{Transferred, deadlines::Expired};

/// Why moving bytes ended early, on which side, and how many bytes arrived before.
///
/// ```
/// use proxy_zerocopy::{Error, ErrorKind, Side};
///
/// fn log(error: &Error) -> String {
///     match (error.kind(), error.side()) {
///         (ErrorKind::IdleTimeout, _) => "nobody spoke".into(),
///         (_, Some(Side::A)) => format!("client: {error}"),
///         _ => format!("server: {error}, after {} bytes", error.transferred().total()),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    side: Option<Side>,
    transferred: Transferred,
    source: Option<io::Error>,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Reading failed, for example because the peer reset its connection.
    Read,
    /// Writing, flushing or shutting down failed.
    Write,
    /// The source ended before the promised number of bytes.
    UnexpectedEof,
    /// No byte moved for [`Options::idle_timeout`](crate::Options::idle_timeout).
    IdleTimeout,
    /// [`Options::lifetime`](crate::Options::lifetime) is over.
    LifetimeOver,
}

/// One of the two streams. Where bytes move one way only, A is the source and B the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The stream passed first.
    A,
    /// The stream passed second.
    B,
}

impl Error {
    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The side it happened on; `None` for a timeout, which is nobody's in particular.
    #[must_use]
    pub fn side(&self) -> Option<Side> {
        self.side
    }

    /// The bytes that arrived before it happened.
    #[must_use]
    pub fn transferred(&self) -> Transferred {
        self.transferred
    }

    pub(crate) fn expired(expired: Expired, transferred: Transferred) -> Self {
        let kind = match expired {
            Expired::Idle => ErrorKind::IdleTimeout,
            Expired::Lifetime => ErrorKind::LifetimeOver,
        };
        Self { kind, side: None, transferred, source: None }
    }

    pub(crate) fn unexpected_eof(transferred: Transferred) -> Self {
        Self { kind: ErrorKind::UnexpectedEof, side: Some(Side::A), transferred, source: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ErrorKind::Read => "reading",
            ErrorKind::Write => "writing",
            ErrorKind::UnexpectedEof => "stream ended too early",
            ErrorKind::IdleTimeout => "no byte moved within the idle timeout",
            ErrorKind::LifetimeOver => "the lifetime is over",
        })?;
        match (self.kind, self.side) {
            (ErrorKind::Read, Some(side)) => write!(f, " from side {side} failed"),
            (ErrorKind::Write, Some(side)) => write!(f, " to side {side} failed"),
            (_, Some(side)) => write!(f, " on side {side}"),
            (_, None) => Ok(()),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// Keeps the kind of the underlying error; a timeout becomes `TimedOut`.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match (&error.source, error.kind) {
            (Some(source), _) => source.kind(),
            (None, ErrorKind::IdleTimeout | ErrorKind::LifetimeOver) => io::ErrorKind::TimedOut,
            (None, _) => io::ErrorKind::UnexpectedEof,
        };
        Self::new(kind, error)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A failure of one direction, before it is known which sides its ends are.
#[derive(Debug)]
pub(crate) enum Fault {
    Read(io::Error),
    Write(io::Error),
}

impl Fault {
    /// Names the side, for a direction that reads from `from` and writes to the other one.
    pub(crate) fn into_error(self, from: Side, transferred: Transferred) -> Error {
        let (kind, side, source) = match self {
            Self::Read(source) => (ErrorKind::Read, from, source),
            Self::Write(source) => (ErrorKind::Write, from.other(), source),
        };
        Error { kind, side: Some(side), transferred, source: Some(source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fault: Fault, from: Side, side: Side, text: &str) {
        let error = fault.into_error(from, Transferred::default());
        assert_eq!(error.side(), Some(side));
        assert_eq!(error.to_string(), text);
        let error = io::Error::from(error);
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_fault_is_charged_to_the_side_it_happened_on() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        check(Fault::Read(reset()), Side::A, Side::A, "reading from side A failed");
        check(Fault::Read(reset()), Side::B, Side::B, "reading from side B failed");
        check(Fault::Write(reset()), Side::A, Side::B, "writing to side B failed");
        check(Fault::Write(reset()), Side::B, Side::A, "writing to side A failed");
    }

    #[test]
    fn errors_without_a_cause_have_a_kind_of_their_own() {
        for expired in [Expired::Idle, Expired::Lifetime] {
            let error = io::Error::from(Error::expired(expired, Transferred::default()));
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        let short = io::Error::from(Error::unexpected_eof(Transferred::default()));
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(short.to_string(), "stream ended too early on side A");
    }
}
