//! What is left of a request after an early response: read and thrown away within a bound.

use std::task::{Context as Task, Poll, ready};

use super::chunked::Event;
use super::decode::Decoder;
use super::reader::Reader;

/// Reads the rest of a body. Ready with whether the connection can carry another request.
pub(crate) fn poll_drain(cx: &mut Task<'_>, reader: &mut Reader, decoder: &mut Decoder, left: &mut u64) -> Poll<bool> {
    // A client that waits for `100 Continue` may or may not send its body now: nobody can tell
    // where the next request begins.
    if reader.owes_continue() && !decoder.is_end() {
        return Poll::Ready(false);
    }
    loop {
        match decoder.next(&mut reader.buffer) {
            Ok(Event::End) => return Poll::Ready(true),
            Ok(Event::Data(len)) if len as u64 <= *left => {
                *left -= len as u64;
                decoder.consume(len);
                reader.buffer.consume(len);
            }
            Ok(Event::NeedMore) => match ready!(reader.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(false),
            },
            Ok(Event::Data(_)) | Err(_) => return Poll::Ready(false),
        }
    }
}

/// Throws away whatever comes until the other side closes, so that what was written before is not
/// lost to a reset (RFC 9112 §9.6).
pub(crate) fn poll_linger(cx: &mut Task<'_>, reader: &mut Reader, left: &mut u64) -> Poll<()> {
    loop {
        reader.buffer.truncate(0);
        match ready!(reader.poll_fill(cx)) {
            Ok(count @ 1..) if count as u64 <= *left => *left -= count as u64,
            _ => return Poll::Ready(()),
        }
    }
}
