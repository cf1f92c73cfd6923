//! What this build serves, and what it only understands. `example.rs` has the rest.

use proxy_config::Config;

#[track_caller]
fn check(config: &str, expected: &[&str]) {
    let config: Config = config.parse().unwrap_or_else(|errors| panic!("{errors}"));
    let listed: Vec<_> = config.unsupported().iter().map(ToString::to_string).collect();
    assert_eq!(listed, expected);
}

#[test]
fn everything_of_the_first_build_is_served() {
    check(
        r#"{
            "$schema": "proxy.schema.json",
            "workers": 2,
            "shutdown": { "drain": "0s" },
            "admin": { "listen": "0.0.0.0:9900", "unix": "/run/lb.sock", "token": "0123456789abcdef" },
            "access_log": { "format": { "template": "$client $status ${header:x-a}" }, "syslog": true, "sampling": "0.5%", "buffer": "1MiB",
                "conditions": { "status": [404, "500-599"], "slower_than": "1s", "except_paths": ["/healthz", "/static/*"] } },
            "listeners": {
                "out": { "listen": ["[::1]:0"], "forward": {
                    "connect_ports": [443, "8000-8999"], "http_ports": [80], "allow": ["*.example.com"], "deny": ["a.b"],
                    "deny_files": ["ads.txt"], "default": "deny", "allow_private": ["10.0.0.0/8"], "users": "users", "realm": "us",
                    "anonymity": "elite", "via": "us", "remove_headers": ["x-a"], "filters": ["request_id"],
                    "limits": { "max_headers": 10 }, "timeouts": { "head": "1s" },
                    "rules": [{ "name": "a", "action": "allow", "hosts": ["a.b"], "host_regex": ["a"], "files": ["a"],
                        "addresses": ["::/0"], "ports": [1], "methods": ["GET"], "clients": ["::1"], "users": ["ada"],
                        "times": ["mon"] }] } },
                "socks": { "listen": ["[::1]:0"], "socks": { "allow_private": true, "also_http": false } },
                "secure": { "listen": ["[::1]:0"], "tls": {
                    "certificates": [{ "cert": "c.pem", "key": "k.pem", "ocsp": "o.der" }], "alpn": ["http/1.1", "http/1.0"],
                    "min_version": "1.2", "unknown_name": "first", "handshake_timeout": "5s", "max_handshakes": 100,
                    "tickets": false, "key_log": "keys", "client_auth": {
                        "ca": "ca.pem", "crl": ["crl.pem"], "required": false, "forward": true } },
                    "http": { "upstream": "b", "filters": [
                        "hsts", { "hsts": { "max_age": "1h", "include_subdomains": true, "preload": true } },
                        "https_redirect", { "https_redirect": { "port": 8443, "status": 302 } }] } },
                "web": {
                    "listen": ["127.0.0.1:0", "[::1]:0"],
                    "reuse_port": true,
                    "http": {
                        "trusted_proxies": ["10.0.0.0/8", "::1"],
                        "filters": [
                            "request_id", "trace_context",
                            { "request_id": { "header": "X-Trace" } },
                            { "connection_limit": { "rate_per_client": "10/s", "rate": "1000/s", "open_per_client": 10, "open": 1000 } },
                            { "rate_limit": { "algorithm": "token_bucket", "key": "client_ip", "rate": "100/s", "burst": 200 } },
                            { "rate_limit": {
                                "algorithm": "gcra", "key": [{ "client_ip": { "ipv6_prefix": 56 } }, "method"],
                                "limits": [{ "rate": "10/s" }, { "rate": "1000/h", "burst": 100 }],
                                "global": { "rate": "10000/s" }, "missing_key": "deny", "cost": { "methods": { "POST": 10 } },
                                "max_keys": 10000, "name": "api", "status": 503, "headers": "always", "x_headers": true,
                                "dry_run": true } },
                            { "rate_limit": {
                                "algorithm": "gcra", "key": "everything", "rate": "10/s", "cost": { "body": "64KiB" },
                                "redis": { "url": "redis://127.0.0.1:6379", "approximate": "100ms", "deadline": "5ms",
                                    "on_failure": "open" } } },
                            { "concurrency_limit": {
                                "adaptive": { "floor": 1, "ceiling": 100, "initial": 10 },
                                "per_key": { "key": "client_ip", "max": 10 }, "queue": { "length": 10, "timeout": "1s" },
                                "priorities": { "header": "x-priority", "default": "low",
                                    "classes": [{ "value": "high", "percent": 100 }, { "value": "low", "percent": 50 }] } } },
                            { "bandwidth_limit": { "down": "1MiB/s", "up": "100KiB/s", "burst": "4MiB" } },
                            { "headers": {
                                "request": { "set": { "Host": "a" }, "add": { "x-a": "" }, "remove": ["x-b"] },
                                "response": { "set": { "server": "us" } } } }
                        ],
                        "routes": [
                            { "match": { "host": "*.example.com", "path": "/a", "method": "GET" }, "upstream": "api" },
                            { "match": { "path_prefix": "/", "method": ["GET", "PUT"] }, "split": { "api": 1, "b": 0 } },
                            { "match": { "path_regex": "^/[a-z]+$", "headers": { "x-a": "1" } }, "upstream": "b" },
                            { "match": { "cookies": { "a": "1" }, "query": { "q": "" } }, "upstream": "b" },
                            { "match": {}, "upstream": "api", "filters": ["request_id"] }
                        ],
                        "limits": {
                            "max_head_bytes": "32KiB", "max_headers": 100, "max_target_bytes": 8192,
                            "max_body_bytes": "1GiB", "max_connections": 1000, "max_connections_per_client": 10,
                            "max_requests_per_connection": 1000, "max_drain_bytes": 0
                        },
                        "timeouts": {
                            "head": "10s", "keep_alive": "1m", "body_idle": "30s", "min_body_rate": "1KiB",
                            "tunnel_idle": "2h", "total": "1h"
                        },
                        "forwarded": { "x_forwarded": true, "forwarded": false, "via": false },
                        "half_close": true,
                        "http2": {
                            "max_streams": 100, "stream_window": "64KiB", "connection_window": "1MiB",
                            "max_resets": 100, "max_idle_frames": 1000
                        }
                    }
                },
                "behind": {
                    "listen": ["127.0.0.1:0"],
                    "proxy_protocol": { "required": false, "trusted": ["10.0.0.0/8"], "timeout": "2s" },
                    "allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"],
                    "http": { "upstream": "api" }
                },
                "db": {
                    "listen": ["127.0.0.1:0"],
                    "tcp": { "upstream": "b", "splice": false, "limits": { "max_connections": 10, "max_connections_per_client": 2 },
                             "timeouts": { "idle": "10m", "lifetime": "1h" } }
                },
                "dns": {
                    "listen": ["127.0.0.1:0"], "allow": ["10.0.0.0/8"],
                    "udp": { "upstream": "dns", "idle": "5s", "requests": 1, "responses": 1,
                             "limits": { "max_sessions": 10, "max_sessions_per_client": 2 } }
                },
                "names": {
                    "listen": ["127.0.0.1:0"],
                    "proxy_protocol": { "trusted": ["10.0.0.0/8"] },
                    "tcp": {
                        "sni": [
                            { "name": "*.example.com", "upstream": "api" },
                            { "name": ["a.example.com", "b.example.com"], "alpn": ["h2", "http/1.1"], "upstream": "b" },
                            { "alpn": "acme-tls/1", "upstream": "b" }
                        ],
                        "limits": { "max_hello_bytes": "8KiB" }, "timeouts": { "hello": "2s" }
                    }
                }
            },
            "upstreams": {
                "api": {
                    "selector": "round_robin",
                    "backends": ["127.0.0.1:1", { "address": "127.0.0.1:2", "weight": 0 }],
                    "health_check": {
                        "http": { "path": "/healthz", "method": "HEAD", "host": "a.internal", "headers": { "x-a": "1" },
                                  "status": [200, "204-206"], "body": "ok" },
                        "interval": "2s", "fast_interval": "500ms", "jitter_percent": 20, "timeout": "1s",
                        "rise": 2, "fall": 3, "start": "down", "port": 8081
                    },
                    "outlier_detection": {
                        "consecutive_failures": 5, "consecutive_gateway_failures": 0, "success_rate": false,
                        "latency": { "factor": 5, "floor": "50ms", "min_requests": 100, "min_backends": 3 },
                        "interval": "10s", "eject": "30s", "max_eject": "5m", "max_ejected_percent": 50
                    },
                    "circuit_breaker": {
                        "max_requests": 100, "max_retries": 3, "failures": 5, "open": "5s", "max_open": "1m",
                        "half_open_requests": 1, "successes": 3
                    },
                    "slow_start": { "window": "30s", "min_percent": 10, "aggression_percent": 100 },
                    "panic_percent": 10,
                    "retry": { "attempts": 3, "budget_percent": 0 },
                    "timeouts": { "connect": "1s", "response": "30s", "idle": "250ms" },
                    "pool": {
                        "max_idle_per_backend": 1, "max_idle": 2, "max_open_per_backend": 3, "max_pending": 4,
                        "pending_timeout": "1s", "idle_timeout": "1m", "max_age": "1h", "max_requests": 1000,
                        "http2": { "max_streams": 10, "stream_window": "64KiB", "ping_interval": "5m", "ping_timeout": "5s" }
                    },
                    "http2": "always"
                },
                "c": { "discovery": { "dns": { "name": "c.internal:80", "interval": "30s", "weight": 2 } },
                       "health_check": { "tcp": {} }, "slow_start": "10s",
                       "circuit_breaker": { "max_connections": 10, "max_pending": 10 } },
                "d": { "discovery": { "file": { "path": "backends.json", "interval": "1s" } }, "backends": ["[::1]:1"],
                       "outlier_detection": { "success_rate": { "deviations_percent": 190, "ceiling_percent": 95, "min_requests": 100,
                                                                "min_backends": 5 } } },
                "dns": { "backends": ["[::1]:53"], "health_check": { "udp": { "send": "0x0001", "receive": "well" } } },
                "e": { "backends": ["[::1]:1"], "proxy_protocol": "v1" },
                "f": { "backends": ["[::1]:1"], "proxy_protocol": { "v2": { "checksum": true, "unique_id": true } } },
                "b": { "selector": { "round_robin": {} }, "tls": {
                    "server_name": "b.internal", "ca": "ca.pem", "certificate": { "cert": "c.pem", "key": "k.pem" },
                    "pins": ["0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"], "min_version": "1.3",
                    "insecure": false }, "backends": ["b.internal:80", "unix:/run/b.sock"] }
            }
        }"#,
        &[],
    );
}

