//! Plain numbers with the bounds that make sense.

use crate::decode::Cursor;

/// More connections than this no machine has; a larger number is a slip.
const MOST: usize = 1_000_000_000;

/// A count of things held in memory.
pub(crate) fn count(cursor: Cursor<'_>) -> Option<usize> {
    cursor.integer(0..=MOST)
}

/// A count of which zero would serve nobody.
pub(crate) fn at_least_one(cursor: Cursor<'_>) -> Option<usize> {
    cursor.integer(1..=MOST)
}

pub(crate) fn percent(cursor: Cursor<'_>) -> Option<u8> {
    cursor.integer(0..=100)
}
