//! The overlay: what was removed from a head and what was added to it.

use super::raw::{MAX_FIELDS, RawHead, Span};
use super::{Known, KnownSet};
use crate::recycle::FreeList;

thread_local! {
    static FREE: FreeList<Box<Edits>> = const { FreeList::new(256) };
}

/// A field added by an edit.
#[derive(Clone, Copy, Debug)]
struct Added {
    name: Span,
    value: Span,
    known: Known,
    removed: bool,
}

/// Edits over a raw head. Removing sets a bit; adding appends to `text`.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// One bit per field. Two halves rather than a `u128`, whose alignment no allocator likes.
    removed: [u64; 2],
    added: Vec<Added>,
    /// The lines of the added fields, one behind the other.
    text: Vec<u8>,
    any_added_removed: bool,
    /// Known names among the added fields, removed again or not.
    known: KnownSet,
}

const _: () = assert!(MAX_FIELDS <= 128, "removals are the bits of two words");

impl Edits {
    pub(crate) fn is_empty(&self) -> bool {
        self.removed == [0, 0] && self.added.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.removed = [0, 0];
        self.added.clear();
        self.text.clear();
        self.any_added_removed = false;
        self.known = KnownSet::default();
    }

    pub(crate) fn is_removed(&self, index: usize) -> bool {
        self.removed[index / 64] & (1 << (index % 64)) != 0
    }

    pub(crate) fn any_removed(&self) -> bool {
        self.removed != [0, 0]
    }

    pub(crate) fn remove_raw(&mut self, index: usize) {
        self.removed[index / 64] |= 1 << (index % 64);
    }

    /// The fields added and not removed again.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let live = self.added.iter().filter(|added| !added.removed);
        live.map(|added| (added.name.of(&self.text), added.value.of(&self.text)))
    }

    /// The same with what the engine knows of each name.
    #[cfg(feature = "http2")]
    pub(crate) fn iter_known(&self) -> impl Iterator<Item = (Known, &[u8], &[u8])> {
        let live = self.added.iter().filter(|added| !added.removed);
        live.map(|added| (added.known, added.name.of(&self.text), added.value.of(&self.text)))
    }

    pub(crate) fn has_added(&self, known: Known) -> bool {
        self.known.contains(known)
    }

    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) {
        self.add_known(Known::of(name), name, value);
    }

    pub(crate) fn add_known(&mut self, known: Known, name: &[u8], value: &[u8]) {
        self.known.insert(known);
        let text = &mut self.text;
        text.reserve(name.len() + value.len() + 4);
        let start = text.len();
        text.extend_from_slice(name);
        text.extend_from_slice(b": ");
        let middle = text.len();
        text.extend_from_slice(value);
        let end = text.len();
        text.extend_from_slice(b"\r\n");
        let (name, value) = (Span::new(start, middle - 2), Span::new(middle, end));
        self.added.push(Added { name, value, known, removed: false });
    }

    /// The same with a line that is ready: `name: value`, its end included.
    pub(crate) fn add_line(&mut self, known: Known, name: usize, line: &[u8]) {
        self.known.insert(known);
        let start = self.text.len();
        self.text.extend_from_slice(line);
        let (name, value) = (Span::new(start, start + name), Span::new(start + name + 2, self.text.len() - 2));
        self.added.push(Added { name, value, known, removed: false });
    }

    /// The values of the added fields of a known name.
    pub(crate) fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let live = self.added.iter().filter(move |added| added.known == known && !added.removed);
        live.map(|added| added.value.of(&self.text))
    }

    /// Writes the lines of the added fields.
    pub(crate) fn write_added(&self, out: &mut Vec<u8>) {
        if !self.any_added_removed {
            return out.extend_from_slice(&self.text);
        }
        for added in self.added.iter().filter(|added| !added.removed) {
            out.extend_from_slice(&self.text[added.name.start as usize..added.value.end as usize + 2]);
        }
    }

    /// Removes every field of a known name. Usually that is the one whose place is known, too.
    pub(crate) fn remove_known(&mut self, raw: &RawHead, known: Known) {
        match raw.first(known) {
            Some((index, _)) if !raw.repeated.contains(known) => self.remove_raw(index),
            Some(_) => {
                let same = raw.fields.iter().enumerate().filter(|(_, field)| field.known == known);
                same.for_each(|(index, _)| self.remove_raw(index));
            }
            None => {}
        }
        if self.has_added(known) {
            for added in self.added.iter_mut().filter(|added| added.known == known && !added.removed) {
                added.removed = true;
                self.any_added_removed = true;
            }
        }
    }

    /// Removes every field for which `matches` holds; says whether there was one.
    pub(crate) fn remove_where(&mut self, raw: &RawHead, matches: impl Fn(&[u8]) -> bool) -> bool {
        let mut found = false;
        for (index, field) in raw.fields.iter().enumerate() {
            if matches(field.name.of(&raw.bytes)) && !self.is_removed(index) {
                self.remove_raw(index);
                found = true;
            }
        }
        for added in &mut self.added {
            if !added.removed && matches(added.name.of(&self.text)) {
                added.removed = true;
                self.any_added_removed = true;
                found = true;
            }
        }
        found
    }
}

impl Clone for Edits {
    fn clone(&self) -> Self {
        let mut copy = Edits::default();
        copy.clone_from(self);
        copy
    }

    /// Into the memory that is there.
    fn clone_from(&mut self, other: &Self) {
        self.removed = other.removed;
        self.added.clone_from(&other.added);
        self.text.clone_from(&other.text);
        self.known = other.known;
        self.any_added_removed = other.any_added_removed;
    }
}

/// Edits that take memory once there are any, and give it back for the next head's.
#[derive(Debug, Default)]
pub(crate) struct Overlay(Option<Box<Edits>>);

impl Overlay {
    pub(crate) fn get(&self) -> Option<&Edits> {
        self.0.as_deref()
    }

    pub(crate) fn get_mut(&mut self) -> &mut Edits {
        self.0.get_or_insert_with(|| FREE.with(FreeList::take).unwrap_or_default())
    }
}

impl Clone for Overlay {
    fn clone(&self) -> Self {
        let mut copy = Overlay::default();
        if let Some(edits) = self.get() {
            copy.get_mut().clone_from(edits);
        }
        copy
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        if let Some(mut edits) = self.0.take()
            && edits.text.capacity() <= 16 * 1024
        {
            edits.clear();
            // At thread exit the list may be gone already: then the edits are simply freed.
            let _ = FREE.try_with(|free| free.give(edits));
        }
    }
}
