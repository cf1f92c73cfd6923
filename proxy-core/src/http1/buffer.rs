//! A window over a pooled block. Holds memory only while it holds bytes.

use crate::recycle::FreeList;

/// The size of a block, in bytes: at least the largest common response, so that one read takes it.
pub(crate) const BLOCK: usize = 64 * 1024;

thread_local! {
    static FREE: FreeList<Box<[u8]>> = const { FreeList::new(64) };
}

/// Bytes read and not yet consumed. The block goes back to the free list whenever it is empty.
#[derive(Default)]
pub(crate) struct Buffer {
    block: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(crate) fn filled(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], |block| &block[self.start..self.end])
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room to read into; empty only where the block is full.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        let block =
            self.block.get_or_insert_with(|| FREE.with(FreeList::take).unwrap_or_else(|| vec![0; BLOCK].into()));
        // Half a block is room enough: compacting for less would copy more than it saves.
        if self.start > BLOCK / 2 || self.end == BLOCK {
            block.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut block[self.end..]
    }

    /// Marks `count` bytes of the room as filled.
    pub(crate) fn fill(&mut self, count: usize) {
        self.end += count;
    }

    /// Forgets the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
        self.release_if_empty();
    }

    /// Forgets all but the first `count` bytes.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.end = self.end.min(self.start + count);
        self.release_if_empty();
    }

    pub(crate) fn release_if_empty(&mut self) {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            if let Some(block) = self.block.take() {
                // At thread exit the list may be gone already: then the block is simply freed.
                let _ = FREE.try_with(|free| free.give(block));
            }
        }
    }

    /// Adds bytes; those that do not fit are left out. Returns how many were taken.
    #[cfg(test)]
    fn extend(&mut self, bytes: &[u8]) -> usize {
        let spare = self.spare();
        let count = spare.len().min(bytes.len());
        spare[..count].copy_from_slice(&bytes[..count]);
        self.fill(count);
        count
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        (self.start, self.end) = (0, 0);
        self.release_if_empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_buffer_holds_no_block() {
        let mut buffer = Buffer::default();
        assert_eq!(buffer.extend(b"abc"), 3);
        buffer.consume(1);
        assert_eq!(buffer.filled(), b"bc");
        assert!(buffer.block.is_some());
        buffer.consume(2);
        assert!(buffer.block.is_none());
    }

    #[test]
    fn a_full_block_makes_room_at_its_end() {
        let mut buffer = Buffer::default();
        buffer.extend(&vec![1; BLOCK]);
        assert!(buffer.spare().is_empty());
        buffer.consume(BLOCK - 1);
        assert_eq!(buffer.spare().len(), BLOCK - 1);
        assert_eq!(buffer.filled(), [1]);
    }
}
