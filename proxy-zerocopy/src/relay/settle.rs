use std::task::{Context, Poll, ready};

use crate::{Error, Side, Transferred, deadlines::Deadlines, error::Fault};

type Direction = Poll<Result<(), Fault>>;

/// What both directions together amount to: failed, finished, past a deadline, or going on.
pub(super) fn settle(
    cx: &mut Context<'_>,
    directions: (Direction, Direction),
    so_far: Transferred,
    deadlines: &mut Deadlines,
    progress: u64,
) -> Poll<Result<Transferred, Error>> {
    match directions {
        (Poll::Ready(Err(fault)), _) => Poll::Ready(Err(fault.into_error(Side::A, so_far))),
        (_, Poll::Ready(Err(fault))) => Poll::Ready(Err(fault.into_error(Side::B, so_far))),
        (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(so_far)),
        _ => {
            let expired = ready!(deadlines.poll_expired(cx, progress));
            Poll::Ready(Err(Error::expired(expired, so_far)))
        }
    }
}
