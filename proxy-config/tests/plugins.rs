//! Filters and selectors of others, by the names they are registered under.

use proxy_config::{Filter, ListenerKind, Registry, Selector, Server};
use proxy_core::{Backend, Candidates, EditHeaders, SelectionContext, selector_fn};

fn first(candidates: &Candidates<'_>, _: &SelectionContext<'_>) -> Option<Backend> {
    candidates.iter().next().cloned()
}

fn registry() -> Registry {
    Registry::new()
        .filter("quiet", |settings| match settings {
            "null" | "{}" => Ok(EditHeaders::new()),
            other => Err(format!("takes no settings, found {other}")),
        })
        .selector("first", |_| Ok::<_, String>(selector_fn(first)))
}

fn config(filter: &str, selector: &str) -> String {
    format!(
        r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "api", "filters": [{filter}] }} }} }},
              "upstreams": {{ "api": {{ "backends": ["127.0.0.1:1"], "selector": {selector} }} }} }}"#
    )
}

#[test]
fn names_of_a_registry_are_known_and_others_are_not() {
    let config = |filter, selector| config(filter, selector);
    let parsed = registry().parse(&config(r#"{ "quiet": { "a": ["b", 1, null] } }"#, r#""first""#)).unwrap();
    let ListenerKind::Http(http) = &parsed.listeners["web"].kind else { panic!("not http") };
    let Filter::Plugin(plugin) = &http.filters[0] else { panic!("not a plugin") };
    assert_eq!((plugin.name.as_str(), plugin.settings.as_str()), ("quiet", r#"{"a":["b",1,null]}"#));
    let Selector::Plugin(plugin) = &parsed.upstreams["api"].selector else { panic!("not a plugin") };
    assert_eq!((plugin.name.as_str(), plugin.settings.as_str()), ("first", "null"));

    let errors = registry().parse(&config(r#""quite""#, r#""frist""#)).unwrap_err().to_string();
    assert!(errors.contains(r#"filters[0]: unknown filter "quite"; did you mean "quiet"?"#), "{errors}");
    assert!(errors.contains(r#"selector: unknown selector "frist"; did you mean "first"?"#), "{errors}");
    let errors = config(r#""quiet""#, r#""random""#).parse::<proxy_config::Config>().unwrap_err().to_string();
    assert!(errors.contains(r#"filters[0]: unknown filter "quiet""#), "{errors}");
}

#[tokio::test]
async fn a_server_has_them_made() {
    let server = Server::start(&registry().parse(&config(r#""quiet""#, r#""first""#)).unwrap()).unwrap();
    let refused = registry().parse(&config(r#"{ "quiet": 7 }"#, r#""first""#)).unwrap();
    let error = server.reload(refused).await.unwrap_err();
    assert_eq!(error.to_string(), "listeners.web.http.filters[0]: takes no settings, found 7");
    // The file is read with the same registry.
    let file = std::env::temp_dir().join(format!("proxy-config-plugins-{}.json", std::process::id()));
    std::fs::write(&file, config(r#"{ "quiet": {} }"#, r#""first""#)).unwrap();
    server.reload_file(&file).await.unwrap();
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn the_json_schema_has_them() {
    let schema = registry().json_schema();
    assert!(schema.contains(r#""const": "quiet""#) && schema.contains(r#""const": "first""#));
    assert!(!proxy_config::Config::json_schema().contains("quiet"));
}

#[test]
#[should_panic(expected = "\"request_id\" is the name of one that is built in")]
fn names_of_ours_cannot_be_taken() {
    let _ = Registry::new().filter("request_id", |_| Ok::<_, String>(EditHeaders::new()));
}
