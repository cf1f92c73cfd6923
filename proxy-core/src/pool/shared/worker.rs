//! A small number for every thread.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// This thread's number: consecutive ones in the order in which threads first asked.
pub(super) fn number() -> usize {
    NUMBER.with(|number| number.get().unwrap_or_else(|| assign(number)))
}

#[cold]
fn assign(number: &Cell<Option<usize>>) -> usize {
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    number.set(Some(next));
    next
}