/// What a build without the feature `dns` lacks.
const WITHOUT_DNS: &[&str] =
    if cfg!(feature = "dns") { &[] } else { &["upstreams.a.discovery.srv: not in this build"] };

#[test]
fn checks_of_all_protocols_are_served_and_discovery_where_it_is_built() {
    let upstream = |part: &str| {
        format!(
            r#"{{ "listeners": {{ "a": {{ "listen": ["[::]:80"], "http": {{ "upstream": "a" }} }} }},
                "upstreams": {{ "a": {{ "backends": ["[::1]:1"], {part} }} }} }}"#
        )
    };
    for part in [
        r#""health_check": { "http2": { "path": "/" } }"#,
        r#""health_check": { "grpc": { "service": "x" } }"#,
        r#""http2": "auto", "retry": { "grpc_statuses": ["unavailable", "aborted"] }"#,
    ] {
        check(&upstream(part), &[]);
    }
    let srv = upstream(r#""discovery": { "srv": { "name": "_http._tcp.a", "name_servers": ["[::1]:53"] } }"#);
    check(&srv, WITHOUT_DNS);
}

#[test]
fn every_way_to_choose_is_served() {
    let upstream = |settings: &str| {
        format!(
            r#"{{ "local_zone": "a",
                "listeners": {{ "a": {{ "listen": ["[::]:80"], "http": {{ "upstream": "a" }} }} }},
                "upstreams": {{ "a": {{ "backends": [
                    {{ "address": "[::1]:1", "weight": 3, "zone": "a" }},
                    {{ "address": "[::1]:2", "priority": 1 }},
                    {{ "address": "[::1]:3", "backup": true }}
                ], {settings} }} }} }}"#
        )
    };
    for name in ["round_robin", "random", "least_connections", "power_of_two", "peak_ewma", "source_ip_hash"] {
        check(&upstream(&format!(r#""selector": {name:?}"#)), &[]);
        check(&upstream(&format!(r#""selector": {{ {name:?}: {{}} }}"#)), &[]);
    }
    check(&upstream(r#""selector": { "peak_ewma": { "decay": "5s" } }"#), &[]);
    for name in ["consistent_hash", "ketama", "maglev", "rendezvous"] {
        for key in
            [r#""client_ip""#, r#""path""#, r#"{ "header": "x" }"#, r#"{ "cookie": "x" }"#, r#"{ "query": "x" }"#]
        {
            check(&upstream(&format!(r#""selector": {{ {name:?}: {{ "key": {key}, "balance_factor": 125 }} }}"#)), &[]);
        }
    }
    check(&upstream(r#""sticky": { "cookie": { "name": "lb", "secret": "0123456789abcdef", "max_age": "1h" } }"#), &[]);
    check(&upstream(r#""sticky": { "learn": { "cookie": "JSESSIONID", "capacity": 1000 } }"#), &[]);
    check(&upstream(r#""subset": { "size": 20, "proxy": "proxy-7" }"#), &[]);
}
