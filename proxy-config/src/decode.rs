//! From the JSON tree to typed values, collecting every error on the way.
//!
//! A decoder is a function `fn(Cursor) -> Option<T>`. `None` means "already reported": the caller goes on with the
//! rest of the file, so that all mistakes appear in one run.

mod fields;
mod outline;
mod report;
mod tagged;
mod unique;

pub(crate) use fields::Fields;
pub(crate) use outline::{Key, Named, Object, Origin, Rule, Shape, Tagged};
pub(crate) use report::{Leads, Report};
pub(crate) use tagged::Variant;
pub(crate) use unique::Unique;

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use crate::error::{ConfigError, ErrorKind};
use crate::json::{Member, Node, Value};
use crate::path::Path;
use outline::{Kind, Outline};

/// A value, the way to it, and the place for complaints.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    subject: Subject<'a>,
    path: &'a Path<'a>,
    report: &'a Report,
}

/// What a decoder is run over.
#[derive(Clone, Copy)]
enum Subject<'a> {
    /// What stands in the file.
    Value(&'a Node),
    /// Nothing yet: see [`outline`].
    Outline(&'a Outline),
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(node: &'a Node, path: &'a Path<'a>, report: &'a Report) -> Self {
        Self { subject: Subject::Value(node), path, report }
    }

    fn outline(self) -> Option<&'a Outline> {
        match self.subject {
            Subject::Value(_) => None,
            Subject::Outline(outline) => Some(outline),
        }
    }

    /// Reports that this value is wrong.
    pub(crate) fn fail<T>(self, message: impl Into<String>) -> Option<T> {
        if let Subject::Value(node) = self.subject
            && !matches!(node.value, Value::Unknown)
        {
            let error = ConfigError::new(ErrorKind::Invalid, message.into());
            self.report.push(error.at(node.position).under(self.path.to_string()));
        }
        None
    }

    /// Reports that this value is of another kind than `what`.
    pub(crate) fn expected<T>(self, what: &str) -> Option<T> {
        match self.subject {
            Subject::Value(node) => self.fail(format!("expected {what}, found {}", describe(&node.value))),
            Subject::Outline(_) => None,
        }
    }

    pub(crate) fn report(self) -> &'a Report {
        self.report
    }

    pub(crate) fn is_string(self) -> bool {
        self.is(Kind::String)
    }

    pub(crate) fn is_array(self) -> bool {
        self.is(Kind::Array)
    }

    pub(crate) fn is_number(self) -> bool {
        self.is(Kind::Number)
    }

    pub(crate) fn is_false(self) -> bool {
        self.is(Kind::False)
    }

    fn is(self, kind: Kind) -> bool {
        let node = match self.subject {
            Subject::Value(node) => node,
            Subject::Outline(outline) => return outline.assume(kind),
        };
        match kind {
            Kind::String => matches!(node.value, Value::String(_)),
            Kind::Array => matches!(node.value, Value::Array(_)),
            Kind::Number => matches!(node.value, Value::Number(_)),
            Kind::False => matches!(node.value, Value::Bool(false)),
        }
    }

    /// What the string that is read next looks like, as a regular expression, for editors. The decoder decides.
    pub(crate) fn like(self, pattern: &'static str) -> Self {
        if let Subject::Outline(outline) = self.subject {
            outline.note_pattern(pattern);
        }
        self
    }

    /// `true` or `false`; `what` says what else there may be.
    pub(crate) fn boolean(self, what: &str) -> Option<bool> {
        match self.read(|| Shape::Boolean)? {
            Value::Bool(value) => Some(*value),
            _ => self.expected(what),
        }
    }

    /// A string; `what` says which sort of string to write.
    pub(crate) fn string(self, what: &str) -> Option<&'a str> {
        if let Subject::Outline(outline) = self.subject {
            outline.say_string(what);
            return None;
        }
        match self.value()? {
            Value::String(text) => Some(text),
            _ => self.expected(what),
        }
    }

    /// A string that `parse` understands.
    pub(crate) fn parsed<T>(self, what: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        parse(self.string(what)?).map_or_else(|message| self.fail(message), Some)
    }

    /// A whole number within `range`, which is never rounded or clamped.
    pub(crate) fn integer<N>(self, range: RangeInclusive<N>) -> Option<N>
    where
        N: Copy + PartialOrd + std::fmt::Display + std::str::FromStr,
    {
        let shape = || Shape::Integer { min: range.start().to_string(), max: range.end().to_string() };
        let number = match self.read(shape)? {
            Value::Number(text) => text.parse().ok().filter(|number| range.contains(number)),
            _ => None,
        };
        match number {
            Some(number) => Some(number),
            None => self.expected(&format!("a whole number from {} to {}", range.start(), range.end())),
        }
    }

    /// An array with each item decoded by `read`; `None` if any of them is wrong.
    pub(crate) fn list<T>(self, what: &str, read: impl FnMut(Cursor<'_>) -> Option<T>) -> Option<Vec<T>> {
        self.items(what, 0, read)
    }

    /// An array with at least one item.
    pub(crate) fn non_empty_list<T>(self, what: &str, read: impl FnMut(Cursor<'_>) -> Option<T>) -> Option<Vec<T>> {
        let items = self.items(what, 1, read)?;
        if items.is_empty() { self.fail(format!("is empty; expected {what}")) } else { Some(items) }
    }

    fn items<T>(self, what: &str, min: usize, mut read: impl FnMut(Cursor<'_>) -> Option<T>) -> Option<Vec<T>> {
        let Value::Array(items) =
            self.read(|| Shape::Array { items: Box::new(Shape::of(self.report, &mut read)), min })?
        else {
            return self.expected(what);
        };
        let decoded = items.iter().enumerate().map(|(index, item)| self.item(index, item, &mut read));
        let decoded: Vec<_> = decoded.collect();
        decoded.into_iter().collect()
    }

    /// An object whose keys are free names.
    pub(crate) fn map<T>(
        self,
        what: &str,
        read: impl FnMut(&str, Cursor<'_>) -> Option<T>,
    ) -> Option<BTreeMap<String, T>> {
        self.entries(what, 0, read)
    }

    /// An object with at least one entry.
    pub(crate) fn non_empty_map<T>(
        self,
        what: &str,
        read: impl FnMut(&str, Cursor<'_>) -> Option<T>,
    ) -> Option<BTreeMap<String, T>> {
        let entries = self.entries(what, 1, read)?;
        if entries.is_empty() { self.fail("needs at least one entry") } else { Some(entries) }
    }

    fn entries<T>(
        self,
        what: &str,
        min: usize,
        mut read: impl FnMut(&str, Cursor<'_>) -> Option<T>,
    ) -> Option<BTreeMap<String, T>> {
        if let Some(outline) = self.outline() {
            outline.say(Shape::Map { values: Box::new(Shape::of(self.report, |value| read("name", value))), min });
        }
        let members = self.members(what)?;
        let mut decoded = Vec::with_capacity(members.len());
        for member in members {
            let value = self.member(member, |value| read(&member.key, value));
            decoded.push(value.map(|value| (member.key.clone(), value)));
        }
        decoded.into_iter().collect()
    }

    /// An object with the keys that `read` asks for and no others.
    #[track_caller]
    pub(crate) fn object<T>(self, what: &str, read: impl FnOnce(&mut Fields<'a>) -> Option<T>) -> Option<T> {
        let mut fields = match self.outline() {
            Some(outline) => Fields::outlined(self, outline, Origin::of::<T>()),
            None => Fields::new(self, self.members(what)?),
        };
        let value = read(&mut fields);
        fields.finish();
        value
    }

    /// The members of an object, once duplicates have been reported.
    fn members(self, what: &str) -> Option<&'a [Member]> {
        let Value::Object(members) = self.value()? else {
            return self.expected(what);
        };
        let mut first = HashMap::with_capacity(members.len());
        for member in members {
            let position = *first.entry(member.key.as_str()).or_insert(member.node.position);
            if position != member.node.position {
                self.member(member, |value| value.fail::<()>(format!("given twice, first at {position}")));
            }
        }
        Some(members)
    }

    /// The value; where there is none, `shape` is written down.
    fn read(self, shape: impl FnOnce() -> Shape) -> Option<&'a Value> {
        if let Subject::Outline(outline) = self.subject {
            outline.say(shape());
        }
        self.value()
    }

    fn value(self) -> Option<&'a Value> {
        match self.subject {
            Subject::Value(node) => Some(&node.value),
            Subject::Outline(_) => None,
        }
    }

    fn member<T>(self, member: &Member, read: impl FnOnce(Cursor<'_>) -> T) -> T {
        let path = Path::Key(self.path, &member.key);
        read(Cursor::new(&member.node, &path, self.report))
    }

    fn item<T>(self, index: usize, node: &Node, read: impl FnOnce(Cursor<'_>) -> T) -> T {
        let path = Path::Index(self.path, index);
        read(Cursor::new(node, &path, self.report))
    }

    /// Goes to the value of `key` once more, to report what only shows between values.
    pub(crate) fn revisit_key(self, key: &str, read: impl FnOnce(Cursor<'_>)) {
        if let Some(Value::Object(members)) = self.value()
            && let Some(member) = members.iter().find(|member| member.key == key)
        {
            self.member(member, read);
        }
    }
}

/// The value as a reader of the file would call it.
fn describe(value: &Value) -> String {
    match value {
        Value::Null | Value::Unknown => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(text) => shorten(text),
        Value::String(text) => quote(text),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Quotes text for a message: control characters escaped, long text cut.
pub(crate) fn quote(text: &str) -> String {
    format!("{:?}", shorten(text))
}

fn shorten(text: &str) -> String {
    const READABLE: usize = 60;
    match text.char_indices().nth(READABLE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
