//! What holds for every input.

use proptest::prelude::*;
use proxy_config::Config;

const EXAMPLE: &str = include_str!("data/lb.example.json");

/// Either valid, or refused with at least one error that prints.
fn parses_without_panic(text: &str) {
    if let Err(errors) = text.parse::<Config>() {
        assert_ne!(errors.iter().count(), 0);
        assert_ne!(errors.to_string(), "");
    }
}

/// The example with some of its characters replaced by `insert`.
fn splice(start: usize, length: usize, insert: &str) -> String {
    let characters: Vec<_> = EXAMPLE.chars().collect();
    let start = start % characters.len();
    let end = (start + length).min(characters.len());
    let (head, tail) = (&characters[..start], &characters[end..]);
    head.iter().copied().chain(insert.chars()).chain(tail.iter().copied()).collect()
}

/// The example's values, one after the other, in depth-first order.
fn nodes(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(nodes).sum::<usize>(),
        serde_json::Value::Object(members) => 1 + members.values().map(nodes).sum::<usize>(),
        _ => 1,
    }
}

/// Puts `replacement` in place of the value that comes after `skip` others.
fn replace(value: &mut serde_json::Value, skip: &mut usize, replacement: &serde_json::Value) {
    if *skip == 0 {
        *value = replacement.clone();
    }
    *skip = skip.wrapping_sub(1);
    match value {
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| replace(item, skip, replacement)),
        serde_json::Value::Object(members) => members.values_mut().for_each(|item| replace(item, skip, replacement)),
        _ => {}
    }
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
        "[0-9]{1,25}(ms|s|m|h|KiB|GiB|/s|/m|)".prop_map(Into::into),
        "([0-9a-f.:\\[\\]]{0,12}|unix:/?)(:|/)[0-9]{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec(("[a-z_.\" ]{0,8}", inner), 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        parses_without_panic(&text);
    }

    #[test]
    fn damaged_files_never_panic(start in any::<usize>(), length in 0..40_usize, insert in "[\\PC\\n\"{}\\[\\]:,0-9]{0,6}") {
        parses_without_panic(&splice(start, length, &insert));
    }

    #[test]
    fn any_value_anywhere_never_panics(index in any::<prop::sample::Index>(), replacement in any_value()) {
        let mut example: serde_json::Value = serde_json::from_str(EXAMPLE).unwrap();
        let mut skip = index.index(nodes(&example));
        replace(&mut example, &mut skip, &replacement);
        parses_without_panic(&example.to_string());
    }

    #[test]
    fn what_is_accepted_does_not_depend_on_white_space(index in any::<prop::sample::Index>(), replacement in any_value()) {
        let mut example: serde_json::Value = serde_json::from_str(EXAMPLE).unwrap();
        let mut skip = index.index(nodes(&example));
        replace(&mut example, &mut skip, &replacement);
        let compact = example.to_string().parse::<Config>().is_ok();
        let pretty = serde_json::to_string_pretty(&example).unwrap().parse::<Config>().is_ok();
        prop_assert_eq!(compact, pretty);
    }
}

#[test]
fn a_hostile_file_costs_little() {
    let routes = "{\"upstream\":\"apii\",\"x\":1},".repeat(20_000);
    let upstreams: Vec<_> = (0..5_000).map(|n| format!("\"api{n}\":{{\"backends\":[\"10.0.0.1:1\"]}}")).collect();
    let text = format!(
        r#"{{"listeners":{{"web":{{"listen":["[::]:0"],"http":{{"routes":[{routes}{{}}]}}}}}},"upstreams":{{{}}}}}"#,
        upstreams.join(",")
    );
    assert_eq!(text.parse::<Config>().unwrap_err().iter().count(), 100);
    parses_without_panic(&"[".repeat(1 << 20));
    parses_without_panic(&"{\"a\":".repeat(1 << 20));
    parses_without_panic(&format!("{{\"{}\":1}}", "x".repeat(1 << 20)));
}
