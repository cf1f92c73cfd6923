//! What a decoder takes, found out by asking it.
//!
//! A decoder that is run over an [`Outline`] instead of a value reads nothing: each word of its vocabulary (an
//! integer of this range, an object with these keys) is written down instead. So the JSON Schema and the reference
//! page cannot say anything else than what is decoded.

use std::cell::{Cell, RefCell};
use std::panic::Location;

use super::{Cursor, Report, Subject};
use crate::path::Path;

/// What may be written somewhere.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// `true` or `false`.
    Boolean,
    /// Nothing but `false`.
    False,
    /// A whole number, both ends included.
    Integer { min: String, max: String },
    /// A string: in words, and as a regular expression where there is one.
    String { what: String, pattern: Option<&'static str> },
    /// An array.
    Array { items: Box<Shape>, min: usize },
    /// An object whose keys are free names.
    Map { values: Box<Shape>, min: usize },
    /// An object with these keys.
    Object(Object),
    /// A name, or an object with that name as its one key.
    Tagged(Tagged),
    /// Whatever a plugin takes.
    Anything,
    /// Any of these.
    Either(Vec<Shape>),
}

/// An object with a fixed set of keys.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object {
    pub(crate) origin: Origin,
    pub(crate) keys: Vec<Key>,
    pub(crate) rules: Vec<Rule>,
}

/// A key of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) is_required: bool,
    pub(crate) shape: Shape,
}

/// What holds between the keys of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rule {
    /// Exactly one of them is there.
    One(Vec<&'static str>),
    /// At least one of them is there.
    Any(Vec<&'static str>),
    /// Where it is there, it is the only one.
    Alone(&'static str),
    /// At most one of them is there.
    NoTwo(Vec<&'static str>),
}

/// One of these names, with or without settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tagged {
    pub(crate) origin: Origin,
    pub(crate) variants: Vec<Named>,
}

/// One of the names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Named {
    pub(crate) name: String,
    /// Whether the name may stand alone.
    pub(crate) is_bare: bool,
    pub(crate) settings: Option<Shape>,
}

/// Where a decoder stands and what it makes: there is what it is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Origin {
    /// The source file.
    pub(crate) file: &'static str,
    /// The type that is decoded into, with its path.
    pub(crate) into: &'static str,
}

impl Origin {
    #[track_caller]
    pub(super) fn of<T>() -> Self {
        Self { file: Location::caller().file(), into: std::any::type_name::<T>() }
    }
}

impl Shape {
    /// Asks `decoder`, as often as it decides by the kind of a value how to go on.
    pub(crate) fn of<T>(report: &Report, mut decoder: impl FnMut(Cursor<'_>) -> Option<T>) -> Self {
        let mut shapes = Vec::new();
        loop {
            let outline = Outline { denials: shapes.len(), ..Outline::default() };
            decoder(Cursor { subject: Subject::Outline(&outline), path: &Path::Root, report });
            let assumed = outline.assumed.get();
            shapes.extend(outline.said.into_inner().or(assumed.map(Kind::shape)));
            if assumed.is_none() {
                break;
            }
        }
        match <[Shape; 1]>::try_from(shapes) {
            Ok([shape]) => shape,
            Err(several) => Shape::Either(several),
        }
    }
}

/// What a decoder may ask of a value before it reads it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    String,
    Array,
    Number,
    False,
}

impl Kind {
    /// For decoders that, once they know, read no further.
    fn shape(self) -> Shape {
        match self {
            Kind::False => Shape::False,
            Kind::String | Kind::Array | Kind::Number => Shape::Either(Vec::new()),
        }
    }
}

/// Where a decoder's words are written down instead of a value being read.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    said: RefCell<Option<Shape>>,
    pattern: Cell<Option<&'static str>>,
    /// How many questions are answered with no before one is answered with yes.
    denials: usize,
    asked: Cell<usize>,
    assumed: Cell<Option<Kind>>,
}

impl Outline {
    /// Writes down what is read first: what comes after it depends on it.
    pub(super) fn say(&self, shape: Shape) {
        self.said.borrow_mut().get_or_insert(shape);
    }

    pub(super) fn say_string(&self, what: &str) {
        self.say(Shape::String { what: what.to_owned(), pattern: self.pattern.get() });
    }

    /// The outermost decoder knows best.
    pub(super) fn note_pattern(&self, pattern: &'static str) {
        self.pattern.set(self.pattern.get().or(Some(pattern)));
    }

    /// Whether to assume that the value is of this kind: once, and another question each time.
    pub(super) fn assume(&self, kind: Kind) -> bool {
        let asked = self.asked.replace(self.asked.get() + 1);
        let yes = asked == self.denials;
        if yes {
            self.assumed.set(Some(kind));
        }
        yes
    }
}
