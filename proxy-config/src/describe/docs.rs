//! What the doc comments of the schema's types say about its keys.
//!
//! A doc comment begins with the key it is about: `` `drain`: how long … ``, or several: `` `path` or
//! `path_prefix` ``. A default is what stands before "when absent".

use std::path::Path;

use crate::decode::{Key, Named, Object, Origin, Shape, Tagged};

/// The types of the schema, in the order of their files.
const TYPES: &[Type] = include!(concat!(env!("OUT_DIR"), "/docs.rs"));

/// A struct or an enum.
pub(super) struct Type {
    file: &'static str,
    name: &'static str,
    text: &'static str,
    /// One for a struct, one per variant of an enum.
    groups: &'static [Group],
}

/// The fields of a struct or of a variant.
struct Group {
    /// Of the variant.
    name: &'static str,
    text: &'static str,
    fields: &'static [&'static str],
}

/// What is known about the keys of an object.
pub(super) struct KeyDocs {
    /// The most fitting first.
    groups: Vec<(&'static Type, &'static Group)>,
    /// The type, if there is one, and its struct or the variant that has these fields.
    own: Option<(&'static Type, Option<&'static Group>)>,
}

impl KeyDocs {
    pub(super) fn of(object: &Object) -> Self {
        let overlap = |group: &Group| object.keys.iter().filter(|key| group.says(key.name).is_some()).count();
        let mut groups = beside(object.origin);
        // Both sorts are stable: own groups first, then in the order of the file.
        groups.sort_by_key(|(it, group)| (!it.is(object.origin), std::cmp::Reverse(overlap(group))));
        let own = groups.first().filter(|(it, _)| it.is(object.origin) && !object.keys.is_empty());
        let own = own.map(|&(it, group)| (it, Some(group).filter(|group| overlap(group) > 0)));
        Self { groups, own }
    }

    /// What the object is called, if it has a type of its own.
    pub(super) fn name(&self) -> Option<String> {
        self.own.map(|(it, group)| format!("{}{}", it.name, group.map_or("", |group| group.name)))
    }

    /// What the object is.
    pub(super) fn about(&self) -> Option<String> {
        let (it, group) = self.own?;
        description(group.map_or("", |group| group.text)).or_else(|| description(it.text))
    }

    /// What `key` is about: a field tells, or the variant of an enum that is written as one, or else the type of its
    /// value.
    pub(super) fn key(&self, key: &Key) -> Option<String> {
        let fields = self.groups.iter().flat_map(|(_, group)| group.fields).copied();
        let variants = self.groups.iter().map(|(_, group)| group.text);
        told(key.name, &fields.chain(variants).collect::<Vec<_>>()).or_else(|| about(&key.shape))
    }
}

/// What a value is, by its own type.
pub(super) fn about(shape: &Shape) -> Option<String> {
    match shape {
        Shape::Object(object) => KeyDocs::of(object).about(),
        Shape::Tagged(it) => tagged(it).and_then(|(_, about)| about),
        Shape::Either(shapes) => shapes.iter().find_map(about),
        _ => None,
    }
}

/// The name and the description of a set of names.
pub(super) fn tagged(tagged: &Tagged) -> Option<(&'static str, Option<String>)> {
    let it = beside(tagged.origin).into_iter().map(|(it, _)| it).find(|it| it.is(tagged.origin))?;
    Some((it.name, description(it.text)))
}

/// What one of the names is about.
pub(super) fn variant(tagged: &Tagged, named: &Named) -> Option<String> {
    let groups = beside(tagged.origin).into_iter();
    let texts = groups.filter(|(it, _)| it.is(tagged.origin)).map(|(_, group)| group.text);
    told(&named.name, &texts.collect::<Vec<_>>()).or_else(|| named.settings.as_ref().and_then(about))
}

/// All groups of the file that a decoder stands in.
fn beside(origin: Origin) -> Vec<(&'static Type, &'static Group)> {
    let file = Path::new(origin.file).file_stem().unwrap_or_default();
    let types = TYPES.iter().filter(|it| file == it.file);
    types.flat_map(|it| it.groups.iter().map(move |group| (it, group))).collect()
}

