//! JSON Schema, draft 2020-12.

use super::default::default;
use super::docs::{self, KeyDocs};
use super::json::Json;
use crate::decode::{Object, Rule, Shape, Tagged};

/// Beyond this JavaScript, and so most editors, cannot tell whole numbers apart.
const LARGEST_EXACT: u64 = 1 << 53;

/// A string that holds a variable may become anything.
const VARIABLE: &str = r"\$\{";

/// The schema of a whole file.
pub(super) fn document(root: &Shape) -> String {
    let mut definitions = Definitions::default();
    let Json::Object(root) = definitions.of(root) else { return String::new() };
    let mut members = vec![
        ("$schema".to_owned(), Json::string("https://json-schema.org/draft/2020-12/schema")),
        ("title".to_owned(), Json::string("Configuration of a proxy")),
    ];
    members.extend(root);
    members.push(("$defs".to_owned(), Json::Object(definitions.named)));
    format!("{}\n", Json::Object(members))
}

/// What stands in `$defs`: types that occur more than once are written once.
#[derive(Default)]
struct Definitions {
    named: Vec<(String, Json)>,
}

impl Definitions {
    fn of(&mut self, shape: &Shape) -> Json {
        match shape {
            Shape::Boolean => Json::object([("type", Json::string("boolean"))]),
            Shape::Anything => Json::object([]),
            Shape::False => Json::object([("const", Json::Bool(false))]),
            Shape::Integer { min, max } => integer(min, max),
            Shape::String { pattern, .. } => string(*pattern),
            Shape::Array { items, min } => {
                let items = self.of(items);
                sized("array", "minItems", *min, ("items", items))
            }
            Shape::Map { values, min } => {
                let values = self.of(values);
                sized("object", "minProperties", *min, ("additionalProperties", values))
            }
            Shape::Object(object) => self.object(object),
            Shape::Tagged(tagged) => self.tagged(tagged),
            Shape::Either(shapes) => any_of(shapes.iter().map(|shape| self.of(shape)).collect()),
        }
    }

    fn object(&mut self, object: &Object) -> Json {
        let docs = KeyDocs::of(object);
        let mut properties = Vec::with_capacity(object.keys.len());
        for key in &object.keys {
            let schema = self.of(&key.shape);
            properties.push((key.name.to_owned(), described(schema, &key.shape, docs.key(key))));
        }
        let required = object.keys.iter().filter(|key| key.is_required).map(|key| key.name);
        let mut members = Vec::new();
        if let Some(about) = docs.about() {
            members.push(("description", Json::String(about)));
        }
        members.push(("type", Json::string("object")));
        members.push(("properties", Json::Object(properties)));
        members.push(("required", Json::strings(required)));
        members.push(("additionalProperties", Json::Bool(false)));
        if !object.rules.is_empty() {
            members.push(("allOf", Json::Array(object.rules.iter().flat_map(rule).collect())));
        }
        let members = members.into_iter().filter(|(_, value)| *value != Json::Array(Vec::new()));
        let schema = Json::Object(members.map(|(key, value)| (key.to_owned(), value)).collect());
        self.name(docs.name(), schema)
    }

    fn tagged(&mut self, tagged: &Tagged) -> Json {
        let mut forms = Vec::new();
        let mut settings = Vec::new();
        for variant in &tagged.variants {
            let about = docs::variant(tagged, variant);
            if variant.is_bare {
                let name = Json::object([("const", Json::string(&variant.name))]);
                forms.push(with_description(name, about.clone()));
            }
            let schema = match &variant.settings {
                Some(shape) => self.of(shape),
                None => {
                    Json::object([("type", Json::string("object")), ("maxProperties", Json::Number("0".to_owned()))])
                }
            };
            settings.push((variant.name.clone(), with_description(schema, about)));
        }
        forms.push(Json::object([("type", Json::string("string")), ("pattern", Json::string(VARIABLE))]));
        forms.push(Json::object([
            ("type", Json::string("object")),
            ("properties", Json::Object(settings)),
            ("additionalProperties", Json::Bool(false)),
            ("minProperties", Json::Number("1".to_owned())),
            ("maxProperties", Json::Number("1".to_owned())),
        ]));
        let schema = any_of(forms);
        match docs::tagged(tagged) {
            Some((name, about)) => self.name(Some(name.to_owned()), with_description(schema, about)),
            None => schema,
        }
    }

