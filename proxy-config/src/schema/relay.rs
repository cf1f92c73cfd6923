//! Listeners that relay without looking inside.

use std::time::Duration;

use super::names::cluster_reference;
use super::tls::protocol;
use crate::decode::Cursor;
use crate::values::count::at_least_one;
use crate::values::duration::positive_duration;
use crate::values::host::host_pattern;
use crate::values::size::memory_size;

/// `listeners.<name>.tcp`
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tcp {
    /// `upstream`: where connections go that no entry of `sni` takes. Never absent without `sni`.
    pub upstream: Option<String>,
    /// `sni`: where connections go by what their TLS handshake says, which is not terminated.
    pub sni: Vec<ServerName>,
    /// `splice`: whether the kernel moves the bytes; `true` when absent.
    pub splice: Option<bool>,
    /// `limits`: how many connections there may be.
    pub limits: TcpLimits,
    /// `timeouts`: how long connections may take.
    pub timeouts: TcpTimeouts,
}

impl Tcp {
    /// The upstreams that it names.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &str> {
        self.sni.iter().map(|route| &*route.upstream).chain(self.upstream.as_deref())
    }
}

/// An entry of `listeners.<name>.tcp.sni`: at least one of the two conditions is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerName {
    /// `name`: one server name or several, `*.example.com` among them. Any when absent.
    pub names: Vec<String>,
    /// `alpn`: a protocol that the client offers, one or several. Any when absent.
    pub protocols: Vec<String>,
    /// `upstream`: where these connections go.
    pub upstream: String,
}

/// `listeners.<name>.tcp.limits`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpLimits {
    /// `max_connections`: of all clients, at least 1; 16,384 when absent.
    pub max_connections: Option<usize>,
    /// `max_connections_per_client`: of one address, at least 1; unlimited when absent.
    pub max_connections_per_client: Option<usize>,
    /// `max_hello_bytes`: of a TLS ClientHello, 1 byte to 60 KiB; 16 KiB when absent.
    pub max_hello_bytes: Option<usize>,
}

/// `listeners.<name>.tcp.timeouts`: each longer than zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpTimeouts {
    /// `idle`: without a byte either way; 10 m when absent.
    pub idle: Option<Duration>,
    /// `lifetime`: for a whole connection; unlimited when absent.
    pub lifetime: Option<Duration>,
    /// `hello`: until the ClientHello is complete, where there is `sni`; 5 s when absent.
    pub hello: Option<Duration>,
}

/// `listeners.<name>.udp`
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Udp {
    /// `upstream`: where datagrams go.
    pub upstream: String,
    /// `idle`: how long a silent client keeps its backend, longer than zero; 30 s when absent.
    pub idle: Option<Duration>,
    /// `requests`: after so many datagrams a client gets a backend anew, 1 balances each by itself; unlimited when absent.
    pub requests: Option<u32>,
    /// `responses`: how many datagrams answer one of a client, after which nothing is kept of it; unknown when absent.
    pub responses: Option<u32>,
    /// `limits`: how many clients there may be.
    pub limits: UdpLimits,
}

/// `listeners.<name>.udp.limits`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpLimits {
    /// `max_sessions`: of all clients, at least 1; 4096 when absent.
    pub max_sessions: Option<usize>,
    /// `max_sessions_per_client`: of one address, at least 1; unlimited when absent.
    pub max_sessions_per_client: Option<usize>,
}

/// What proxy-core can keep until a connection has an upstream.
const MAX_HELLO_BYTES: usize = 60 * 1024;

pub(super) fn tcp(cursor: Cursor<'_>) -> Option<Tcp> {
    const WHAT: &str = "an array of routes by server name";
    cursor.object("an object", |fields| {
        let upstream = fields.required_unless(&["sni"], "upstream", "the name of an upstream", cluster_reference);
        let sni = fields.optional("sni", |cursor| cursor.non_empty_list(WHAT, server_name)).unwrap_or_default();
        Some(Tcp {
            upstream,
            sni,
            splice: fields.flag("splice"),
            limits: fields.optional("limits", limits).unwrap_or_default(),
            timeouts: fields.optional("timeouts", timeouts).unwrap_or_default(),
        })
    })
}

fn server_name(cursor: Cursor<'_>) -> Option<ServerName> {
    cursor.object("an object", |fields| {
        let names = fields.optional("name", |cursor| {
            one_or_more(cursor, r#"a server name such as "*.example.com", or an array of them"#, host_pattern)
        });
        let protocols = fields.optional("alpn", |cursor| {
            one_or_more(cursor, r#"a protocol name such as "h2", or an array of them"#, protocol)
        });
        let upstream = fields.required("upstream", "the name of an upstream", cluster_reference);
        fields.at_least_one(&["name", "alpn"], r#"all other connections go to "upstream" beside "sni""#)?;
        Some(ServerName {
            names: names.unwrap_or_default(),
            protocols: protocols.unwrap_or_default(),
            upstream: upstream?,
        })
    })
}

fn one_or_more(cursor: Cursor<'_>, what: &str, read: fn(Cursor<'_>) -> Option<String>) -> Option<Vec<String>> {
    match cursor.is_string() {
        true => read(cursor).map(|one| vec![one]),
        false => cursor.non_empty_list(what, read),
    }
}

fn limits(cursor: Cursor<'_>) -> Option<TcpLimits> {
    cursor.object("an object", |fields| {
        Some(TcpLimits {
            max_connections: fields.optional("max_connections", at_least_one),
            max_connections_per_client: fields.optional("max_connections_per_client", at_least_one),
            max_hello_bytes: fields.optional("max_hello_bytes", |cursor| match memory_size(cursor)? {
                size if size > MAX_HELLO_BYTES => cursor.fail("must be at most 60KiB"),
                size => Some(size),
            }),
        })
    })
}

fn timeouts(cursor: Cursor<'_>) -> Option<TcpTimeouts> {
    cursor.object("an object", |fields| {
        Some(TcpTimeouts {
            idle: fields.optional("idle", positive_duration),
            lifetime: fields.optional("lifetime", positive_duration),
            hello: fields.optional("hello", positive_duration),
        })
    })
}

pub(super) fn udp(cursor: Cursor<'_>) -> Option<Udp> {
    cursor.object("an object", |fields| {
        let upstream = fields.required("upstream", "the name of an upstream", cluster_reference);
        let idle = fields.optional("idle", positive_duration);
        let requests = fields.optional("requests", datagrams);
        let responses = fields.optional("responses", datagrams);
        let limits = fields.optional("limits", udp_limits).unwrap_or_default();
        Some(Udp { upstream: upstream?, idle, requests, responses, limits })
    })
}

fn datagrams(cursor: Cursor<'_>) -> Option<u32> {
    cursor.integer(1..=1_000_000)
}

fn udp_limits(cursor: Cursor<'_>) -> Option<UdpLimits> {
    cursor.object("an object", |fields| {
        Some(UdpLimits {
            max_sessions: fields.optional("max_sessions", at_least_one),
            max_sessions_per_client: fields.optional("max_sessions_per_client", at_least_one),
        })
    })
}