/// The first text that is about `key` alone; else the first that is about it and others.
fn told(key: &str, texts: &[&'static str]) -> Option<String> {
    let about = |alone: bool| {
        let mut texts = texts.iter().map(|text| (Said::of(text), *text));
        let found = texts.find(|(said, text)| {
            said.keys.contains(&key) && (said.keys.len() == 1) == alone && description(text).is_some()
        });
        found.and_then(|(_, text)| description(text))
    };
    about(true).or_else(|| about(false))
}

impl Type {
    fn is(&self, origin: Origin) -> bool {
        origin.into.rsplit("::").next() == Some(self.name)
    }
}

impl Group {
    /// The field that is about `key`.
    fn says(&self, key: &str) -> Option<&'static str> {
        self.fields.iter().copied().find(|text| Said::of(text).keys.contains(&key))
    }
}

/// A doc comment, taken apart.
struct Said<'a> {
    keys: Vec<&'a str>,
    rest: &'a str,
}

impl<'a> Said<'a> {
    fn of(text: &'a str) -> Self {
        let (mut keys, mut rest) = (Vec::new(), text);
        while let Some((span, after)) = rest.strip_prefix('`').and_then(|text| text.split_once('`')) {
            keys.push(key_of(span));
            rest = after;
            let separators = [", or ", ", ", " or ", " and "];
            let next = separators.iter().find_map(|it| after.strip_prefix(it)).filter(|next| next.starts_with('`'));
            let Some(next) = next else { break };
            rest = next;
        }
        Self { keys, rest: rest.trim_start_matches([':', ';', ',', '.', ' ', '\n']) }
    }
}

/// `{"header": name}` and `"path"` are about the keys in quotes.
fn key_of(span: &str) -> &str {
    let start = span.trim_start_matches(['{', '"']);
    let end = start.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '$'));
    match end {
        // A path, such as `upstreams.<name>.pool`, is about no key.
        Some(end) if start[end..].starts_with('.') => "",
        Some(end) => &start[..end],
        None => start,
    }
}

/// What follows the keys, as a sentence.
fn description(text: &str) -> Option<String> {
    let rest = Said::of(text).rest;
    let mut characters = rest.chars();
    let first = characters.next()?;
    let mut sentence: String = first.to_uppercase().chain(characters).collect();
    if !sentence.ends_with(['.', ':', '?']) {
        sentence.push('.');
    }
    // Lines were broken for the source only.
    Some(sentence.replace("\n\n", "\u{0}").replace('\n', " ").replace('\u{0}', "\n\n"))
}

/// The default that a description names: `30 s when absent`, `` `"up"`, also when absent ``.
pub(super) fn default_of(description: &str) -> Option<&str> {
    let (before, _) = description.split_once(" when absent")?;
    let before = before.strip_suffix(", also").unwrap_or(before);
    if let Some(code) = before.strip_suffix('`') {
        return code.rsplit('`').next();
    }
    let start = before.rfind([';', '.', ':']).map_or(0, |at| at + 1);
    Some(before[start..].trim()).filter(|value| value.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_text() {
        let check = |text, keys: &[&str], rest| {
            let said = Said::of(text);
            assert_eq!((&said.keys[..], said.rest), (keys, rest), "{text}");
        };
        check("`drain`: how long.", &["drain"], "how long.");
        check(
            "`path`, `path_prefix` or `path_regex`; at most one.",
            &["path", "path_prefix", "path_regex"],
            "at most one.",
        );
        check("`\"up\"`: at once.", &["up"], "at once.");
        check("`{\"cookie\": …}`: by a cookie.", &["cookie"], "by a cookie.");
        check("`upstreams.<name>.pool`: connections.", &[""], "connections.");
        check("`address`", &["address"], "");
        check("The port of `name`.", &[], "The port of `name`.");
    }

    #[test]
    fn descriptions_are_sentences() {
        assert_eq!(description("`a`: how\nlong; 5 s\n\nWell"), Some("How long; 5 s\n\nWell.".to_owned()));
        assert_eq!(description("`a`"), None);
    }

    #[test]
    fn defaults() {
        let check = |text, default| assert_eq!(default_of(text), default, "{text}");
        check("Between two; 5 s when absent.", Some("5 s"));
        check("How many; 100,000 when absent. More.", Some("100,000"));
        check("What it is: `\"up\"`, also when absent, or `\"down\"`.", Some("\"up\""));
        check("`GET` when absent.", Some("GET"));
        check("The good answers; 200 to 399 when absent.", Some("200 to 399"));
        check("The whole; no limit when absent.", None);
        check("Whether to.", None);
    }
}
