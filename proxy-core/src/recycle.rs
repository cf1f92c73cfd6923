//! Per-thread free lists: the heads and buffers of one request serve the next one.
//!
//! A list is last-in first-out, so what comes back is still in the processor's cache, and bounded,
//! so a burst does not stay in memory.

use std::cell::RefCell;

/// A bounded stack of things to use again.
pub(crate) struct FreeList<T> {
    items: RefCell<Vec<T>>,
    limit: usize,
}

impl<T> FreeList<T> {
    pub(crate) const fn new(limit: usize) -> Self {
        FreeList { items: RefCell::new(Vec::new()), limit }
    }

    /// The item given back last.
    pub(crate) fn take(&self) -> Option<T> {
        self.items.borrow_mut().pop()
    }

    /// Keeps `item` for later, or drops it where the list is full.
    pub(crate) fn give(&self, item: T) {
        let mut items = self.items.borrow_mut();
        if items.len() < self.limit {
            items.push(item);
        }
    }
}
