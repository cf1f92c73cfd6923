//! Values written as `"name"`, or as `{"name": settings}` when there is something to set.

use super::Cursor;
use crate::json::Value;

/// What stands behind a name: the settings, or nothing when only the name was written.
#[derive(Clone, Copy)]
pub(crate) struct Settings<'a> {
    name: &'a str,
    /// Where the name stands.
    place: Cursor<'a>,
    value: Option<Cursor<'a>>,
}

/// A name and the decoder of its settings.
pub(crate) type Variant<T> = (&'static str, fn(Settings<'_>) -> Option<T>);

impl<'a> Cursor<'a> {
    /// A name out of `variants`, with or without settings; `what` names the sort of thing.
    pub(crate) fn tagged<T>(self, what: &str, variants: &[Variant<T>]) -> Option<T> {
        match &self.node.value {
            Value::String(name) => self.variant(what, variants, Settings { name, place: self, value: None }),
            Value::Object(members) if members.len() == 1 => self.member(&members[0], |value| {
                let settings = Settings { name: &members[0].key, place: value, value: Some(value) };
                value.variant(what, variants, settings)
            }),
            Value::Object(_) => self.fail(format!("expected an object with one key, the name of the {what}")),
            _ => self.expected(&format!("the name of a {what}, or an object with that name as its one key")),
        }
    }

    fn variant<T>(self, what: &str, variants: &[Variant<T>], settings: Settings<'_>) -> Option<T> {
        match variants.iter().find(|(name, _)| *name == settings.name) {
            Some((_, read)) => read(settings),
            None => self.unknown(&format!("unknown {what}"), settings.name, variants.iter().map(|(name, _)| *name)),
        }
    }
}

impl<'a> Settings<'a> {
    /// A variant without settings; an empty object is as good as none.
    pub(crate) fn none<T>(self, value: T) -> Option<T> {
        match self.value {
            None => Some(value),
            Some(settings) => settings.object("an empty object", |_| Some(value)),
        }
    }

    /// A variant that needs settings.
    pub(crate) fn required<T>(self, read: impl FnOnce(Cursor<'a>) -> Option<T>) -> Option<T> {
        match self.value {
            Some(settings) => read(settings),
            None => self.place.fail(format!("{:?} needs settings: {{{:?}: …}}", self.name, self.name)),
        }
    }

    /// A variant that can do without settings.
    pub(crate) fn optional<T>(self, absent: T, read: impl FnOnce(Cursor<'a>) -> Option<T>) -> Option<T> {
        self.value.map_or(Some(absent), read)
    }
}
