//! Byte vectors that heads are written into, used again.

use crate::recycle::FreeList;

/// A vector that grew beyond this is freed.
const KEEP: usize = 16 * 1024;

thread_local! {
    static FREE: FreeList<Vec<u8>> = const { FreeList::new(64) };
}

/// An empty vector, with the room an earlier one had.
pub(crate) fn take() -> Vec<u8> {
    FREE.with(FreeList::take).unwrap_or_else(|| Vec::with_capacity(1024))
}

pub(crate) fn give(mut bytes: Vec<u8>) {
    if (1..=KEEP).contains(&bytes.capacity()) {
        bytes.clear();
        let _ = FREE.try_with(|free| free.give(bytes));
    }
}
