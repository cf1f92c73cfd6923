use http::{HeaderValue, Method, header};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
use proptest::sample::select;

use super::*;

fn head(method: Method, host: &str, target: &str) -> RequestHead {
    let mut head = RequestHead::new(method, target).unwrap();
    head.headers_mut().insert(header::HOST, HeaderValue::from_str(host).unwrap());
    head
}

/// The name of the route that wins.
fn winner(routes: &[Route], head: &RequestHead) -> Option<String> {
    let found = Router::new(routes).find(head)?;
    Some(routes[found].name().to_owned())
}

#[test]
fn the_most_specific_route_wins() {
    let routes = || {
        [
            Route::to("any"),
            Route::to("any with header").header("x-canary", "1").unwrap(),
            Route::to("any, later"),
            Route::to("regex").path_regex("/v[0-9]/.*").unwrap(),
            Route::to("prefix").path_prefix("/v1").unwrap(),
            Route::to("longer prefix").path_prefix("/v1/users").unwrap(),
            Route::to("exact path").path("/v1/users/me").unwrap(),
            Route::to("post").path("/v1/users/me").unwrap().method(Method::POST).method(Method::PUT),
            Route::to("below").host("*.example.com").unwrap(),
            Route::to("deeper").host("*.b.example.com").unwrap().path_prefix("/x").unwrap(),
            Route::to("host").host("a.example.com").unwrap().path_prefix("/v1").unwrap(),
        ]
    };
    let check = |host: &str, target: &str, expected: &str| {
        let head = head(Method::GET, host, target);
        assert_eq!(winner(&routes(), &head).as_deref(), Some(expected), "{host} {target}");
    };
    check("other", "/", "any");
    check("other", "/v2/x", "regex");
    check("other", "/v1/x", "prefix");
    check("other", "/v12", "any");
    check("other", "/v1/users/x", "longer prefix");
    check("other", "/v1/users/me?x", "exact path");
    check("other", "/x/..//v1/%75sers/me", "exact path");
    check("A.Example.com:8080", "/v1/x", "host");
    check("a.example.com.", "/v1", "host");
    check("a.example.com", "/x", "below");
    check("example.com", "/x", "any");
    check(".example.com", "/x", "any");
    check("c.b.example.com", "/x", "deeper");
    check("c.b.example.com", "/y", "below");
    check("", "/v1/x", "prefix");
    check(&"a.".repeat(20_000), "/v1/x", "prefix");
    check("other", "http://a.example.com/v1", "host");
    let post = head(Method::PUT, "other", "/v1/users/me");
    assert_eq!(winner(&routes(), &post).as_deref(), Some("post"));
}

#[test]
fn without_a_match_there_is_none() {
    assert_eq!(winner(&[], &head(Method::GET, "h", "/")), None);
    let routes = [Route::to("a").host("a").unwrap(), Route::to("b").path("/b").unwrap()];
    assert_eq!(winner(&routes, &head(Method::GET, "c", "/c")), None);
}

#[test]
fn a_lone_catch_all_takes_everything() {
    for (method, target) in [(Method::GET, "/"), (Method::OPTIONS, "*"), (Method::CONNECT, "h:1")] {
        assert_eq!(winner(&[Route::to("a")], &head(method, "h", target)).as_deref(), Some("a"));
    }
}

#[derive(Clone, Debug)]
struct Rule {
    host: Option<&'static str>,
    path: Option<(char, &'static str)>,
    post: bool,
    flag: bool,
}

fn rule() -> impl Strategy<Value = Rule> {
    let host = select(vec!["a.x", "b.a.x", "*.x", "*.a.x"]);
    let path = (select(vec!['=', '^', '~']), select(vec!["/", "/a", "/a/", "/a/b", "/b"]));
    (option::of(host), option::of(path), any::<bool>(), any::<bool>()).prop_map(|(host, path, post, flag)| Rule {
        host,
        path,
        post,
        flag,
    })
}

fn route(index: usize, rule: &Rule) -> Route {
    let mut route = Route::to(index.to_string());
    if let Some(host) = rule.host {
        route = route.host(host).unwrap();
    }
    if let Some((kind, path)) = rule.path {
        route = match kind {
            '=' => route.path(path),
            '^' => route.path_prefix(path),
            _ => route.path_regex(path),
        }
        .unwrap();
    }
    if rule.post {
        route = route.method(Method::POST);
    }
    if rule.flag { route.query_present("f") } else { route }
}

/// The rank of a rule for a request, or `None` where it does not match: all by comparing texts.
fn rank(rule: &Rule, host: &str, path: &str, post: bool, flag: bool) -> Option<[usize; 4]> {
    let by_host = match rule.host {
        None => 0,
        Some(exact) if exact == host => 1000,
        Some(pattern) if pattern.starts_with('*') && host.ends_with(&pattern[1..]) => pattern.len(),
        Some(_) => return None,
    };
    let by_path = match rule.path {
        None => [0, 0],
        Some(('=', exact)) if exact == path => [3, 0],
        Some(('~', exact)) if exact == path => [1, 0],
        Some(('^', prefix))
            if format!("{path}/").starts_with(&format!("{}/", prefix.trim_end_matches('/')))
                && path.len() >= prefix.len() =>
        {
            [2, prefix.len()]
        }
        Some(_) => return None,
    };
    let holds = (post || !rule.post) && (flag || !rule.flag);
    holds.then_some([by_host, by_path[0], by_path[1], usize::from(rule.post) + usize::from(rule.flag)])
}

proptest! {
    #[test]
    fn it_is_what_asking_every_route_gives(
        rules in vec(rule(), 0..12),
        host in select(vec!["x", "a.x", "b.a.x", "c.a.x", "c.x", "y"]),
        path in "(/[ab]{0,2}){1,3}",
        post in any::<bool>(),
        flag in any::<bool>(),
    ) {
        let path = path.replace("//", "/").replace("//", "/");
        let routes: Vec<_> = rules.iter().enumerate().map(|(index, rule)| route(index, rule)).collect();
        let method = if post { Method::POST } else { Method::GET };
        let target = format!("{path}{}", if flag { "?f" } else { "" });
        let found = Router::new(&routes).find(&head(method, host, &target));
        let ranks = rules.iter().map(|rule| rank(rule, host, &path, post, flag)).enumerate();
        let matching = ranks.filter(|(_, rank)| rank.is_some());
        let best = matching.max_by_key(|(index, rank)| (*rank, Reverse(*index)));
        prop_assert_eq!(found, best.map(|(index, _)| index));
    }
}
