//! Broken configurations and the exact words about them.

use proxy_config::{Config, ErrorKind, Registry};

/// Every error as `path: message`, in the order of the file.
#[track_caller]
fn check(config: &str, expected: &[&str]) {
    let errors = config.parse::<Config>().expect_err("must be refused");
    let printed: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(printed, expected, "in {config}");
}

/// A configuration with these members beside a correct listener and upstream.
fn top(members: &str) -> String {
    format!(
        r#"{{ {members}, "listeners": {{ "web": {{ "listen": ["127.0.0.1:80"], "http": {{ "upstream": "api" }} }} }},
            "upstreams": {{ "api": {{ "backends": ["127.0.0.1:1"] }} }} }}"#
    )
}

/// A configuration with these listeners beside the upstreams `api` and `canary`.
fn listeners(listeners: &str) -> String {
    format!(
        r#"{{ "listeners": {listeners},
            "upstreams": {{ "api": {{ "backends": ["127.0.0.1:1"] }}, "canary": {{ "backends": ["127.0.0.1:2"] }} }} }}"#
    )
}

/// A configuration with these members in the listener `web`.
fn listener(members: &str) -> String {
    listeners(&format!(r#"{{ "web": {{ {members} }} }}"#))
}

/// A configuration with these members in `listeners.web.http`, which has an upstream.
fn http(members: &str) -> String {
    listener(&format!(r#""listen": ["127.0.0.1:80"], "http": {{ "upstream": "api", {members} }}"#))
}

/// A configuration with these routes in `listeners.web.http`.
fn routes(routes: &str) -> String {
    listener(&format!(r#""listen": ["127.0.0.1:80"], "http": {{ "routes": {routes} }}"#))
}

/// A configuration with this `match` in the only route.
fn matching(matcher: &str) -> String {
    routes(&format!(r#"[{{ "match": {matcher}, "upstream": "api" }}]"#))
}

/// A configuration with this filter on `listeners.web.http`.
fn filter(filter: &str) -> String {
    http(&format!(r#""filters": [{filter}]"#))
}

/// A configuration with this upstream `api`.
fn upstream(upstream: &str) -> String {
    format!(
        r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:80"], "http": {{ "upstream": "api" }} }} }},
            "upstreams": {{ "api": {upstream} }} }}"#
    )
}

/// A configuration with these members in the upstream `api`, which has a backend.
fn pooled(members: &str) -> String {
    upstream(&format!(r#"{{ "backends": ["127.0.0.1:1"], {members} }}"#))
}

/// A configuration with these backends of the upstream `api`.
fn backends(backends: &str) -> String {
    upstream(&format!(r#"{{ "backends": {backends} }}"#))
}

#[test]
fn syntax() {
    let check = |text: &str, expected: &str| {
        let errors = text.parse::<Config>().expect_err("must be refused");
        assert_eq!(errors.to_string(), expected);
        assert_eq!(errors.iter().next().unwrap().kind(), ErrorKind::Syntax);
    };
    check("", "1:1: expected a value, found the end of the file");
    check("listeners:\n  web:", "1:1: expected a value, found 'l'");
    check("{\n  \"workers\": 2,\n}", "3:1: expected a key in double quotes, found '}'");
    check("{\n  \"workers\" = 2\n}", "2:13: expected ':', found '='");
    check("{\n  \"workers\": 02\n}", "2:15: expected ',' or '}', found '2'");
    check("{ \"workers\": 2 } // two", "1:18: expected the end of the file, found a comment, which JSON does not have");
    check("{ \"a\": \"x", "1:10: expected a closing '\"', found the end of the file");
}

#[test]
fn the_whole_file() {
    check("[]", &["expected an object, the configuration, found an array"]);
    check("{}", &["listeners: is missing; expected an object with one entry per listener"]);
    check(r#"{ "listeners": [] }"#, &["listeners: expected an object with one entry per listener, found an array"]);
    check(r#"{ "listeners": {} }"#, &["listeners: needs at least one entry"]);
    check(&top(r#""worker": 2"#), &[r#"worker: unknown key; did you mean "workers"?"#]);
    check(
        &top(r#""x": 2"#),
        &[
            r#"x: unknown key; expected "$schema", "workers", "local_zone", "admin", "access_log", "shutdown", "listeners" or "upstreams""#,
        ],
    );
    check(
        &top(r#""a.b": 2, "workers": 1"#).replace("a.b", "work.ers"),
        &[r#"["work.ers"]: unknown key; did you mean "workers"?"#],
    );
    check(&top(r#""workers": 1, "workers": 2"#), &["workers: given twice, first at 1:14"]);
    check(&top(r#""$schema": 1"#), &["$schema: expected the address of a JSON Schema, found 1"]);
}

#[test]
fn workers_shutdown_and_operations() {
    let between = "workers: expected a whole number from 1 to 1024, found";
    for (value, found) in
        [("0", "0"), ("1025", "1025"), ("-1", "-1"), ("2.0", "2.0"), ("1e1", "1e1"), ("\"2\"", "\"2\"")]
    {
        check(&top(&format!(r#""workers": {value}"#)), &[&format!("{between} {found}")]);
    }
    check(
        &top(r#""shutdown": { "drain": 30 }"#),
        &[r#"shutdown.drain: expected a duration such as "250ms", "5s", "1m" or "2h", found 30"#],
    );
    check(
        &top(r#""shutdown": { "drain": "1.5s" }"#),
        &[r#"shutdown.drain: expected a duration such as "250ms", "5s", "1m" or "2h", found "1.5s""#],
    );
    check(
        &top(r#""shutdown": { "drain": "18446744073709551615h" }"#),
        &[r#"shutdown.drain: "18446744073709551615h" is longer than a year"#],
    );
    check(&top(r#""shutdown": null"#), &["shutdown: expected an object, found null"]);
    check(&top(r#""admin": {}"#), &[r#"admin: nobody could reach it; needs at least one of "listen", "unix""#]);
    for public in ["0.0.0.0:9900", "[::]:9900", "10.0.0.7:9900"] {
        check(
            &top(&format!(r#""admin": {{ "listen": "{public}" }}"#)),
            &[
                r#"admin.listen: other machines could reach it: needs a "token", or else a loopback address such as "127.0.0.1:9900""#,
            ],
        );
    }
    check(
        &top(r#""admin": { "unix": "admin.sock", "token": "short" }"#),
        &[r#"admin.unix: expected an absolute path, found "admin.sock""#, "admin.token: is shorter than 16 characters"],
    );
    check(
        &top(
            r#""access_log": { "format": { "template": "$sattus" }, "stdout": false, "sampling": "101%", "buffer": 0 }"#,
        ),
        &[
            "access_log.format.template: there is no field `sattus`; `$$` is a dollar sign",
            "access_log.stdout: expected true, found false",
            r#"access_log.sampling: expected a share such as "1%" or "0.1%", found "101%""#,
            "access_log.buffer: must be larger than zero",
        ],
    );
    check(
        &top(
            r#""access_log": { "path": "a", "syslog": "log", "conditions": { "status": "5xx", "except_paths": ["*", "/a*b", "a"] } }"#,
        ),
        &[
            r#"access_log: has both "path" and "syslog"; only one of them is allowed"#,
            r#"access_log.syslog: expected an absolute path, found "log""#,
            r#"access_log.conditions.status: expected a status such as 200, or a range such as "200-299", found "5xx""#,
            r#"access_log.conditions.except_paths[0]: "*" is not a path, nor the beginning of one followed by *"#,
            r#"access_log.conditions.except_paths[1]: "/a*b" is not a path, nor the beginning of one followed by *"#,
            r#"access_log.conditions.except_paths[2]: "a" is not a path, nor the beginning of one followed by *"#,
        ],
    );
    check(&top(r#""access_log": {}"#), &[r#"access_log: needs one of "path", "stdout" or "syslog""#]);
    check(
        &top(r#""access_log": { "format": "jsn", "path": "" }"#),
        &[
            r#"access_log.format: unknown access log format "jsn"; did you mean "json"?"#,
            "access_log.path: must not be empty",
        ],
    );
}

#[test]
fn listener_addresses() {
    let http = r#""http": { "upstream": "api" }"#;
    check(
        &listener(http),
        &[r#"listeners.web.listen: is missing; expected an array of addresses such as ["127.0.0.1:8080"]"#],
    );
    check(
        &listener(&format!(r#""listen": "127.0.0.1:80", {http}"#)),
        &[r#"listeners.web.listen: expected an array of addresses such as ["127.0.0.1:8080"], found "127.0.0.1:80""#],
    );
    check(
        &listener(&format!(r#""listen": [], {http}"#)),
        &[r#"listeners.web.listen: is empty; expected an array of addresses such as ["127.0.0.1:8080"]"#],
    );
    for address in ["localhost:80", "127.0.0.1", "127.0.0.1:99999", ":80", "::1:80", "256.0.0.1:80"] {
        check(
            &listener(&format!(r#""listen": ["{address}"], {http}"#)),
            &[&format!(
                r#"listeners.web.listen[0]: expected an IP address and port such as "127.0.0.1:8080" or "[::]:8080", found "{address}""#
            )],
        );
    }
    check(
        &listener(&format!(r#""listen": ["127.0.0.1:80", "[::1]:80", "127.0.0.1:80"], {http}"#)),
        &["listeners.web.listen[2]: 127.0.0.1:80 is already used by listeners.web.listen[0]"],
    );
    let twice = format!(
        r#"{{ "a": {{ "listen": ["127.0.0.1:80"], {http} }}, "b": {{ "listen": ["127.0.0.1:81", "127.0.0.1:80"], {http} }} }}"#
    );
    check(&listeners(&twice), &["listeners.b.listen[1]: 127.0.0.1:80 is already used by listeners.a.listen[0]"]);
    check(
        &top(r#""admin": { "listen": "127.0.0.1:80" }"#),
        &["listeners.web.listen[0]: 127.0.0.1:80 is already used by admin.listen"],
    );
    check(
        &listener(&format!(r#""listen": ["127.0.0.1:80"], "reuse_port": "yes", {http}"#)),
        &[r#"listeners.web.reuse_port: expected true or false, found "yes""#],
    );
}

#[test]
fn listener_kinds() {
    let listening = |members: &str| listener(&format!(r#""listen": ["127.0.0.1:80"]{members}"#));
    check(&listening(""), &[r#"listeners.web: needs one of "http", "tcp", "udp", "forward" or "socks""#]);
    check(
        &listening(r#", "http": { "upstream": "api" }, "tcp": { "upstream": "api" }"#),
        &[r#"listeners.web: has both "http" and "tcp"; only one of them is allowed"#],
    );
    check(
        &listening(r#", "htp": { "upstream": "api" }"#),
        &[
            r#"listeners.web: needs one of "http", "tcp", "udp", "forward" or "socks""#,
            r#"listeners.web.htp: unknown key; did you mean "http"?"#,
        ],
    );
    check(
        &listening(r#", "tcp": { "upstream": "apy", "splce": true }"#),
        &[
            r#"listeners.web.tcp.upstream: no upstream named "apy"; did you mean "api"?"#,
            r#"listeners.web.tcp.splce: unknown key; did you mean "splice"?"#,
        ],
    );
    check(&listening(r#", "tcp": {}"#), &["listeners.web.tcp.upstream: is missing; expected the name of an upstream"]);
    check(
        &listening(
            r#", "tcp": { "sni": [{ "upstream": "api" }, { "name": ["*", "a"], "alpn": [], "upstream": "x" }],
                "limits": { "max_hello_bytes": "61KiB" }, "timeouts": { "idle": "0s", "lifetme": "1s" } }"#,
        ),
        &[
            r#"listeners.web.tcp.sni[0]: all other connections go to "upstream" beside "sni"; needs at least one of "name", "alpn""#,
            r#"listeners.web.tcp.sni[1].name[0]: expected a host such as "example.com" or "*.example.com", found "*""#,
            r#"listeners.web.tcp.sni[1].alpn: is empty; expected a protocol name such as "h2", or an array of them"#,
            r#"listeners.web.tcp.sni[1].upstream: no upstream named "x"; expected "api" or "canary""#,
            "listeners.web.tcp.limits.max_hello_bytes: must be at most 60KiB",
            "listeners.web.tcp.timeouts.idle: must be longer than zero",
            r#"listeners.web.tcp.timeouts.lifetme: unknown key; did you mean "lifetime"?"#,
        ],
    );
    check(
        &listening(r#", "allow": [], "deny": ["x"], "tcp": { "upstream": "api" }"#),
        &[
            r#"listeners.web.allow: is empty; expected an array of networks such as "10.0.0.0/8""#,
            r#"listeners.web.deny[0]: expected a network such as "10.0.0.0/8" or an IP address, found "x""#,
        ],
    );
    check(
        &listening(r#", "udp": { "upstream": "dns", "idle": "0s" }"#),
        &[
            r#"listeners.web.udp.upstream: no upstream named "dns"; expected "api" or "canary""#,
            "listeners.web.udp.idle: must be longer than zero",
        ],
    );
    check(
        &listening(r#", "tls": { "certificates": [{ "cert": "c", "key": "k" }] }, "udp": { "upstream": "api" }"#),
        &[r#"listeners.web.tls: is not possible on a "udp" listener"#],
    );
    check(
        r#"{ "listeners": { "web": { "listen": ["127.0.0.1:80"], "http": { "upstream": "corp" } },
                            "out": { "listen": ["127.0.0.1:81"], "forward": { "parents": [
                                { "upstream": "api" }, { "upstream": "crop" }, { "hosts": ["*"], "direct": false },
                                { "upstream": "corp", "direct": true } ] } } },
             "upstreams": { "api": { "backends": ["127.0.0.1:1"] },
                            "corp": { "backends": ["127.0.0.1:2"], "proxy": { "http": { "user": "a:b", "password": "c" } } },
                            "tor": { "backends": ["127.0.0.1:3"], "proxy": { "socks5": { "user": "a" } } },
                            "old": { "backends": ["127.0.0.1:4"], "proxy": "socks4" } } }"#,
        &[
            r#"listeners.web.http.upstream: "corp" has a "proxy": only "parents" can name it"#,
            r#"listeners.out.forward.parents[0].upstream: "api" has no "proxy": its backends are no proxies"#,
            r#"listeners.out.forward.parents[1].upstream: no upstream named "crop"; did you mean "corp"?"#,
            r#"listeners.out.forward.parents[2].hosts[0]: expected a host such as "example.com" or "*.example.com", found "*""#,
            "listeners.out.forward.parents[2].direct: can only be true: leave it out, and name an upstream",
            r#"listeners.out.forward.parents[3]: has both "upstream" and "direct"; only one of them is allowed"#,
            "upstreams.corp.proxy.http: needs a name and a password of 1 to 255 bytes each, the name without a colon, both without control characters",
            "upstreams.tor.proxy.socks5: a user needs a password, and a password a user",
            r#"upstreams.old.proxy: unknown protocol of a proxy "socks4"; did you mean "socks5"?"#,
        ],
    );
    check(
        &listening(r#", "forward": { "connect_ports": [0, 443], "allow": ["*"], "deny": ["a b"] }"#),
        &[
            "listeners.web.forward.connect_ports[0]: expected a whole number from 1 to 65535, found 0",
            r#"listeners.web.forward.allow[0]: expected a host such as "example.com" or "*.example.com", found "*""#,
            r#"listeners.web.forward.deny[0]: expected a host such as "example.com" or "*.example.com", found "a b""#,
        ],
    );
    check(
        &listening(
            r#", "forward": { "connect_ports": ["443", "9-8", "0-1"], "allow_private": "10.0.0.0/8", "anonymity": "none",
                "rules": [{ "name": "", "actoin": "deny", "host_regex": ["("], "times": ["monday"], "methods": ["a b"] }] }"#,
        ),
        &[
            r#"listeners.web.forward.connect_ports[0]: expected a range of ports such as "8000-8999", found "443""#,
            r#"listeners.web.forward.connect_ports[1]: expected a range of ports such as "8000-8999", found "9-8""#,
            r#"listeners.web.forward.connect_ports[2]: expected a range of ports such as "8000-8999", found "0-1""#,
            r#"listeners.web.forward.allow_private: expected true, false or an array of networks, found "10.0.0.0/8""#,
            r#"listeners.web.forward.anonymity: unknown level of anonymity "none"; expected "transparent", "anonymous" or "elite""#,
            r#"listeners.web.forward.rules[0].action: is missing; expected "allow" or "deny""#,
            "listeners.web.forward.rules[0].name: must not be empty",
            r#"listeners.web.forward.rules[0].actoin: unknown key; did you mean "action"?"#,
            "listeners.web.forward.rules[0].host_regex[0]: `(`: found open group without closing ')'",
            "listeners.web.forward.rules[0].times[0]: `monday`: expected days, hours or both, such as `mon-fri 08:00-18:00`",
            r#"listeners.web.forward.rules[0].methods[0]: expected a method such as "GET", found "a b""#,
        ],
    );
    check(
        &listening(r#", "tls": { "certificates": [] }, "http": { "upstream": "api" }"#),
        &[r#"listeners.web.tls.certificates: is empty; expected an array of {"cert": …, "key": …}"#],
    );
    check(
        &listening(r#", "tls": { "certificates": [{ "cert": "c" }], "alpn": [""] }, "http": { "upstream": "api" }"#),
        &[
            "listeners.web.tls.certificates[0].key: is missing; expected the path of a PEM file",
            "listeners.web.tls.alpn[0]: a protocol name has 1 to 255 bytes",
        ],
    );
    check(
        &listening(
            r#", "http": { "upstream": "api", "filters": [{ "hsts": { "max_age": "1y", "preloud": true } },
                { "https_redirect": { "port": 0, "status": 303 } }] },
            "tls": { "certificates": [{ "cert": "c", "key": "k", "ocps": "o" }], "alpn": ["spdy/3", "h2"], "min_version": "1.1",
                "unknown_name": "none", "client_auth": { "crl": [], "required": "yes" }, "handshake_timeout": "0s",
                "max_handshakes": 0, "tickets": true, "key_log": "" }"#,
        ),
        &[
            r#"listeners.web.http.filters[0].hsts.max_age: expected a duration such as "250ms", "5s", "1m" or "2h", found "1y""#,
            r#"listeners.web.http.filters[0].hsts.preloud: unknown key; did you mean "preload"?"#,
            "listeners.web.http.filters[1].https_redirect.port: expected a whole number from 1 to 65535, found 0",
            "listeners.web.http.filters[1].https_redirect.status: expected 301, 302, 307 or 308, found 303",
            r#"listeners.web.tls.certificates[0].ocps: unknown key; did you mean "ocsp"?"#,
            r#"listeners.web.tls.alpn[0]: is not spoken by this listener: "spdy/3"; expected "h2", "http/1.1" or "http/1.0""#,
            r#"listeners.web.tls.min_version: unknown version of TLS "1.1"; did you mean "1.2"?"#,
            r#"listeners.web.tls.unknown_name: unknown way with unknown names "none"; expected "first" or "refuse""#,
            "listeners.web.tls.client_auth.ca: is missing; expected the path of a PEM file",
            "listeners.web.tls.client_auth.crl: is empty; expected an array of paths of PEM files",
            r#"listeners.web.tls.client_auth.required: expected true or false, found "yes""#,
            "listeners.web.tls.handshake_timeout: must be longer than zero",
            "listeners.web.tls.max_handshakes: expected a whole number from 1 to 1000000000, found 0",
            "listeners.web.tls.key_log: must not be empty",
        ],
    );
    check(
        &listening(
            r#", "http": { "upstream": "api" }, "tls": { "certificates": [{ "cert": "c", "key": "k" }],
                "client_auth": { "ca": "a" }, "tickets": true }"#,
        ),
        &["listeners.web.tls.tickets: a session that is resumed would go on with a certificate that was revoked since"],
    );
    check(
        &listening(r#", "tls": { "certificates": [{ "cert": "c", "key": "k" }] }, "socks": {}"#),
        &[r#"listeners.web.tls: is not possible on a "socks" listener"#],
    );
    check(
        &listening(r#", "proxy_protocol": { "trusted": ["127.0.0.0/33"] }, "http": { "upstream": "api" }"#),
        &["listeners.web.proxy_protocol.trusted[0]: a prefix of 33 bits is longer than the 32 bits of the address"],
    );
    check(
        &listeners(r#"{ "we b": { "listen": ["127.0.0.1:80"], "http": { "upstream": "api" } } }"#),
        &[r#"listeners["we b"]: a name must not be empty, nor hold spaces or control characters"#],
    );
}

#[test]
fn http_settings() {
    check(
        &listener(r#""listen": ["127.0.0.1:80"], "http": {}"#),
        &[r#"listeners.web.http: needs one of "routes" or "upstream""#],
    );
    check(
        &http(r#""routes": [{ "upstream": "api" }]"#),
        &[r#"listeners.web.http: has both "routes" and "upstream"; only one of them is allowed"#],
    );
    check(
        &http(r#""trusted_proxies": ["10.0.0.1/8", "10.0.0.0/", "proxy"]"#),
        &[
            r#"listeners.web.http.trusted_proxies[0]: "10.0.0.1/8" has bits set after its prefix; the network is "10.0.0.0/8""#,
            r#"listeners.web.http.trusted_proxies[1]: expected a network such as "10.0.0.0/8" or an IP address, found "10.0.0.0/""#,
            r#"listeners.web.http.trusted_proxies[2]: expected a network such as "10.0.0.0/8" or an IP address, found "proxy""#,
        ],
    );
    check(
        &http(r#""limits": { "max_head_bytes": "64KB", "max_headers": 0, "max_body_bytes": 1.5 }"#),
        &[
            r#"listeners.web.http.limits.max_head_bytes: expected a number of bytes, or a size such as "64KiB" or "1MiB", found "64KB""#,
            "listeners.web.http.limits.max_headers: expected a whole number from 1 to 128, found 0",
            "listeners.web.http.limits.max_body_bytes: expected a whole number from 0 to 18446744073709551615, found 1.5",
        ],
    );
    check(
        &http(r#""limits": { "max_head_bytes": "61KiB", "max_headers": 129 }"#),
        &[
            "listeners.web.http.limits.max_head_bytes: must be at most 60KiB",
            "listeners.web.http.limits.max_headers: expected a whole number from 1 to 128, found 129",
        ],
    );
    check(
        &http(r#""limits": { "max_head_bytes": 0, "max_target_bytes": "4GiB", "max_body_bytes": "99999999TiB" }"#),
        &[
            "listeners.web.http.limits.max_head_bytes: must be larger than zero",
            "listeners.web.http.limits.max_target_bytes: must be less than 4GiB",
            r#"listeners.web.http.limits.max_body_bytes: "99999999TiB" is too large"#,
        ],
    );
    check(
        &http(r#""limits": { "max_connections": 0, "max_conections_per_client": 1 }"#),
        &[
            "listeners.web.http.limits.max_connections: expected a whole number from 1 to 1000000000, found 0",
            r#"listeners.web.http.limits.max_conections_per_client: unknown key; did you mean "max_connections_per_client"?"#,
        ],
    );
    check(
        &http(
            r#""limits": { "max_requests_per_connection": 0 }, "timeouts": { "min_body_rate": "fast", "tunnel_idle": 0 }"#,
        ),
        &[
            "listeners.web.http.limits.max_requests_per_connection: expected a whole number from 1 to 18446744073709551615, found 0",
            r#"listeners.web.http.timeouts.min_body_rate: expected a number of bytes, or a size such as "64KiB" or "1MiB", found "fast""#,
            r#"listeners.web.http.timeouts.tunnel_idle: expected a duration such as "250ms", "5s", "1m" or "2h", found 0"#,
        ],
    );
    check(
        &http(r#""timeouts": { "head": "0ms", "keepalive": "5s", "total": "5 s" }"#),
        &[
            "listeners.web.http.timeouts.head: must be longer than zero",
            r#"listeners.web.http.timeouts.keepalive: unknown key; did you mean "keep_alive"?"#,
            r#"listeners.web.http.timeouts.total: expected a duration such as "250ms", "5s", "1m" or "2h", found "5 s""#,
        ],
    );
    check(
        &http(r#""http2": { "max_streams": 0, "stream_window": "1KiB", "connection_window": "2GiB", "max_reset": 1 }"#),
        &[
            "listeners.web.http.http2.max_streams: expected a whole number from 1 to 10000, found 0",
            "listeners.web.http.http2.stream_window: must be 16KiB to 1GiB",
            "listeners.web.http.http2.connection_window: must be 64KiB to 1GiB",
            r#"listeners.web.http.http2.max_reset: unknown key; did you mean "max_resets"?"#,
        ],
    );
    check(&http(r#""http2": "on""#), &[r#"listeners.web.http.http2: expected false or an object, found "on""#]);
    check(
        &http(r#""forwarded": { "via": 1 }, "half_close": null"#),
        &[
            "listeners.web.http.forwarded.via: expected true or false, found 1",
            "listeners.web.http.half_close: expected true or false, found null",
        ],
    );
}

#[test]
fn route_targets() {
    check(&routes("[]"), &["listeners.web.http.routes: is empty; expected an array of routes"]);
    check(
        &routes(r#"[{ "upstream": "api" }, { "upstream": "api" }, { "upstream": "apii" }]"#),
        &[r#"listeners.web.http.routes[2].upstream: no upstream named "apii"; did you mean "api"?"#],
    );
    check(&routes(r#"["api"]"#), &[r#"listeners.web.http.routes[0]: expected an object, a route, found "api""#]);
    check(&routes("[{}]"), &[r#"listeners.web.http.routes[0]: needs one of "upstream" or "split""#]);
    check(
        &routes(r#"[{ "upstream": "api", "split": { "api": 1 } }]"#),
        &[r#"listeners.web.http.routes[0]: has both "upstream" and "split"; only one of them is allowed"#],
    );
    check(
        &routes(r#"[{ "upstream": ["api"] }]"#),
        &["listeners.web.http.routes[0].upstream: expected the name of an upstream, found an array"],
    );
    check(&routes(r#"[{ "split": {} }]"#), &["listeners.web.http.routes[0].split: needs at least one entry"]);
    check(
        &routes(r#"[{ "split": { "api": 0, "canary": 0 } }]"#),
        &["listeners.web.http.routes[0].split: all weights are 0, so no request could go anywhere"],
    );
    check(
        &routes(r#"[{ "split": { "apii": 95, "canary": 65536 } }]"#),
        &[
            r#"listeners.web.http.routes[0].split.apii: no upstream named "apii"; did you mean "api"?"#,
            "listeners.web.http.routes[0].split.canary: expected a whole number from 0 to 65535, found 65536",
        ],
    );
    check(
        &routes(r#"[{ "split": { "api": 1, "api": 2 } }]"#).replace('\n', ""),
        &["listeners.web.http.routes[0].split.api: given twice, first at 1:96"],
    );
}

#[test]
fn route_matches() {
    check(
        &matching(r#"{ "hosts": "a" }"#),
        &[r#"listeners.web.http.routes[0].match.hosts: unknown key; did you mean "host"?"#],
    );
    for host in ["a.*.com", "example.com:80", "-a.com", "http://a"] {
        check(
            &matching(&format!(r#"{{ "host": "{host}" }}"#)),
            &[&format!(
                r#"listeners.web.http.routes[0].match.host: expected a host such as "example.com" or "*.example.com", found "{host}""#
            )],
        );
    }
    check(
        &matching(r#"{ "path": "v1", "path_prefix": "/a?b" }"#),
        &[
            r#"listeners.web.http.routes[0].match: has both "path" and "path_prefix"; only one of them is allowed"#,
            r#"listeners.web.http.routes[0].match.path: a path starts with "/", found "v1""#,
            "listeners.web.http.routes[0].match.path_prefix: a request path never holds '?', so this would match nothing",
        ],
    );
    check(&matching(r#"{ "path_regex": "" }"#), &["listeners.web.http.routes[0].match.path_regex: must not be empty"]);
    check(
        &matching(r#"{ "path_regex": "/(" }"#),
        &[
            r#"listeners.web.http.routes[0].match.path_regex: path expression "/(": found open group without closing ')'"#,
        ],
    );
    check(
        &matching(r#"{ "method": ["GET", "P UT"] }"#),
        &[r#"listeners.web.http.routes[0].match.method[1]: expected a method such as "GET", found "P UT""#],
    );
    check(
        &matching(r#"{ "method": [] }"#),
        &[
            r#"listeners.web.http.routes[0].match.method: is empty; expected a method such as "GET", or an array of them"#,
        ],
    );
    check(
        &matching(r#"{ "headers": { "x canary": "1", "x-b": "a\nb" } }"#),
        &[
            r#"listeners.web.http.routes[0].match.headers["x canary"]: "x canary" is not a legal field name"#,
            r#"listeners.web.http.routes[0].match.headers.x-b: "a\nb" is not a legal field value"#,
        ],
    );
    check(
        &matching(r#"{ "headers": { "X-Canary": "1", "x-canary": "2" } }"#),
        &["listeners.web.http.routes[0].match.headers.x-canary: given twice; field names ignore case"],
    );
    check(
        &matching(r#"{ "cookies": { "be;ta": "yes" }, "query": { "q": 1 } }"#),
        &[
            r#"listeners.web.http.routes[0].match.cookies["be;ta"]: "be;ta" is not a legal cookie name"#,
            "listeners.web.http.routes[0].match.query.q: expected a string, found 1",
        ],
    );
}

#[test]
fn filters() {
    check(
        &filter("\"rate_limt\""),
        &[r#"listeners.web.http.filters[0]: unknown filter "rate_limt"; did you mean "rate_limit"?"#],
    );
    check(
        &filter(r#"{ "rate_limt": {} }"#),
        &[r#"listeners.web.http.filters[0].rate_limt: unknown filter "rate_limt"; did you mean "rate_limit"?"#],
    );
    check(
        &filter("\"waf\""),
        &[
            r#"listeners.web.http.filters[0]: unknown filter "waf"; expected "bandwidth_limit", "concurrency_limit", "connection_limit", "headers", "hsts", "https_redirect", "rate_limit", "request_id" or "trace_context""#,
        ],
    );
    check(
        &filter("\"rate_limit\""),
        &[r#"listeners.web.http.filters[0]: "rate_limit" needs settings: {"rate_limit": …}"#],
    );
    check(
        &filter("7"),
        &[
            "listeners.web.http.filters[0]: expected the name of a filter, or an object with that name as its one key, found 7",
        ],
    );
    check(
        &filter(r#"{ "request_id": {}, "headers": {} }"#),
        &["listeners.web.http.filters[0]: expected an object with one key, the name of the filter"],
    );
    check(
        &filter(r#"{ "request_id": { "header": "x id", "hdr": 1 } }"#),
        &[
            r#"listeners.web.http.filters[0].request_id.header: "x id" is not a legal field name"#,
            r#"listeners.web.http.filters[0].request_id.hdr: unknown key; expected "header""#,
        ],
    );
    check(
        &filter(r#"{ "headers": { "request": { "set": { "x:y": "1", "x-a": " 1" }, "remove": ["", "x-c"] } } }"#),
        &[
            r#"listeners.web.http.filters[0].headers.request.set["x:y"]: "x:y" is not a legal field name"#,
            r#"listeners.web.http.filters[0].headers.request.set.x-a: " 1" is not a legal field value"#,
            r#"listeners.web.http.filters[0].headers.request.remove[0]: "" is not a legal field name"#,
        ],
    );
    check(
        &filter(r#"{ "headers": { "response": { "remove": ["Content-Length"] } } }"#),
        &[
            r#"listeners.web.http.filters[0].headers.response.remove[0]: "content-length" is written by the proxy itself and cannot be edited"#,
        ],
    );
    check(
        &filter(r#"{ "headers": { "request": { "add": { "Host": "a" } } } }"#),
        &[
            r#"listeners.web.http.filters[0].headers.request: a request has exactly one "host"; only "set" can change it"#,
        ],
    );
    check(
        &filter(r#"{ "headers": { "response": { "set": { "Upgrade": "h2c" }, "remove": ["trailer"] } } }"#),
        &[
            r#"listeners.web.http.filters[0].headers.response.set: "upgrade" is written by the proxy itself and cannot be edited"#,
            r#"listeners.web.http.filters[0].headers.response.remove[0]: "trailer" is written by the proxy itself and cannot be edited"#,
        ],
    );
    check(
        &filter(r#"{ "trace_context": { "trust_incoming": 1, "sampling": "1", "trust": true } }"#),
        &[
            "listeners.web.http.filters[0].trace_context.trust_incoming: expected true or false, found 1",
            r#"listeners.web.http.filters[0].trace_context.sampling: expected a share such as "1%" or "0.1%", found "1""#,
            r#"listeners.web.http.filters[0].trace_context.trust: unknown key; expected "trust_incoming" or "sampling""#,
        ],
    );
    check(
        &filter(r#"{ "request_id": { "header": "Content-Length" } }"#),
        &[
            r#"listeners.web.http.filters[0].request_id.header: "content-length" is written by the proxy itself and cannot be edited"#,
        ],
    );
    check(
        &filter(r#"{ "request_id": { "header": "Host" } }"#),
        &[r#"listeners.web.http.filters[0].request_id.header: "host" names the host"#],
    );
    check(
        &filter(
            r#"{ "rate_limit": { "algorithm": "token_buket", "key": { "heder": "x" }, "rate": "0/s", "burst": 0 } }"#,
        ),
        &[
            r#"listeners.web.http.filters[0].rate_limit.algorithm: unknown algorithm "token_buket"; did you mean "token_bucket"?"#,
            r#"listeners.web.http.filters[0].rate_limit.key.heder: unknown key "heder"; did you mean "header"?"#,
            "listeners.web.http.filters[0].rate_limit.rate: must be more than zero",
            "listeners.web.http.filters[0].rate_limit.burst: expected a whole number from 1 to 4294967295, found 0",
        ],
    );
    check(
        &filter(r#"{ "rate_limit": { "algorithm": "gcra", "key": "header", "rate": "100" } }"#),
        &[
            r#"listeners.web.http.filters[0].rate_limit.key: "header" needs settings: {"header": …}"#,
            r#"listeners.web.http.filters[0].rate_limit.rate: expected a rate such as "100/s", "1000/m" or "5000/h", found "100""#,
        ],
    );

    check(
        &routes(r#"[{ "upstream": "api", "filters": ["request-id"] }]"#),
        &[r#"listeners.web.http.routes[0].filters[0]: unknown filter "request-id"; did you mean "request_id"?"#],
    );
}

/// `rate_limit` with these settings besides algorithm and key.
fn rate_limit(algorithm: &str, settings: &str) -> String {
    filter(&format!(r#"{{ "rate_limit": {{ "algorithm": "{algorithm}", "key": "host"{settings} }} }}"#))
}

#[test]
fn rate_limits() {
    let at = |rest: &str| format!("listeners.web.http.filters[0].rate_limit{rest}");
    let check = |algorithm: &str, settings: &str, expected: &str| {
        self::check(&rate_limit(algorithm, settings), &[&at(expected)]);
    };
    check("gcra", "", r#".rate: is missing; expected a rate such as "100/s""#);
    check("gcra", r#", "rate": "0/s""#, ".rate: must be more than zero");
    check(
        "gcra",
        r#", "rate": "often""#,
        r#".rate: expected a rate such as "100/s", "1000/m" or "5000/h", found "often""#,
    );
    check("fixed_window", r#", "rate": "1/s", "burst": 2"#, ".burst: a window has no burst; its rate is all there is");
    check("gcra", r#", "limits": []"#, ".limits: is empty; expected an array of objects with a rate and a burst");
    check("gcra", r#", "rate": "1/s", "status": 200"#, ".status: expected a whole number from 400 to 599, found 200");
    check(
        "gcra",
        r#", "rate": "1/s", "missing_key": "pass""#,
        r#".missing_key: unknown policy "pass"; expected "allow", "deny" or "share""#,
    );
    check("gcra", r#", "rate": "1/s", "cost": { "body": 0 }"#, ".cost.body: must be larger than zero");
    check(
        "gcra",
        r#", "rate": "1/s", "cost": { "methods": { "P T": 1 } }"#,
        r#".cost.methods["P T"]: "P T" is not a method"#,
    );
    check(
        "gcra",
        r#", "rate": "1/s", "redis": {}"#,
        r#".redis.url: is missing; expected a URL such as "redis://127.0.0.1:6379""#,
    );
    check(
        "gcra",
        r#", "rate": "1/s", "redis": { "url": "http://a" }"#,
        r#".redis.url: expected a URL such as "redis://127.0.0.1:6379""#,
    );
    check(
        "gcra",
        r#", "rate": "1/s", "redis": { "url": "rediss://a" }"#,
        ".redis.url: Redis over TLS is not in this build",
    );
    check(
        "sliding_window_log",
        r#", "rate": "1/s", "redis": { "url": "redis://a" }"#,
        r#".redis: a "sliding_window_log" cannot be shared; a "sliding_window" can"#,
    );
    check(
        "fixed_window",
        r#", "rate": "1/s", "redis": { "url": "redis://a", "approximate": "50ms" }"#,
        r#".redis: only "token_bucket" and "gcra" have an approximate mode"#,
    );
    check(
        "gcra",
        r#", "limits": [{ "rate": "1/s" }, { "rate": "2/h" }], "redis": { "url": "redis://a" }"#,
        ".redis: several limits at once cannot be shared; use a filter for each",
    );
}

#[test]
fn other_limits() {
    let check = |filter_: &str, expected: &str| {
        self::check(&filter(filter_), &[&format!("listeners.web.http.filters[0].{expected}")]);
    };
    check(
        r#"{ "concurrency_limit": {} }"#,
        r#"concurrency_limit: limits nothing; needs at least one of "max", "adaptive", "per_key""#,
    );
    check(
        r#"{ "concurrency_limit": { "max": 1, "adaptive": {} } }"#,
        r#"concurrency_limit: has both "max" and "adaptive"; only one of them is allowed"#,
    );
    check(
        r#"{ "concurrency_limit": { "adaptive": { "floor": 2, "ceiling": 1 } } }"#,
        "concurrency_limit.adaptive: has a floor above its ceiling",
    );
    check(
        r#"{ "concurrency_limit": { "max": 1, "priorities": { "header": "p", "default": "hihg",
            "classes": [{ "value": "high", "percent": 100 }] } } }"#,
        r#"concurrency_limit.priorities.default: unknown class "hihg"; did you mean "high"?"#,
    );
    check(r#"{ "bandwidth_limit": {} }"#, r#"bandwidth_limit: limits nothing; needs at least one of "down", "up""#);
    check(
        r#"{ "bandwidth_limit": { "down": "1MiB" } }"#,
        r#"bandwidth_limit.down: expected a size per second such as "1MiB/s", found "1MiB""#,
    );
    check(
        r#"{ "connection_limit": { "open": 0 } }"#,
        "connection_limit.open: expected a whole number from 1 to 1000000000, found 0",
    );
    self::check(
        &routes(r#"[{ "upstream": "api", "filters": [{ "connection_limit": { "open": 1 } }] }]"#),
        &[r#"listeners.web.http.routes[0].filters[0]: "connection_limit" belongs to the filters of the listener"#],
    );
}

#[test]
fn upstream_backends() {
    check(
        &pooled(
            r#""tls": { "server_name": "a b", "ca": 1, "certificate": { "cert": "c", "ocsp": "o" }, "pins": ["beef"],
                "min_version": 1.3, "insecure": "yes", "sni": "a" }"#,
        ),
        &[
            r#"upstreams.api.tls.server_name: expected a name such as "api.internal", or an IP address, found "a b""#,
            "upstreams.api.tls.ca: expected the path of a file, found 1",
            "upstreams.api.tls.certificate.key: is missing; expected the path of a PEM file",
            "upstreams.api.tls.certificate.ocsp: unknown key; expected \"cert\" or \"key\"",
            r#"upstreams.api.tls.pins[0]: expected 64 hexadecimal digits, found "beef""#,
            "upstreams.api.tls.min_version: expected the name of a version of TLS, or an object with that name as its one key, found 1.3",
            r#"upstreams.api.tls.insecure: expected true or false, found "yes""#,
            r#"upstreams.api.tls.sni: unknown key; expected "server_name", "ca", "certificate", "pins", "min_version" or "insecure""#,
        ],
    );
    check(
        &pooled(r#""tls": { "ca": "a", "insecure": true }"#),
        &[r#"upstreams.api.tls.insecure: "ca" would not be looked at; give one of the two"#],
    );
    check(
        &pooled(r#""tls": true"#),
        &["upstreams.api.tls: expected an object; {} verifies backends by the system's authorities, found true"],
    );
    check(&upstream("{}"), &["upstreams.api.backends: is missing; expected an array of backends"]);
    check(&backends("[]"), &["upstreams.api.backends: is empty; expected an array of backends"]);
    check(&backends(r#"["127.0.0.1"]"#), &[r#"upstreams.api.backends[0]: "127.0.0.1" has no port"#]);
    check(
        &backends(r#"["127.0.0.1:0"]"#),
        &[r#"upstreams.api.backends[0]: expected a port from 1 to 65535, found "0""#],
    );
    check(
        &backends(r#"["1.2.3.400:80", "unix:x"]"#),
        &[
            r#"upstreams.api.backends[0]: expected "host:port", "[IPv6]:port" or "unix:/path", found "1.2.3.400:80""#,
            r#"upstreams.api.backends[1]: expected an absolute path after "unix:", found "x""#,
        ],
    );
    check(&backends(r#"[9001]"#), &["upstreams.api.backends[0]: expected an address or an object, found 9001"]);
    check(
        &backends(r#"[{ "weight": 1 }]"#),
        &[r#"upstreams.api.backends[0].address: is missing; expected an address such as "127.0.0.1:9001""#],
    );
    check(
        &backends(r#"["127.0.0.1:1", "127.0.0.1:2", { "address": "127.0.0.1:1", "weight": 3 }]"#),
        &["upstreams.api.backends[2]: 127.0.0.1:1 is already used by upstreams.api.backends[0]"],
    );
    check(
        &backends(r#"["Api.internal:80", "api.internal:80"]"#),
        &["upstreams.api.backends[1]: api.internal:80 is already used by upstreams.api.backends[0]"],
    );
    check(
        &backends(r#"[{ "address": "127.0.0.1:1", "weight": 65536 }, { "address": "127.0.0.1:1", "wieght": 1 }]"#),
        &[
            "upstreams.api.backends[0].weight: expected a whole number from 0 to 65535, found 65536",
            "upstreams.api.backends[1]: 127.0.0.1:1 is already used by upstreams.api.backends[0]",
            r#"upstreams.api.backends[1].wieght: unknown key; did you mean "weight"?"#,
        ],
    );
    check(
        &backends(r#"[{ "address": "127.0.0.1:1", "weight": 0 }]"#),
        &["upstreams.api.backends: all weights are 0, so no request could go anywhere"],
    );
    check(
        &backends(r#"[{ "address": "127.0.0.1:1", "zone": "", "backup": "no" }]"#),
        &[
            "upstreams.api.backends[0].zone: must not be empty",
            r#"upstreams.api.backends[0].backup: expected true or false, found "no""#,
        ],
    );
}

#[test]
fn upstream_selectors() {
    check(
        &pooled(r#""selector": "round_robbin""#),
        &[r#"upstreams.api.selector: unknown selector "round_robbin"; did you mean "round_robin"?"#],
    );
    check(
        &pooled(r#""selector": "consistent_hash""#),
        &[r#"upstreams.api.selector: "consistent_hash" needs settings: {"consistent_hash": …}"#],
    );
    check(
        &pooled(r#""selector": { "consistent_hash": {} }"#),
        &[r#"upstreams.api.selector.consistent_hash.key: is missing; expected one such as {"cookie": "session"}"#],
    );
    check(
        &pooled(r#""selector": { "consistent_hash": { "key": { "cookie": "a=b" } } }"#),
        &[r#"upstreams.api.selector.consistent_hash.key.cookie: expected a cookie name, found "a=b""#],
    );
    check(
        &pooled(r#""selector": { "round_robin": { "weight": 1 } }"#),
        &["upstreams.api.selector.round_robin.weight: unknown key"],
    );
    check(
        &pooled(r#""selector": { "maglev": { "key": "path", "balance_factor": 100 } }"#),
        &["upstreams.api.selector.maglev.balance_factor: expected a whole number from 101 to 1000, found 100"],
    );
    check(
        &pooled(r#""selector": { "peak_ewma": { "decay": "0s" } }"#),
        &["upstreams.api.selector.peak_ewma.decay: must be longer than zero"],
    );
}

#[test]
fn upstream_stickiness_and_subsets() {
    check(&pooled(r#""sticky": "cookie""#), &[r#"upstreams.api.sticky: "cookie" needs settings: {"cookie": …}"#]);
    check(
        &pooled(r#""sticky": { "cooky": {} }"#),
        &[r#"upstreams.api.sticky.cooky: unknown sticky session "cooky"; did you mean "cookie"?"#],
    );
    check(
        &pooled(r#""sticky": { "cookie": { "name": "a b", "secret": "short" } }"#),
        &[
            r#"upstreams.api.sticky.cookie.name: expected a cookie name, found "a b""#,
            "upstreams.api.sticky.cookie.secret: is shorter than 16 characters",
        ],
    );
    check(
        &pooled(r#""sticky": { "cookie": { "name": "a" } }"#),
        &["upstreams.api.sticky.cookie.secret: is missing; expected a text of 16 characters or more"],
    );
    check(
        &pooled(r#""sticky": { "learn": { "cookie": "a", "capacity": 0 } }"#),
        &["upstreams.api.sticky.learn.capacity: expected a whole number from 1 to 1000000000, found 0"],
    );
    check(
        &pooled(r#""subset": { "size": 0, "proxy": "" }"#),
        &[
            "upstreams.api.subset.size: expected a whole number from 1 to 1000000000, found 0",
            "upstreams.api.subset.proxy: must not be empty",
        ],
    );
    check(
        &backends(
            r#"[{ "address": "127.0.0.1:1", "priority": 1, "backup": true }, { "address": "a:1", "priority": 256 }]"#,
        ),
        &[
            "upstreams.api.backends[0].priority: a backup comes after all priorities, and has none",
            "upstreams.api.backends[1].priority: expected a whole number from 0 to 255, found 256",
        ],
    );
}

#[test]
fn upstream_settings() {
    check(
        &pooled(r#""retry": { "attempts": 0, "budget_percent": 101 }"#),
        &[
            "upstreams.api.retry.attempts: expected a whole number from 1 to 10, found 0",
            "upstreams.api.retry.budget_percent: expected a whole number from 0 to 100, found 101",
        ],
    );
    check(
        &pooled(r#""retry": { "attempts": 11, "budget": 5 }"#),
        &[
            "upstreams.api.retry.attempts: expected a whole number from 1 to 10, found 11",
            r#"upstreams.api.retry.budget: unknown key; expected "attempts", "budget_percent" or "grpc_statuses""#,
        ],
    );
    check(
        &pooled(r#""timeouts": { "connect": "1", "response": "9000h", "idle": true }"#),
        &[
            r#"upstreams.api.timeouts.connect: expected a duration such as "250ms", "5s", "1m" or "2h", found "1""#,
            r#"upstreams.api.timeouts.response: "9000h" is longer than a year"#,
            r#"upstreams.api.timeouts.idle: expected a duration such as "250ms", "5s", "1m" or "2h", found true"#,
        ],
    );
    check(
        &pooled(r#""pool": { "max_idle": -1, "max_open_per_backend": 0, "max_requests": 0, "max_age": "0s" }"#),
        &[
            "upstreams.api.pool.max_idle: expected a whole number from 0 to 1000000000, found -1",
            "upstreams.api.pool.max_open_per_backend: expected a whole number from 1 to 1000000000, found 0",
            "upstreams.api.pool.max_requests: expected a whole number from 1 to 18446744073709551615, found 0",
            "upstreams.api.pool.max_age: must be longer than zero",
        ],
    );
    check(
        &pooled(
            r#""http2": "yes", "pool": { "http2": { "max_streams": 0, "stream_window": "1KiB", "ping_interval": "0s" } }"#,
        ),
        &[
            r#"upstreams.api.http2: unknown use of HTTP/2 "yes"; expected "auto", "always" or "never""#,
            "upstreams.api.pool.http2.max_streams: expected a whole number from 1 to 10000, found 0",
            "upstreams.api.pool.http2.stream_window: must be 16KiB to 1GiB",
            "upstreams.api.pool.http2.ping_interval: must be longer than zero",
        ],
    );
    check(
        &pooled(r#""retry": { "grpc_statuses": [] }"#),
        &["upstreams.api.retry.grpc_statuses: is empty; expected an array of statuses"],
    );
    check(
        &pooled(r#""health_check": { "interval": "2s" }"#),
        &[r#"upstreams.api.health_check: needs one of "http", "tcp", "udp", "http2" or "grpc""#],
    );
    check(
        &pooled(r#""health_check": { "http": { "path": "healthz", "status": "299-200" }, "rise": 0 }"#),
        &[
            r#"upstreams.api.health_check.http.path: "healthz" is not a legal request path"#,
            r#"upstreams.api.health_check.http.status: expected a status such as 200, or a range such as "200-299", found "299-200""#,
            "upstreams.api.health_check.rise: expected a whole number from 1 to 1000000, found 0",
        ],
    );
    check(
        &pooled(r#""outlier_detection": { "max_ejected_percent": 200 }"#),
        &["upstreams.api.outlier_detection.max_ejected_percent: expected a whole number from 0 to 100, found 200"],
    );
    check(
        &pooled(
            r#""health_check": { "http": { "path": "/", "headers": { "host": "a", "a b": "c" }, "status": [] }, "start": "dead" }"#,
        ),
        &[
            "upstreams.api.health_check.http.headers.host: has a key of its own: host",
            r#"upstreams.api.health_check.http.headers["a b"]: "a b" is not a legal field name"#,
            "upstreams.api.health_check.http.status: is empty; expected an array of statuses",
            r#"upstreams.api.health_check.start: unknown start state "dead"; expected "down" or "up""#,
        ],
    );
    check(
        &pooled(r#""outlier_detection": { "success_rate": true, "latency": { "factor": 1 } }"#),
        &[
            "upstreams.api.outlier_detection.success_rate: expected false or an object, found true",
            "upstreams.api.outlier_detection.latency.factor: expected a whole number from 2 to 1000, found 1",
        ],
    );
    check(
        &pooled(r#""circuit_breaker": { "max_connections": 5, "failures": 0 }, "pool": { "max_open_per_backend": 6 }"#),
        &[
            "upstreams.api.circuit_breaker: max_connections and pool.max_open_per_backend are the same limit; give one of them",
            "upstreams.api.circuit_breaker.failures: expected a whole number from 1 to 1000000, found 0",
        ],
    );
    check(
        &pooled(r#""slow_start": "0s", "panic_percent": 101"#),
        &[
            "upstreams.api.slow_start: must be longer than zero",
            "upstreams.api.panic_percent: expected a whole number from 0 to 100, found 101",
        ],
    );
    check(
        &pooled(r#""discovery": { "dns": { "name": "127.0.0.1:80" }, "file": { "path": "" } }"#),
        &[
            r#"upstreams.api.discovery: has both "dns" and "file"; only one of them is allowed"#,
            "upstreams.api.discovery.dns.name: is an address already; it belongs into backends",
            "upstreams.api.discovery.file.path: must not be empty",
        ],
    );
    check(
        &pooled(r#""discovery": { "srv": { "name_servers": ["127.0.0.1:0", "a.internal:53"] } }"#),
        &[
            r#"upstreams.api.discovery.srv.name: is missing; expected a name such as "_http._tcp.api.internal""#,
            "upstreams.api.discovery.srv.name_servers[0]: has no port",
            r#"upstreams.api.discovery.srv.name_servers[1]: expected an IP address and port such as "127.0.0.1:8080" or "[::]:8080", found "a.internal:53""#,
        ],
    );
    check(
        &top(r#""workers": 1"#).replace(r#"{ "api": { "backends": ["127.0.0.1:1"] } }"#, "[]"),
        &["upstreams: expected an object with one entry per upstream, found an array"],
    );
}

#[test]
fn mistakes_come_all_at_once_and_in_the_order_of_the_file() {
    let text = "{\n  \"workers\": 0,\n  \"listeners\": {\n    \"web\": { \"listen\": [\"x\"],\n      \"http\": { \"upstream\": \"apii\" } }\n  },\n  \"upstreams\": { \"api\": { \"backends\": [] } }\n}";
    assert_eq!(
        text.parse::<Config>().unwrap_err().to_string(),
        "2:14: workers: expected a whole number from 1 to 1024, found 0\n\
         4:25: listeners.web.listen[0]: expected an IP address and port such as \"127.0.0.1:8080\" or \"[::]:8080\", found \"x\"\n\
         5:29: listeners.web.http.upstream: no upstream named \"apii\"; did you mean \"api\"?\n\
         7:39: upstreams.api.backends: is empty; expected an array of backends"
    );
}

#[test]
fn mistakes_beyond_a_hundred_are_counted() {
    let errors = routes(&format!("[{}7]", "7,".repeat(120))).parse::<Config>().unwrap_err();
    assert_eq!((errors.iter().count(), errors.omitted()), (100, 21));
    assert!(errors.to_string().ends_with("\nand 21 more errors"));
}

#[test]
fn long_values_are_cut_and_control_characters_escaped() {
    let found = format!("{}…", "x".repeat(60));
    check(
        &backends(&format!(r#"["{}"]"#, "x".repeat(1000))),
        &[&format!(r#"upstreams.api.backends[0]: "{found}" has no port"#)],
    );
    check(&backends(r#"["\u001b[31m"]"#), &[r#"upstreams.api.backends[0]: "\u{1b}[31m" has no port"#]);
}

#[test]
fn unreadable_files_are_named() {
    let errors = Config::load("/no/such/file.json").unwrap_err();
    assert_eq!(errors.to_string(), "/no/such/file.json: cannot be read: No such file or directory (os error 2)");
    assert_eq!(errors.iter().next().unwrap().kind(), ErrorKind::Unreadable);
    assert!(std::error::Error::source(&errors).is_some());
}

/// Variables are looked up here; what they are replaced by is held to the same rules.
#[test]
fn variables() {
    let registry = Registry::new().variables_from(|name| match name {
        "PORT" => Some("8080".into()),
        "WORD" => Some("random".into()),
        "EMPTY" => Some("".into()),
        _ => None,
    });
    let check = |text: &str, expected: &[&str]| {
        let errors = registry.parse(text).expect_err("must be refused");
        let printed: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(printed, expected, "in {text}");
    };
    let unset = |path: &str, name: &str| {
        format!("{path}: the variable {name} is not set; \"${{{name}:-…}}\" would give it a default")
    };
    check(
        &backends(r#"["127.0.0.1:${PORT}", "${HOST}:${PORT}", "${EMPTY}:80", "${WORD}"]"#),
        &[
            &unset("upstreams.api.backends[1]", "HOST"),
            r#"upstreams.api.backends[2]: expected "host:port", "[IPv6]:port" or "unix:/path", found ":80""#,
            r#"upstreams.api.backends[3]: "random" has no port"#,
        ],
    );
    check(&backends(r#""${BACKENDS}""#), &[&unset("upstreams.api.backends", "BACKENDS")]);
    check(
        &pooled(r#""selector": "${PORT}", "timeouts": { "connect": "${PORT}" }, "pool": { "max_idle": "${PORT}" }"#),
        &[
            r#"upstreams.api.selector: unknown selector "8080"; expected "consistent_hash", "ketama", "least_connections", "maglev", "peak_ewma", "power_of_two", "random", "rendezvous", "round_robin" or "source_ip_hash""#,
            r#"upstreams.api.timeouts.connect: expected a duration such as "250ms", "5s", "1m" or "2h", found "8080""#,
            r#"upstreams.api.pool.max_idle: expected a whole number from 0 to 1000000000, found "8080""#,
        ],
    );
    check(
        &pooled(r#""selector": "${WORD", "discovery": { "file": { "path": "${1}" } }"#),
        &[
            r#"upstreams.api.selector: "${WORD" has a "${" without a "}"; write "$${" where these characters are meant"#,
            r#"upstreams.api.discovery.file.path: "1" is not the name of a variable; write "$${" where the characters "${" are meant"#,
        ],
    );
    check(
        &top(r#""${PORT}": 1"#),
        &[
            r#"["${PORT}"]: unknown key; expected "$schema", "workers", "local_zone", "admin", "access_log", "shutdown", "listeners" or "upstreams""#,
        ],
    );
    assert!(registry.parse(&pooled(r#""selector": "${WORD}", "local": "x""#)).is_err());
    assert!(registry.parse(&pooled(r#""selector": "${WORD}""#)).is_ok());
    // What a line of the log has is the request's.
    let logged =
        |format: &str| registry.parse(&top(&format!(r#""access_log": {{ "format": {format}, "path": "a" }}"#)));
    assert!(logged(r#"{ "template": "${header:x-a} ${status}" }"#).is_ok());
    assert!(logged(r#""${NONE}""#).is_err());
}

#[test]
fn secrets() {
    let short = std::env::temp_dir().join(format!("proxy-config-secret-{}", std::process::id()));
    std::fs::write(&short, "short\n").unwrap();
    let sticky = |secret: &str| pooled(&format!(r#""sticky": {{ "cookie": {{ "name": "a", "secret": {secret} }} }}"#));
    let path = "upstreams.api.sticky.cookie.secret";
    let missing = "No such file or directory (os error 2)";
    check(
        &sticky("7"),
        &[&format!(r#"{path}: expected a text of 16 characters or more, or {{"file": path}}, found 7"#)],
    );
    check(&sticky("{}"), &[&format!("{path}.file: is missing; expected the path of a file")]);
    check(&sticky(r#"{ "file": "/no/such" }"#), &[&format!("{path}: /no/such: {missing}")]);
    check(
        &sticky(r#"{ "flie": "/no/such" }"#),
        &[
            &format!("{path}.file: is missing; expected the path of a file"),
            &format!(r#"{path}.flie: unknown key; did you mean "file"?"#),
        ],
    );
    check(
        &sticky(&format!(r#"{{ "file": "{}" }}"#, short.display())),
        &[&format!("{path}: is shorter than 16 characters")],
    );
    std::fs::remove_file(short).unwrap();
    let limit = |url: &str| {
        filter(&format!(
            r#"{{ "rate_limit": {{ "algorithm": "gcra", "key": "client_ip", "rate": "1/s", "redis": {{ "url": {url} }} }} }}"#
        ))
    };
    let path = "listeners.web.http.filters[0].rate_limit.redis.url";
    check(&limit(r#"{ "file": "/no/such" }"#), &[&format!("{path}: /no/such: {missing}")]);
    check(&limit(r#""redis://""#), &[&format!(r#"{path}: expected a URL such as "redis://127.0.0.1:6379""#)]);
}
