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

/// Why the codec, or we, ended a connection; `None` where it just ended.
pub(super) fn of_connection(error: &h2::Error) -> Option<ErrorKind> {
    if !error.is_library() {
        return None;
    }
    if error.reason() != Some(Reason::ENHANCE_YOUR_CALM) {
        return Some(ErrorKind::Http2Protocol);
    }
    // The codec's words for it stand in the debug data of its GOAWAY, and nowhere else.
    let words = format!("{error:?}");
    let kinds = [
        ("too_many_resets", ErrorKind::RapidReset),
        ("too_many_internal_resets", ErrorKind::MadeReset),
        ("too_many_continuations", ErrorKind::ContinuationFlood),
        ("header_list_way_too_large", ErrorKind::HeaderBomb),
        ("too_many_data_frames", ErrorKind::FrameFlood),
    ];
    let known = kinds.into_iter().find(|(text, _)| words.contains(text));
    Some(known.map_or(ErrorKind::FrameFlood, |(_, kind)| kind))
}
