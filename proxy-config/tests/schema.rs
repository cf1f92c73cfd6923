//! The JSON Schema and the reference page: what they say is what is decoded.

use std::path::{Path, PathBuf};

use proxy_config::Config;
use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(&Config::json_schema()).expect("the schema is JSON")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every configuration in the tree that is valid.
fn examples() -> Vec<PathBuf> {
    let examples = std::fs::read_dir(root().join("examples")).expect("the examples").flatten();
    let json = examples.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "json"));
    json.chain([root().join("proxy-config/tests/data/lb.example.json")]).collect()
}

/// As an editor does it, as far as our schema goes: what is wrong, each with its place.
fn validate(schema: &Value, root: &Value, value: &Value, place: &str, wrong: &mut Vec<String>) {
    let mut fail = |what: &str| wrong.push(format!("{place}: {what}"));
    let text = |key: &str| schema[key].as_str();
    let is_type = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("{other} in the schema"),
    };
    if text("type").is_some_and(|name| !is_type(name)) {
        return fail("type");
    }
    if schema.get("const").is_some_and(|constant| constant != value) {
        fail("const");
    }
    if let (Some(pattern), Some(string)) = (text("pattern"), value.as_str())
        && !regex_lite::Regex::new(pattern).expect("a pattern").is_match(string)
    {
        fail("pattern");
    }
    if let Some(number) = whole(value) {
        let bound = |key: &str| whole(&schema[key]);
        if bound("minimum").is_some_and(|min| number < min) || bound("maximum").is_some_and(|max| number > max) {
            fail("out of range");
        }
    }
    let length = value.as_object().map(serde_json::Map::len).or(value.as_array().map(Vec::len)).unwrap_or(0);
    let bound = |key: &str| schema[key].as_u64().and_then(|bound| usize::try_from(bound).ok());
    if [bound("minItems"), bound("minProperties")].into_iter().flatten().any(|min| length < min)
        || bound("maxProperties").is_some_and(|max| length > max)
    {
        fail("size");
    }
    if let Some(name) = text("$ref") {
        let name = name.strip_prefix("#/$defs/").expect("a reference to a definition");
        validate(&root["$defs"][name], root, value, place, wrong);
    }
    combined(schema, root, value, place, wrong);
    within(schema, root, value, place, wrong);
}

fn whole(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

fn accepts(schema: &Value, root: &Value, value: &Value) -> bool {
    let mut wrong = Vec::new();
    validate(schema, root, value, "", &mut wrong);
    wrong.is_empty()
}

/// `anyOf` and its like.
fn combined(schema: &Value, root: &Value, value: &Value, place: &str, wrong: &mut Vec<String>) {
    let forms = |key: &str| schema[key].as_array().cloned();
    let accepted = |forms: Vec<Value>| forms.iter().filter(|form| accepts(form, root, value)).count();
    if forms("anyOf").is_some_and(|forms| accepted(forms) == 0) {
        wrong.push(format!("{place}: anyOf"));
    }
    if forms("oneOf").is_some_and(|forms| accepted(forms) != 1) {
        wrong.push(format!("{place}: oneOf"));
    }
    if schema.get("not").is_some_and(|form| accepts(form, root, value)) {
        wrong.push(format!("{place}: not"));
    }
    for form in forms("allOf").into_iter().flatten() {
        validate(&form, root, value, place, wrong);
    }
}

/// What the parts of a value must be.
fn within(schema: &Value, root: &Value, value: &Value, place: &str, wrong: &mut Vec<String>) {
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        validate(&schema["items"], root, item, &format!("{place}[{index}]"), wrong);
    }
    let Some(members) = value.as_object() else { return };
    for key in schema["required"].as_array().into_iter().flatten() {
        let key = key.as_str().expect("a key");
        if !members.contains_key(key) {
            wrong.push(format!("{place}: {key} is missing"));
        }
    }
    for (key, member) in members {
        let place = format!("{place}.{key}");
        match (schema["properties"].get(key), &schema["additionalProperties"]) {
            (Some(known), _) => validate(known, root, member, &place, wrong),
            (None, Value::Bool(false)) => wrong.push(format!("{place}: unknown")),
            (None, others) => validate(others, root, member, &place, wrong),
        }
    }
}

#[test]
fn every_valid_file_in_the_tree_fits() {
    let schema = schema();
    for file in examples() {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        text.parse::<Config>().unwrap_or_else(|errors| panic!("{}: {errors}", file.display()));
        let mut wrong = Vec::new();
        validate(&schema, &schema, &serde_json::from_str(&text).expect("JSON"), "", &mut wrong);
        assert!(wrong.is_empty(), "{}: {wrong:#?}", file.display());
    }
}

