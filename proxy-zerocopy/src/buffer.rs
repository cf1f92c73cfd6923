use std::{cell::RefCell, mem, ops::Range};

/// 64 KiB: beyond this the cost of a system call no longer shows beside the cost of copying.
pub(crate) const DEFAULT_SIZE: usize = 64 * 1024;

/// Free buffers a thread keeps: 2 MiB of the default size.
const MAX_FREE: usize = 32;

/// Larger buffers go back to the allocator, so that one odd size cannot pin memory per thread.
const MAX_POOLED_SIZE: usize = 1024 * 1024;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Memory lent from the thread's free list; goes back when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    pending: Range<usize>,
    is_lent: bool,
}

impl Buffer {
    /// An empty buffer of `size` bytes, at least one.
    pub(crate) fn take(size: usize) -> Self {
        let size = size.max(1);
        let bytes = reuse(size).unwrap_or_else(|| vec![0; size].into_boxed_slice());
        Self { bytes, pending: 0..0, is_lent: true }
    }

    /// A buffer full of these bytes, whose memory no free list gets: it may be of any size.
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        Self { pending: 0..bytes.len(), bytes: bytes.into(), is_lent: false }
    }

    /// All of its room. Only for an empty buffer: pending bytes would be overwritten.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        debug_assert!(self.is_empty());
        &mut self.bytes
    }

    /// Says that the first `len` bytes of the room are pending now.
    pub(crate) fn filled(&mut self, len: usize) {
        self.pending = 0..len;
    }

    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.pending.clone()]
    }

    pub(crate) fn consume(&mut self, len: usize) {
        debug_assert!(len <= self.pending.len());
        self.pending.start += len;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        if !self.is_lent || bytes.len() > MAX_POOLED_SIZE {
            return;
        }
        // An ending thread has lost its list already; then the memory is simply freed.
        let _ = FREE.try_with(|free| give_back(&mut free.borrow_mut(), bytes));
    }
}

fn reuse(size: usize) -> Option<Box<[u8]>> {
    FREE.with_borrow_mut(|free| {
        let index = free.iter().rposition(|bytes| bytes.len() == size)?;
        Some(free.swap_remove(index))
    })
}

/// Drops an old buffer rather than the new one, so that a size no longer in use dies out.
fn give_back(free: &mut Vec<Box<[u8]>>, bytes: Box<[u8]>) {
    if free.len() == MAX_FREE {
        free.swap_remove(0);
    }
    free.push(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free() -> usize {
        FREE.with_borrow(Vec::len)
    }

    #[test]
    fn memory_is_reused_by_size() {
        let mut first = Buffer::take(10);
        first.room()[0] = 7;
        drop(first);
        assert_eq!(free(), 1);
        assert_eq!(Buffer::take(11).room()[0], 0);
        assert_eq!(Buffer::take(10).room()[0], 7);
        assert_eq!(free(), 2);
    }

    #[test]
    fn the_free_list_is_bounded() {
        let many: Vec<_> = (0..2 * MAX_FREE).map(|_| Buffer::take(8)).collect();
        drop(many);
        assert_eq!(free(), MAX_FREE);
        drop(Buffer::take(MAX_POOLED_SIZE + 1));
        assert_eq!(free(), MAX_FREE);
        drop(Buffer::take(9));
        assert_eq!(reuse(9).map(|bytes| bytes.len()), Some(9));
    }
}
