//! What failures mean on the other side (RFC 9113 §7).

use std::error::Error as _;

use h2::Reason;

use crate::{Error, ErrorKind, Fault};

/// How a response that cannot be finished is ended. A backend's reason is passed on, so that a client that knows what
/// it stands for (gRPC does) is told the same.
pub(super) fn reason(error: &Error) -> Reason {
    match (error.kind().fault(), code(error)) {
        (_, Some(Reason::NO_ERROR)) => Reason::INTERNAL_ERROR,
        (Fault::Upstream, Some(reason)) if error.kind() == ErrorKind::StreamReset => reason,
        (Fault::Client, _) => Reason::CANCEL,
        _ => Reason::INTERNAL_ERROR,
    }
}

/// What the codec says beneath an error of ours.
fn beneath(error: &Error) -> Option<&h2::Error> {
    error.source().and_then(|source| source.downcast_ref())
}

fn code(error: &Error) -> Option<Reason> {
    beneath(error).and_then(h2::Error::reason)
}

/// Why a backend's stream, or its connection, brings no whole response.
pub(super) fn of_response(error: h2::Error) -> Error {
    let kind = if error.is_reset() && error.is_remote() {
        match error.reason() {
            Some(Reason::REFUSED_STREAM) => ErrorKind::StreamRefused,
            _ => ErrorKind::StreamReset,
        }
    } else if error.is_go_away() && error.is_remote() {
        ErrorKind::UpstreamGone
    } else if error.is_library() {
        // It broke a rule, within this stream or beside it.
        ErrorKind::BadResponse
    } else {
        match error.get_io().map(std::io::Error::kind) {
            // The codec's own word for a connection that ended.
            Some(std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::UnexpectedEof) => ErrorKind::UpstreamGone,
            _ => ErrorKind::UpstreamIo,
        }
    };
    Error::new(kind).with_source(error)
}

/// The backend has said that it did nothing with the request: the codec tells of a GOAWAY only those streams that are
/// beyond the last one which it names (RFC 9113 §8.7).
pub(super) fn is_unprocessed(error: &Error) -> bool {
    beneath(error).is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
    })
}

/// The client's stream, or its connection, cannot be written to any more.
pub(super) fn gone(error: h2::Error) -> Error {
    Error::new(ErrorKind::ClientGone).with_source(error)
}

/// A request body that broke off.
pub(super) fn of_body(error: h2::Error) -> Error {
    let kind = match error.is_library() {
        // More or less of it came than was declared, or the frames were none.
        true => ErrorKind::BodyAborted,
        false => ErrorKind::ClientGone,
    };
    Error::new(kind).with_source(error)
}

/// Why the codec ended a connection; `None` where it was the client. Of several reasons for the same code only
/// its last words, those of its GOAWAY, tell which it was.
pub(super) fn of_connection(error: &h2::Error, words: &[u8]) -> Option<ErrorKind> {
    if !error.is_library() {
        return None;
    }
    if error.reason() != Some(Reason::ENHANCE_YOUR_CALM) {
        return Some(ErrorKind::Http2Protocol);
    }
    let kinds = [
        ("too_many_resets", ErrorKind::RapidReset),
        ("too_many_internal_resets", ErrorKind::MadeReset),
        ("too_many_continuations", ErrorKind::ContinuationFlood),
        ("header_list_way_too_large", ErrorKind::HeaderBomb),
        ("too_many_data_frames", ErrorKind::FrameFlood),
    ];
    let known = kinds.into_iter().find(|(text, _)| words.ends_with(text.as_bytes()));
    Some(known.map_or(ErrorKind::FrameFlood, |(_, kind)| kind))
}