    /// A reference to a definition of this name, which is made if there is none.
    fn name(&mut self, name: Option<String>, schema: Json) -> Json {
        let Some(name) = name else { return schema };
        match self.named.iter().find(|(known, _)| *known == name) {
            Some((_, known)) if *known != schema => return schema,
            Some(_) => {}
            None => self.named.push((name.clone(), schema)),
        }
        Json::object([("$ref", Json::String(format!("#/$defs/{name}")))])
    }
}

fn integer(min: &str, max: &str) -> Json {
    let mut members = vec![("type", Json::string("integer")), ("minimum", Json::Number(min.to_owned()))];
    if max.parse().is_ok_and(|max: u64| max <= LARGEST_EXACT) {
        members.push(("maximum", Json::Number(max.to_owned())));
    }
    Json::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn string(pattern: Option<&str>) -> Json {
    match pattern {
        Some(pattern) => {
            let pattern = format!("{pattern}|{VARIABLE}");
            Json::object([("type", Json::string("string")), ("pattern", Json::String(pattern))])
        }
        None => Json::object([("type", Json::string("string"))]),
    }
}

/// An array or a map.
fn sized(kind: &str, bound: &str, min: usize, content: (&str, Json)) -> Json {
    match min {
        0 => Json::object([("type", Json::string(kind)), content]),
        min => Json::object([("type", Json::string(kind)), content, (bound, Json::Number(min.to_string()))]),
    }
}

fn any_of(forms: Vec<Json>) -> Json {
    match <[Json; 1]>::try_from(forms) {
        Ok([form]) => form,
        Err(forms) => Json::object([("anyOf", Json::Array(forms))]),
    }
}

/// With what its key is about, and the default.
fn described(schema: Json, shape: &Shape, about: Option<String>) -> Json {
    let default = about.as_deref().and_then(|about| default(shape, about));
    match (with_description(schema, about), default) {
        (Json::Object(mut members), Some(default)) => {
            members.push(("default".to_owned(), default));
            Json::Object(members)
        }
        (schema, _) => schema,
    }
}

fn with_description(schema: Json, about: Option<String>) -> Json {
    match (schema, about) {
        (Json::Object(mut members), Some(about)) => {
            members.retain(|(key, _)| key != "description");
            members.insert(0, ("description".to_owned(), Json::String(about)));
            Json::Object(members)
        }
        (schema, _) => schema,
    }
}

/// What holds between keys.
fn rule(rule: &Rule) -> Vec<Json> {
    let has = |key: &&'static str| Json::object([("required", Json::strings([*key]))]);
    match rule {
        Rule::One(keys) => vec![Json::object([("oneOf", Json::Array(keys.iter().map(has).collect()))])],
        Rule::Any(keys) => vec![Json::object([("anyOf", Json::Array(keys.iter().map(has).collect()))])],
        Rule::Alone(key) => {
            let one = Json::object([("maxProperties", Json::Number("1".to_owned()))]);
            let without = Json::object([("not", has(key))]);
            vec![Json::object([("anyOf", Json::Array(vec![without, one]))])]
        }
        Rule::NoTwo(keys) => {
            let pairs =
                keys.iter().enumerate().flat_map(|(at, one)| keys[at + 1..].iter().map(move |other| [*one, *other]));
            let not = |pair: [&str; 2]| Json::object([("not", Json::object([("required", Json::strings(pair))]))]);
            pairs.map(not).collect()
        }
    }
}
