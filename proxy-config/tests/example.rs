//! The example that outside tools drive us with.

use std::time::Duration;

use proxy_config::{Address, Config, Filter, ListenerKind, PathMatch, Probe, RateKey, Selector, Target};

const EXAMPLE: &str = include_str!("data/lb.example.json");

fn example() -> Config {
    EXAMPLE.parse().unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn loads_from_its_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/lb.example.json");
    assert_eq!(Config::load(path).unwrap(), example());
}

#[test]
fn lists_what_is_not_in_this_build() {
    let listed: Vec<_> = example().unsupported().iter().map(ToString::to_string).collect();
    assert_eq!(listed, Vec::<String>::new());
}

#[test]
fn places_what_is_not_in_this_build() {
    let srv = r#""health_check": { "tcp": {} }, "discovery": { "srv": { "name": "_db._tcp.internal" } } }"#;
    let text = EXAMPLE.replace(r#""health_check": { "tcp": {}, "interval": "2s" } }"#, srv);
    let config: Config = text.parse().unwrap_or_else(|errors| panic!("{errors}"));
    if cfg!(feature = "dns") {
        return assert!(config.unsupported().is_empty());
    }
    let [srv] = config.unsupported() else { panic!("{:?}", config.unsupported()) };
    assert_eq!(srv.to_string(), "upstreams.db.discovery.srv: not in this build");
    let line = text.lines().nth(srv.position().line - 1).unwrap();
    assert!(line[srv.position().column - 1..].starts_with("{ \"name\""), "{line}");
}

#[test]
fn reads_every_part() {
    let config = example();
    assert_eq!(config.workers, Some(2));
    assert_eq!(config.shutdown.drain, Some(Duration::from_secs(30)));
    assert_eq!(config.listeners["web"].listen, ["127.0.0.1:8080".parse().unwrap()]);

    let api = &config.upstreams["api"];
    assert_eq!(api.selector, Selector::LeastConnections);
    assert_eq!(api.backends[0].address, Address::Ip("127.0.0.1:9001".parse().unwrap()));
    assert_eq!((api.backends[1].weight, api.backends[1].zone.as_deref()), (3, Some("a")));
    assert!(api.backends[2].backup);
    assert_eq!((api.retry.attempts, api.retry.budget_percent), (Some(2), Some(20)));
    assert_eq!(api.timeouts.connect, Some(Duration::from_secs(1)));
    assert_eq!(api.pool.max_idle_per_backend, Some(256));
    assert!(matches!(config.upstreams["db"].health_check.as_ref().unwrap().probe, Probe::Tcp));
}

#[test]
fn reads_routes() {
    let config = example();
    let ListenerKind::Http(web) = &config.listeners["web"].kind else { panic!("not http") };
    assert_eq!(web.trusted_proxies[0].to_string(), "10.0.0.0/8");
    assert!(matches!(&web.filters[0], Filter::RequestId(_)));

    let [api, canary, beta, rest] = &web.routes[..] else { panic!("not four routes") };
    assert_eq!(api.matcher.host.as_deref(), Some("api.example.com"));
    assert_eq!(api.matcher.path, Some(PathMatch::Prefix("/v1/".into())));
    let Filter::RateLimit(limit) = &api.filters[0] else { panic!("not a rate limit") };
    let rate = limit.limits[0].rate;
    assert_eq!((rate.count.get(), rate.per), (1000, Duration::from_secs(60)));
    assert_eq!(limit.key, [RateKey::Header("x-api-key".into())]);
    assert_eq!(canary.matcher.headers["x-canary"], "1");
    assert_eq!(beta.target, Target::Split([("api".into(), 95), ("canary".into(), 5)].into()));
    assert_eq!(rest.target, Target::Upstream("api".into()));
}
