//! The reference page: a section per part of a file, a table of its keys each.

use std::fmt::Write as _;

use super::default::default;
use super::docs::{self, KeyDocs};
use crate::decode::{Object, Shape, Tagged};

const INTRODUCTION: &str = "\
# Configuration

All keys of a configuration file, from the file as a whole to the smallest part. A key in **bold** has to be there; the
others may be left out. A default is shown where it is a single value.

A *duration* is a number with a unit: `250ms`, `5s`, `1m`, `2h`. A *size* is a number of bytes, or one with a unit:
`64KiB`, `1MiB`. A *rate* is a number per second, minute or hour: `100/s`, `1000/m`, `5000/h`.

In a string, `${NAME}` is the value of an environment variable, and `${NAME:-default}` that of one that may be missing or
empty; `$${` stands for `${`. Keys are taken as they are, and so is `access_log.format.template`, where `${…}` is of the request.

This page is made from the program (`UPDATE_REFERENCE=1 cargo test -p proxy-config --test schema`). For an editor,
`full_lb --print-schema > lb.schema.json` writes the same as a JSON Schema; `\"$schema\": \"lb.schema.json\"` at the
top of a configuration makes it complete keys and show mistakes.
";

/// The whole page.
pub(super) fn page(root: &Shape) -> String {
    let mut page = Page { text: INTRODUCTION.to_owned(), sections: Vec::new(), waiting: Vec::new() };
    page.refer(root, "");
    while !page.waiting.is_empty() {
        let (shape, path) = page.waiting.remove(0);
        // What belongs to a part follows it.
        let later = std::mem::take(&mut page.waiting);
        page.section(shape, &path);
        page.waiting.extend(later);
    }
    page.text
}

struct Page<'a> {
    text: String,
    /// What has a section, and its heading.
    sections: Vec<(&'a Shape, String)>,
    /// Sections that come next.
    waiting: Vec<(&'a Shape, String)>,
}

impl<'a> Page<'a> {
    /// What a value may be, in the words of a table cell. Parts with keys of their own get a section.
    fn refer(&mut self, shape: &'a Shape, path: &str) -> String {
        match shape {
            Shape::Anything => "anything".to_owned(),
            Shape::Boolean => "`true` or `false`".to_owned(),
            Shape::False => "`false`".to_owned(),
            Shape::Integer { min, max } => match max.len() {
                // What no one would reach.
                10.. => format!("a whole number from {min}"),
                _ => format!("a whole number from {min} to {max}"),
            },
            Shape::String { what, .. } => in_code(what),
            Shape::Array { items, .. } => format!("array: {}", self.refer(items, &format!("{path}[]"))),
            Shape::Map { values, .. } => {
                format!("object, by name: {}", self.refer(values, &format!("{}<name>", with_dot(path))))
            }
            Shape::Object(object) if object.keys.is_empty() => "`{}`".to_owned(),
            Shape::Object(_) => self.link("object", shape, path),
            Shape::Tagged(tagged) if tagged.variants.iter().all(is_plain) && !is_described(tagged) => {
                let names: Vec<_> = tagged.variants.iter().map(|it| format!("`\"{}\"`", it.name)).collect();
                names.join(", ")
            }
            Shape::Tagged(_) => self.link("one of these", shape, path),
            Shape::Either(shapes) => {
                let forms: Vec<_> = shapes.iter().map(|shape| self.refer(shape, path)).collect();
                forms.join("; or ")
            }
        }
    }

    /// A link to the section of a part, which is written later if there is none.
    fn link(&mut self, text: &str, shape: &'a Shape, path: &str) -> String {
        let heading = match self.sections.iter().find(|(known, _)| *known == shape) {
            Some((_, heading)) => heading.clone(),
            None => {
                self.sections.push((shape, path.to_owned()));
                self.waiting.push((shape, path.to_owned()));
                path.to_owned()
            }
        };
        format!("[{text}](#{})", anchor(&heading))
    }

    fn section(&mut self, shape: &'a Shape, path: &str) {
        let heading = if path.is_empty() { "The file".to_owned() } else { format!("`{path}`") };
        let _ = write!(self.text, "\n## {heading}\n");
        match shape {
            Shape::Object(object) => self.object(object, path),
            Shape::Tagged(tagged) => self.tagged(tagged, path),
            _ => {}
        }
    }

    fn object(&mut self, object: &'a Object, path: &str) {
        let docs = KeyDocs::of(object);
        self.paragraph(docs.about().filter(|_| !path.is_empty()));
        self.text.push_str("\n| key | value | default | |\n|---|---|---|---|\n");
        for key in &object.keys {
            let value = self.refer(&key.shape, &format!("{}{}", with_dot(path), key.name));
            let name = if key.is_required { format!("**`{}`**", key.name) } else { format!("`{}`", key.name) };
            let about = docs.key(key).unwrap_or_default();
            let default = default(&key.shape, &about).map_or_else(String::new, |default| format!("`{default}`"));
            let _ = writeln!(self.text, "| {name} | {} | {default} | {} |", cell(&value), cell(&about));
        }
    }

    fn tagged(&mut self, tagged: &'a Tagged, path: &str) {
        self.paragraph(docs::tagged(tagged).and_then(|(_, about)| about));
        self.text.push_str("\n| name | settings | |\n|---|---|---|\n");
        for variant in &tagged.variants {
            let settings = variant.settings.as_ref();
            let settings = settings.map(|shape| self.refer(shape, &format!("{}{}", with_dot(path), variant.name)));
            let written = match (&settings, variant.is_bare) {
                (None, _) => format!("`\"{}\"`", variant.name),
                (Some(_), true) => format!("`\"{0}\"` or `{{\"{0}\": …}}`", variant.name),
                (Some(_), false) => format!("`{{\"{}\": …}}`", variant.name),
            };
            let about = docs::variant(tagged, variant).unwrap_or_default();
            let _ = writeln!(self.text, "| {written} | {} | {} |", cell(&settings.unwrap_or_default()), cell(&about));
        }
    }

    fn paragraph(&mut self, text: Option<String>) {
        if let Some(text) = text {
            let _ = write!(self.text, "\n{text}\n");
        }
    }
}

/// Whether a name has nothing to set.
fn is_plain(variant: &crate::decode::Named) -> bool {
    variant.settings.is_none()
}

/// Whether there is more to say on names than the names.
fn is_described(tagged: &Tagged) -> bool {
    tagged.variants.iter().any(|it| docs::variant(tagged, it).is_some())
}

fn with_dot(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}.") }
}

/// Examples stand in quotes, as they are written.
fn in_code(what: &str) -> String {
    let mut inside = false;
    let mut text = String::new();
    for character in what.chars() {
        match character {
            '"' if inside => text.push_str("\"`"),
            '"' => text.push_str("`\""),
            other => text.push(other),
        }
        inside ^= character == '"';
    }
    text
}

/// On one line, and with no bar but the table's.
fn cell(text: &str) -> String {
    text.replace("\n\n", " ").replace('|', "\\|")
}

/// As GitHub makes them from headings.
fn anchor(heading: &str) -> String {
    let heading = if heading.is_empty() { "The file" } else { heading };
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}
