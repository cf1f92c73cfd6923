//! A small number for every thread.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

thread_local! {
    /// The number alone, so that the common path needs no check for a destructor.
    static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    static TENURE: OnceCell<Tenure> = const { OnceCell::new() };
}

static NUMBERS: Mutex<Numbers> = Mutex::new(Numbers { next: 0, free: BTreeSet::new() });

/// This thread's number: the smallest that no living thread has. So as many threads as there are
/// shelves never meet at one, however many came and went before them.
pub(super) fn number() -> usize {
    NUMBER.with(|number| number.get().unwrap_or_else(|| assign(number)))
}

#[cold]
fn assign(number: &Cell<Option<usize>>) -> usize {
    let tenure = Tenure(numbers().take());
    let assigned = tenure.0;
    number.set(Some(assigned));
    // While the thread ends it may be too late to hold on to it; sharing a number does no harm.
    let _ = TENURE.try_with(|cell| cell.set(tenure));
    assigned
}

struct Numbers {
    next: usize,
    free: BTreeSet<usize>,
}

impl Numbers {
    fn take(&mut self) -> usize {
        self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }
}

fn numbers() -> MutexGuard<'static, Numbers> {
    NUMBERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the number back when the thread ends.
struct Tenure(usize);

impl Drop for Tenure {
    fn drop(&mut self) {
        numbers().free.insert(self.0);
    }
}
