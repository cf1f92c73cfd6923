//! The overlay: what was removed from a head and what was added to it.

use super::raw::{MAX_FIELDS, RawHead, Span};
use super::{Known, KnownSet};

/// A field added by an edit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Added {
    pub(crate) name: Span,
    pub(crate) value: Span,
    pub(crate) removed: bool,
}

/// Edits over a raw head. Removing sets a bit; adding appends to `text`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edits {
    removed: u128,
    pub(crate) added: Vec<Added>,
    pub(crate) text: Vec<u8>,
    /// Known names among the added fields, removed again or not.
    known: KnownSet,
}

const _: () = assert!(MAX_FIELDS <= 128, "removals are the bits of one u128");

impl Edits {
    pub(crate) fn is_empty(&self) -> bool {
        self.removed == 0 && self.added.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.removed = 0;
        self.added.clear();
        self.text.clear();
        self.known = KnownSet::default();
    }

    pub(crate) fn is_removed(&self, index: usize) -> bool {
        self.removed & (1 << index) != 0
    }

    pub(crate) fn any_removed(&self) -> bool {
        self.removed != 0
    }

    pub(crate) fn remove_raw(&mut self, index: usize) {
        self.removed |= 1 << index;
    }

    pub(crate) fn has_added(&self, known: Known) -> bool {
        self.known.contains(known)
    }

    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        let middle = self.text.len();
        self.text.extend_from_slice(value);
        let end = self.text.len();
        self.known.insert(Known::of(name));
        self.added.push(Added {
            name: Span::new(start, middle),
            value: Span::new(middle, end),
            removed: false,
        });
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
                found = true;
            }
        }
        found
    }
}
