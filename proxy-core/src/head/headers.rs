//! The fields of a head.

use std::fmt;

use http::{HeaderName, HeaderValue};

use super::edits::{Edits, Overlay};
use super::{Known, RawHead, SharedHead};

/// The fields of a head, in the order and the spelling they arrived in, plus the edits made since.
///
/// Values are bytes: HTTP allows more than UTF-8 there. Names compare without regard to case.
/// What is inserted or appended comes behind the fields that arrived.
///
/// ```
/// use http::{HeaderValue, header};
/// use proxy_core::RequestHead;
///
/// let mut head = RequestHead::new(http::Method::GET, "/")?;
/// head.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("text/html"));
/// assert_eq!(head.headers().get(header::ACCEPT), Some(&b"text/html"[..]));
/// # Ok::<(), proxy_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Headers {
    raw: SharedHead,
    edits: Overlay,
}

impl Headers {
    pub(super) fn new(raw: SharedHead) -> Self {
        Headers { raw, edits: Overlay::default() }
    }

    /// The value of the first field of this name.
    pub fn get(&self, name: impl AsRef<str>) -> Option<&[u8]> {
        let name = name.as_ref().as_bytes();
        self.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the first field of this name, where it is UTF-8.
    pub fn get_str(&self, name: impl AsRef<str>) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all fields of this name, in order.
    pub fn get_all<'a>(&'a self, name: &'a (impl AsRef<str> + ?Sized)) -> impl Iterator<Item = &'a [u8]> {
        let name = name.as_ref().as_bytes();
        self.iter().filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether there is a field of this name.
    pub fn contains(&self, name: impl AsRef<str>) -> bool {
        self.get(name).is_some()
    }

    /// Every field: name as it was spelled, and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (raw, edits) = (self.raw.raw(), self.edits.get());
        let removed = move |index| edits.is_some_and(|edits| edits.is_removed(index));
        let arrived = raw.fields.iter().enumerate().filter(move |(index, _)| !removed(*index));
        let arrived = arrived.map(|(_, field)| (field.name.of(&raw.bytes), field.value.of(&raw.bytes)));
        arrived.chain(edits.into_iter().flat_map(Edits::iter))
    }

    /// Every field with what the engine knows of its name.
    #[cfg(feature = "http2")]
    pub(crate) fn iter_known(&self) -> impl Iterator<Item = (Known, &[u8], &[u8])> {
        let (raw, edits) = (self.raw.raw(), self.edits.get());
        let removed = move |index| edits.is_some_and(|edits| edits.is_removed(index));
        let arrived = raw.fields.iter().enumerate().filter(move |(index, _)| !removed(*index));
        let arrived = arrived.map(|(_, field)| (field.known, field.name.of(&raw.bytes), field.value.of(&raw.bytes)));
        arrived.chain(edits.into_iter().flat_map(Edits::iter_known))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Sets the one field of this name: what was there of it goes.
    // By value, as `http::HeaderMap` takes them: callers have constants at hand.
    #[allow(clippy::needless_pass_by_value)]
    pub fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        self.remove(&name);
        self.edits.get_mut().add(name.as_str().as_bytes(), value.as_bytes());
    }

    /// Adds a field beside those of the same name.
    #[allow(clippy::needless_pass_by_value)]
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.edits.get_mut().add(name.as_str().as_bytes(), value.as_bytes());
    }

    /// Removes every field of this name; says whether there was one.
    pub fn remove(&mut self, name: impl AsRef<str>) -> bool {
        let name = name.as_ref().as_bytes();
        self.edits.get_mut().remove_where(self.raw.raw(), |candidate| candidate.eq_ignore_ascii_case(name))
    }

    pub(crate) fn raw(&self) -> &RawHead {
        self.raw.raw()
    }

    pub(crate) fn shared(&self) -> &SharedHead {
        &self.raw
    }

    /// Whether a field the engine knows is there.
    pub(crate) fn has(&self, known: Known) -> bool {
        self.first(known).is_some()
    }

    /// Whether such a field is, or was, there: one bit.
    pub(crate) fn may_have(&self, known: Known) -> bool {
        self.raw.raw().known.contains(known) || self.edits.get().is_some_and(|edits| edits.has_added(known))
    }

    /// Whether more than one such field arrived.
    pub(crate) fn repeats(&self, known: Known) -> bool {
        self.raw.raw().repeated.contains(known)
    }

    pub(crate) fn first(&self, known: Known) -> Option<&[u8]> {
        let (raw, edits) = (self.raw.raw(), self.edits.get());
        match (raw.first(known), edits) {
            (None, None) => None,
            (Some((_, field)), None) => Some(field.value.of(&raw.bytes)),
            (Some((index, field)), Some(edits)) if !edits.is_removed(index) => Some(field.value.of(&raw.bytes)),
            (None, Some(edits)) if !edits.has_added(known) => None,
            _ => self.all(known).next(),
        }
    }

