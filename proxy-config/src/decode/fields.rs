//! The keys of one object, each asked for by name.

use super::outline::Outline;
use super::{Cursor, Key, Object, Origin, Rule, Shape, quote};
use crate::json::Member;
use crate::nearest::{any_of, suggest};
use crate::path::Path;

pub(crate) struct Fields<'a> {
    cursor: Cursor<'a>,
    members: &'a [Member],
    known: Vec<&'static str>,
    outlined: Option<Outlined<'a>>,
}

/// Where to write down what is asked for, and what has been.
struct Outlined<'a> {
    outline: &'a Outline,
    object: Object,
}

impl<'a> Fields<'a> {
    pub(super) fn new(cursor: Cursor<'a>, members: &'a [Member]) -> Self {
        Self { cursor, members, known: Vec::new(), outlined: None }
    }

    pub(super) fn outlined(cursor: Cursor<'a>, outline: &'a Outline, origin: Origin) -> Self {
        let object = Object { origin, keys: Vec::new(), rules: Vec::new() };
        Self { cursor, members: &[], known: Vec::new(), outlined: Some(Outlined { outline, object }) }
    }

    /// The object itself, for errors about more than one key.
    pub(crate) fn object(&self) -> Cursor<'a> {
        self.cursor
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.members.iter().any(|member| member.key == key)
    }

    /// The value of `key`; `None` when absent or, once reported, wrong.
    pub(crate) fn optional<T>(&mut self, key: &'static str, read: impl FnMut(Cursor<'_>) -> Option<T>) -> Option<T> {
        self.read(key, false, read)
    }

    /// The value of `key`, whose absence is an error; `what` says what to write there.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        what: &str,
        read: impl FnMut(Cursor<'_>) -> Option<T>,
    ) -> Option<T> {
        if !self.has(key) {
            self.cursor.missing(key, what);
        }
        self.read(key, true, read)
    }

    /// The value of `key`, whose absence is an error unless there is one of `others`.
    pub(crate) fn required_unless<T>(
        &mut self,
        others: &[&'static str],
        key: &'static str,
        what: &str,
        read: impl FnMut(Cursor<'_>) -> Option<T>,
    ) -> Option<T> {
        if !self.has(key) && !others.iter().any(|other| self.has(other)) {
            self.cursor.missing(key, what);
        }
        self.rule(Rule::Any([&[key], others].concat()));
        self.read(key, false, read)
    }

    fn read<T>(
        &mut self,
        key: &'static str,
        is_required: bool,
        mut read: impl FnMut(Cursor<'_>) -> Option<T>,
    ) -> Option<T> {
        if let Some(Outlined { object, .. }) = &mut self.outlined {
            object.keys.push(Key { name: key, is_required, shape: Shape::of(self.cursor.report, read) });
            return None;
        }
        self.known.push(key);
        let cursor = self.cursor;
        let member = self.members.iter().find(|member| member.key == key)?;
        cursor.member(member, &mut read)
    }

    fn rule(&mut self, rule: Rule) {
        if let Some(Outlined { object, .. }) = &mut self.outlined {
            object.rules.push(rule);
        }
    }

    /// `true`, `false`, or nothing said.
    pub(crate) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.optional(key, boolean)
    }

    /// Reports unless exactly one of `keys` is there.
    pub(crate) fn exactly_one(&mut self, keys: &[&'static str]) {
        self.rule(Rule::One(keys.to_vec()));
        if !keys.iter().any(|key| self.has(key)) {
            let keys = any_of(keys.iter().copied()).unwrap_or_default();
            self.cursor.fail::<()>(format!("needs one of {keys}"));
        }
        self.refuse_second(keys);
    }

    /// Reports if more than one of `keys` is there.
    pub(crate) fn at_most_one(&mut self, keys: &[&'static str]) {
        self.rule(Rule::NoTwo(keys.to_vec()));
        self.refuse_second(keys);
    }

    /// Reports every other key beside `key`, if that is there.
    pub(crate) fn alone(&mut self, key: &'static str) {
        self.rule(Rule::Alone(key));
        let others = self.members.iter().filter(|member| self.has(key) && member.key != key);
        for other in others {
            self.cursor.member(other, |value| value.fail::<()>(format!("has no meaning beside {key:?}")));
        }
    }

    /// Reports if none of `keys` is there; `otherwise` says what follows from that.
    pub(crate) fn at_least_one(&mut self, keys: &[&'static str], otherwise: &str) -> Option<()> {
        self.rule(Rule::Any(keys.to_vec()));
        if keys.iter().any(|key| self.has(key)) {
            return Some(());
        }
        let keys: Vec<_> = keys.iter().map(|key| quote(key)).collect();
        self.cursor.fail(format!("{otherwise}; needs at least one of {}", keys.join(", ")))
    }

    fn refuse_second(&self, keys: &[&'static str]) {
        let mut present = keys.iter().filter(|key| self.has(key));
        if let (Some(first), Some(second)) = (present.next(), present.next()) {
            self.cursor.fail::<()>(format!("has both {first:?} and {second:?}; only one of them is allowed"));
        }
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        if let Some(Outlined { outline, object }) = self.outlined {
            return outline.say(Shape::Object(object));
        }
        let unknown = self.members.iter().filter(|member| !self.known.contains(&member.key.as_str()));
        for member in unknown {
            self.cursor.member(member, |value| {
                let report = value.report();
                let message = || suggest("unknown key", &member.key, self.known.iter().copied());
                value.fail::<()>(report.unless_full(message))
            });
        }
    }
}

fn boolean(cursor: Cursor<'_>) -> Option<bool> {
    cursor.boolean("true or false")
}

impl Cursor<'_> {
    /// Reports that `key` is not there; the place is the object's.
    fn missing(self, key: &str, what: &str) {
        let path = Path::Key(self.path, key);
        Cursor { path: &path, ..self }.fail::<()>(format!("is missing; expected {what}"));
    }

    /// Reports that `given` is none of the names that are allowed here.
    pub(crate) fn unknown<'n, T>(
        self,
        what: &str,
        given: &str,
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> Option<T> {
        let message = || suggest(&format!("{what} {}", quote(given)), given, names);
        self.fail(self.report().unless_full(message))
    }
}