/// What decoding refuses and a schema can express. Each is refused for this reason alone.
#[test]
fn a_wrong_file_does_not_fit() {
    let schema = schema();
    let check = |members: &str, fits: bool| {
        let text = format!(
            r#"{{ "$schema": "lb.schema.json", "listeners": {{ "web": {{ "listen": ["127.0.0.1:80"], {members} }} }},
                "upstreams": {{ "api": {{ "backends": ["127.0.0.1:1"] }} }} }}"#
        );
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(accepts(&schema, &schema, &value), fits, "schema, of {members}");
        assert_eq!(text.parse::<Config>().is_ok(), fits, "decoder, of {members}");
    };
    let http = |members: &str| format!(r#""http": {{ "upstream": "api", {members} }}"#);
    let limit = |members: &str| http(&format!(r#""filters": [{{ "rate_limit": {{ {members} }} }}]"#));
    check(r#""http": { "upstream": "api" }"#, true);
    check("\"http\": {}", false);
    check(r#""http": { "upstream": "api" }, "tcp": { "upstream": "api" }"#, false);
    check(r#""http": { "upstream": "api" }, "hpt": {}"#, false);
    check(&http(r#""timeouts": { "head": "5s" }"#), true);
    check(&http(r#""timeouts": { "head": "0s" }"#), false);
    check(&http(r#""timeouts": { "head": 5 }"#), false);
    check(&http(r#""limits": { "max_body_bytes": 5 }"#), true);
    check(&http(r#""limits": { "max_body_bytes": "64KiB" }"#), true);
    check(&http(r#""limits": { "max_body_bytes": "64KB" }"#), false);
    check(&http(r#""limits": { "max_headers": 129 }"#), false);
    check(&http(r#""filters": ["request_id"]"#), true);
    check(&http(r#""filters": [{ "request_id": {} }]"#), true);
    check(
        &http(r#""filters": ["trace_context", { "trace_context": { "sampling": "0.5%", "trust_incoming": false } }]"#),
        true,
    );
    check(&http(r#""filters": [{ "trace_context": { "sampling": 1 } }]"#), false);
    check(&http(r#""filters": ["rate_limit"]"#), false);
    check(&http(r#""filters": [{ "request_id": {}, "headers": {} }]"#), false);
    check(&limit(r#""algorithm": "gcra", "key": ["client_ip", { "header": "x" }], "rate": "5/s""#), true);
    check(&limit(r#""algorithm": "gcra", "key": "client_ip", "limits": [{ "rate": "5/s" }]"#), true);
    check(&limit(r#""algorithm": "gcra", "key": "client_ip""#), false);
    check(&limit(r#""algorithm": "gcra", "key": "client_ip", "rate": "5/s", "limits": [{ "rate": "5/s" }]"#), false);
    check(&limit(r#""algorithm": "gcra", "key": "client_ip", "limits": []"#), false);
}

/// Calls `visit` with every property of the schema and its place.
fn each_property(value: &Value, place: &str, visit: &mut impl FnMut(&str, &Value)) {
    for (key, member) in value.as_object().into_iter().flatten() {
        let below = format!("{place}/{key}");
        if key == "properties" {
            for (name, property) in member.as_object().into_iter().flatten() {
                visit(&format!("{place}/{name}"), property);
            }
        }
        each_property(member, &below, visit);
    }
    for item in value.as_array().into_iter().flatten() {
        each_property(item, place, visit);
    }
}

/// Of a key that has no description, the field is to say: `` /// `key`: what it does ``.
#[test]
fn every_key_is_described() {
    let mut silent = Vec::new();
    each_property(&schema(), "", &mut |place, property| {
        // A name that says it all has its settings at most.
        let is_name = property["maxProperties"] == 0;
        if property["description"].is_null() && !is_name {
            silent.push(place.to_owned());
        }
    });
    assert!(silent.is_empty(), "no description: {silent:#?}");
}

#[test]
fn defaults_are_values_that_may_be_written() {
    let schema = schema();
    let mut count = 0;
    each_property(&schema, "", &mut |place, property| {
        if let Some(default) = property.get("default") {
            count += 1;
            assert!(accepts(property, &schema, default), "{place}: {default}");
        }
    });
    assert!(count > 50, "only {count} defaults");
}

/// The page in the tree is what the program says. `UPDATE_REFERENCE=1` writes it.
#[test]
fn the_reference_page_is_current() {
    let file = root().join("docs/configuration.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&file, Config::reference()).expect("the page can be written");
    }
    let page = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        page == Config::reference(),
        "docs/configuration.md is not what the schema says: UPDATE_REFERENCE=1 cargo test -p proxy-config --test schema"
    );
}

/// Each link of the page leads to a heading of it.
#[test]
fn the_reference_page_has_no_dead_links() {
    let page = Config::reference();
    let anchor = |heading: &str| -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    for link in page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert_eq!(headings.iter().filter(|heading| *heading == link).count(), 1, "#{link}");
    }
    assert!(headings.len() > 30, "only {} sections", headings.len());
}
