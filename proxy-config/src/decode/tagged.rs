//! Values written as `"name"`, or as `{"name": settings}` when there is something to set.

use std::cell::RefCell;

use super::{Cursor, Named, Origin, Shape, Subject, Tagged};
use crate::json::Value;

/// What stands behind a name: the settings, or nothing when only the name was written.
#[derive(Clone, Copy)]
pub(crate) struct Settings<'a> {
    name: &'a str,
    /// Where the name stands.
    place: Cursor<'a>,
    value: Option<Cursor<'a>>,
    /// Where to write down what is asked for.
    outline: Option<&'a RefCell<Named>>,
}

/// A name and the decoder of its settings.
pub(crate) type Variant<T> = (&'static str, Read<T>);

type Read<T> = fn(Settings<'_>) -> Option<T>;

impl<'a> Cursor<'a> {
    /// A name out of `variants`, with or without settings; `what` names the sort of thing.
    #[track_caller]
    pub(crate) fn tagged<T>(self, what: &str, variants: &[Variant<T>]) -> Option<T> {
        self.tagged_or(what, variants, &[], |_| None)
    }

    /// The same, or one of `others`, which `read` decodes.
    #[track_caller]
    pub(crate) fn tagged_or<T>(
        self,
        what: &str,
        variants: &[Variant<T>],
        others: &[&str],
        other: Read<T>,
    ) -> Option<T> {
        let others = others.iter().map(|name| (*name, other));
        let variants: Vec<(&str, Read<T>)> = variants.iter().map(|(name, read)| (*name, *read)).chain(others).collect();
        let node = match self.subject {
            Subject::Value(node) => node,
            Subject::Outline(outline) => {
                let variants = variants.iter().map(|(name, read)| self.outline_of(name, *read)).collect();
                outline.say(Shape::Tagged(Tagged { origin: Origin::of::<T>(), variants }));
                return None;
            }
        };
        match &node.value {
            Value::String(name) => {
                self.variant(what, &variants, Settings { name, place: self, value: None, outline: None })
            }
            Value::Object(members) if members.len() == 1 => self.member(&members[0], |value| {
                let settings = Settings { name: &members[0].key, place: value, value: Some(value), outline: None };
                value.variant(what, &variants, settings)
            }),
            Value::Object(_) => self.fail(format!("expected an object with one key, the name of the {what}")),
            _ => self.expected(&format!("the name of a {what}, or an object with that name as its one key")),
        }
    }

    fn outline_of<T>(self, name: &str, read: Read<T>) -> Named {
        let named = RefCell::new(Named { name: name.to_owned(), is_bare: false, settings: None });
        read(Settings { name, place: self, value: None, outline: Some(&named) });
        named.into_inner()
    }

    fn variant<T>(self, what: &str, variants: &[(&str, Read<T>)], settings: Settings<'_>) -> Option<T> {
        match variants.iter().find(|(name, _)| *name == settings.name) {
            Some((_, read)) => read(settings),
            None => self.unknown(&format!("unknown {what}"), settings.name, variants.iter().map(|(name, _)| *name)),
        }
    }
}

impl<'a> Settings<'a> {
    /// A variant without settings; an empty object is as good as none.
    pub(crate) fn none<T>(self, value: T) -> Option<T> {
        if let Some(outline) = self.outline {
            outline.borrow_mut().is_bare = true;
            return None;
        }
        match self.value {
            None => Some(value),
            Some(settings) => settings.object("an empty object", |_| Some(value)),
        }
    }

    /// A variant that needs settings.
    pub(crate) fn required<T>(self, mut read: impl FnMut(Cursor<'_>) -> Option<T>) -> Option<T> {
        if let Some(outline) = self.outline {
            outline.borrow_mut().settings = Some(Shape::of(self.place.report, read));
            return None;
        }
        match self.value {
            Some(settings) => read(settings),
            None => self.place.fail(format!("{:?} needs settings: {{{:?}: …}}", self.name, self.name)),
        }
    }

    /// A variant that can do without settings.
    pub(crate) fn optional<T>(self, absent: T, read: impl FnMut(Cursor<'_>) -> Option<T>) -> Option<T> {
        match (self.outline, self.value) {
            (Some(outline), _) => {
                outline.borrow_mut().is_bare = true;
                self.required(read)
            }
            (None, Some(_)) => self.required(read),
            (None, None) => Some(absent),
        }
    }

    /// A variant that is not ours: its name and what stands behind it, as JSON; `null` if there is nothing.
    pub(crate) fn plugin<T>(self, make: impl FnOnce(String, String) -> T) -> Option<T> {
        if let Some(outline) = self.outline {
            let mut outline = outline.borrow_mut();
            (outline.is_bare, outline.settings) = (true, Some(Shape::Anything));
            return None;
        }
        let settings = match self.value.map(|value| value.subject) {
            Some(Subject::Value(node)) => node.to_string(),
            _ => "null".to_owned(),
        };
        Some(make(self.name.to_owned(), settings))
    }
}
