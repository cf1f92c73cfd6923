//! A head as it arrived: its bytes and an index into them. Never changes after it was parsed.

use std::fmt;
use std::sync::Arc;

use http::{Method, StatusCode, Version};

use super::known::COUNT;
use super::{Known, KnownSet};
use crate::recycle::FreeList;

/// More fields than this no head may have: the removals of an overlay are one bit each.
pub(crate) const MAX_FIELDS: usize = 128;

thread_local! {
    static FREE: FreeList<Arc<RawHead>> = const { FreeList::new(256) };
}

/// A range of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Span { start: start as u32, end: end as u32 }
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

/// Where one field line lies: `name` starts the line, `end` is behind its CRLF.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
    pub(crate) end: u32,
    pub(crate) known: Known,
}

/// The first line of a head.
#[derive(Clone, Debug, Default)]
pub(crate) enum Start {
    #[default]
    None,
    Request {
        method: Method,
        target: Span,
    },
    Response {
        status: StatusCode,
    },
}

/// The bytes of a head and the index into them.
#[derive(Default)]
pub(crate) struct RawHead {
    /// The whole head, with its start line and the empty line that ends it.
    pub(crate) bytes: Vec<u8>,
    pub(crate) fields: Vec<Field>,
    pub(crate) start: Start,
    pub(crate) version: Version,
    /// Where the field lines begin.
    pub(crate) line_end: u32,
    pub(crate) known: KnownSet,
    /// Known names that more than one field has.
    pub(crate) repeated: KnownSet,
    /// The first field of each known name that is there.
    first: [u8; COUNT],
}

impl RawHead {
    /// The first field of a known name.
    pub(crate) fn first(&self, known: Known) -> Option<(usize, &Field)> {
        let index = usize::from(self.first[known as usize]);
        if self.known.contains(known) { self.fields.get(index).map(|field| (index, field)) } else { None }
    }

    /// Adds a field whose line is in `bytes`.
    pub(crate) fn index_field(&mut self, field: Field) {
        let known = field.known;
        if self.known.contains(known) {
            self.repeated.insert(known);
        } else {
            self.known.insert(known);
            self.first[known as usize] = self.fields.len() as u8;
        }
        self.fields.push(field);
    }

    /// Adds a field whose line has already been pushed to `bytes`.
    pub(crate) fn push_field(&mut self, name: Span, value: Span, end: usize) {
        let known = Known::of(name.of(&self.bytes));
        self.index_field(Field { name, value, end: end as u32, known });
    }

    /// Writes a field line and indexes it.
    pub(crate) fn write_field(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        let value_start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        let value_end = self.bytes.len();
        self.bytes.extend_from_slice(b"\r\n");
        let end = self.bytes.len();
        self.push_field(Span::new(start, start + name.len()), Span::new(value_start, value_end), end);
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.start = Start::None;
        self.version = Version::HTTP_11;
        self.line_end = 0;
        self.known = KnownSet::default();
        self.repeated = KnownSet::default();
    }
}

/// A shared [`RawHead`] whose last holder gives its memory back for the next head.
pub(crate) struct SharedHead(Option<Arc<RawHead>>);

impl SharedHead {
    /// An empty head that `fill` completes.
    pub(crate) fn build<E>(fill: impl FnOnce(&mut RawHead) -> Result<(), E>) -> Result<Self, E> {
        let mut raw = FREE.with(FreeList::take).unwrap_or_default();
        let exclusive = Arc::get_mut(&mut raw).expect("a head on the free list has no other holder");
        exclusive.clear();
        let result = fill(exclusive);
        let shared = SharedHead(Some(raw));
        result.map(|()| shared)
    }

    pub(crate) fn raw(&self) -> &RawHead {
        self.0.as_ref().expect("a head is there until it is dropped")
    }
}

impl Clone for SharedHead {
    fn clone(&self) -> Self {
        SharedHead(self.0.clone())
    }
}

impl Drop for SharedHead {
    fn drop(&mut self) {
        if let Some(mut raw) = self.0.take()
            && Arc::get_mut(&mut raw).is_some()
            && raw.bytes.capacity() <= 64 * 1024
        {
            // At thread exit the list may be gone already: then the head is simply freed.
            let _ = FREE.try_with(|free| free.give(raw));
        }
    }
}

impl fmt::Debug for SharedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedHead").field(&String::from_utf8_lossy(&self.raw().bytes)).finish()
    }
}