    pub(crate) fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let (raw, edits) = (self.raw.raw(), self.edits.get());
        let fields = if raw.known.contains(known) { &raw.fields[..] } else { &[] };
        let removed = move |index| edits.is_some_and(|edits| edits.is_removed(index));
        let arrived = fields.iter().enumerate().filter(move |(index, field)| field.known == known && !removed(*index));
        let added = edits.filter(|edits| edits.has_added(known)).into_iter().flat_map(move |edits| edits.all(known));
        arrived.map(|(_, field)| field.value.of(&raw.bytes)).chain(added)
    }

    /// Adds a field whose name and value are known to be well-formed.
    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) {
        self.edits.get_mut().add(name, value);
    }

    /// The same for a name that needs no recognising.
    pub(crate) fn add_known(&mut self, known: Known, name: &[u8], value: &[u8]) {
        self.edits.get_mut().add_known(known, name, value);
    }

    /// The same for a line that is ready, its end included; the name is so long.
    pub(crate) fn add_line(&mut self, known: Known, name: usize, line: &[u8]) {
        self.edits.get_mut().add_line(known, name, line);
    }

    pub(crate) fn remove_known(&mut self, known: Known) {
        if self.may_have(known) {
            self.edits.get_mut().remove_known(self.raw.raw(), known);
        }
    }

    pub(crate) fn remove_raw(&mut self, index: usize) {
        self.edits.get_mut().remove_raw(index);
    }

    /// Writes every field line, without the empty line that ends the head.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        match self.edits.get() {
            Some(edits) if edits.any_removed() => self.write_runs(edits, out),
            _ => self.write_arrived(out),
        }
        if let Some(edits) = self.edits.get() {
            edits.write_added(out);
        }
    }

    /// Copies the lines that arrived. Raw lines are safe to copy only because the parser refused
    /// every lenient spelling (`http1::parse`): keep the two together.
    fn write_arrived(&self, out: &mut Vec<u8>) {
        let raw = self.raw.raw();
        let start = raw.line_end as usize;
        let end = raw.fields.last().map_or(start, |field| field.end as usize);
        out.extend_from_slice(&raw.bytes[start..end]);
    }

    /// The same in runs between removed lines.
    fn write_runs(&self, edits: &Edits, out: &mut Vec<u8>) {
        let raw = self.raw.raw();
        let mut run = raw.line_end as usize;
        for (index, field) in raw.fields.iter().enumerate() {
            if edits.is_removed(index) {
                out.extend_from_slice(&raw.bytes[run..field.name.start as usize]);
                run = field.end as usize;
            }
        }
        let end = raw.fields.last().map_or(run, |field| field.end as usize);
        out.extend_from_slice(&raw.bytes[run..end]);
    }

    /// Whether anything was changed since the head arrived.
    pub fn is_edited(&self) -> bool {
        self.edits.get().is_some_and(|edits| !edits.is_empty())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        f.debug_map().entries(self.iter().map(|(name, value)| (text(name), text(value)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;
    use crate::RequestHead;

    fn head(text: &str) -> RequestHead {
        crate::http1::parse::request(text.as_bytes(), &crate::Limits::default()).unwrap().unwrap().head
    }

    fn lines(headers: &Headers) -> String {
        let mut out = Vec::new();
        headers.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_unedited_head_is_copied_byte_for_byte() {
        let head = head("GET / HTTP/1.1\r\nhOsT:  a \r\nX-B: 1\r\nx-b:2\r\n\r\n");
        assert_eq!(lines(head.headers()), "hOsT:  a \r\nX-B: 1\r\nx-b:2\r\n");
    }

    #[test]
    fn edits_remove_runs_and_come_last() {
        let mut head = head("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nHost: h\r\nb: 3\r\nC: 4\r\n\r\n");
        head.headers_mut().insert(HeaderName::from_static("b"), HeaderValue::from_static("5"));
        head.headers_mut().append(header::ACCEPT, HeaderValue::from_static("*/*"));
        assert_eq!(lines(head.headers()), "A: 1\r\nHost: h\r\nC: 4\r\nb: 5\r\naccept: */*\r\n");
        assert!(head.headers_mut().remove("B"));
        assert!(!head.headers_mut().remove("B"));
        assert_eq!(head.headers().len(), 4);
        assert_eq!(lines(head.pristine().headers()), "A: 1\r\nB: 2\r\nHost: h\r\nb: 3\r\nC: 4\r\n");
    }

    #[test]
    fn known_fields_are_found_in_both_layers() {
        let mut head = head("GET / HTTP/1.1\r\nHost: h\r\nVia: 1.1 a\r\n\r\n");
        head.headers_mut().append(header::VIA, HeaderValue::from_static("1.1 b"));
        let via: Vec<_> = head.headers().all(Known::Via).collect();
        assert_eq!(via, [&b"1.1 a"[..], b"1.1 b"]);
        head.headers_mut().remove_known(Known::Via);
        assert!(!head.headers().has(Known::Via));
    }

    #[test]
    fn removing_a_known_field_removes_all_of_its_name() {
        let mut head = head("GET / HTTP/1.1\r\nVia: 1.1 a\r\nHost: h\r\nvia: 1.1 b\r\n\r\n");
        head.headers_mut().append(header::VIA, HeaderValue::from_static("1.1 c"));
        head.headers_mut().append(header::ACCEPT, HeaderValue::from_static("*/*"));
        head.headers_mut().remove_known(Known::Via);
        assert_eq!(lines(head.headers()), "Host: h\r\naccept: */*\r\n");
    }
}
