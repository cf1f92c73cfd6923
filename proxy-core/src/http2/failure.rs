//! What failures mean on the other side (RFC 9113 §7).

use h2::Reason;

use crate::{Error, ErrorKind, Fault};

/// How a response that cannot be finished is ended.
pub(super) fn reason(kind: ErrorKind) -> Reason {
    match kind.fault() {
        Fault::Client => Reason::CANCEL,
        _ => Reason::INTERNAL_ERROR,
    }
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
