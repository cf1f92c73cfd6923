//! Listeners: where clients arrive and what happens to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::forward::{Forward, Socks, forward, socks};
use super::http::{Http, http};
use super::names::named;
use super::relay::{Tcp, Udp, tcp, udp};
use super::tls::{Tls, tls};
use crate::decode::{Cursor, Fields, Unique};
use crate::values::address::listen_address;
use crate::values::cidr::{Cidr, cidr, cidrs};
use crate::values::duration::positive_duration;

/// `listeners.<name>`
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Listener {
    /// `listen`: the addresses. Never empty, and no two listeners share one.
    pub listen: Vec<SocketAddr>,
    /// `reuse_port`: whether each worker opens its own socket (`SO_REUSEPORT`).
    pub reuse_port: Option<bool>,
    /// `tls`: clients speak TLS.
    pub tls: Option<Tls>,
    /// `proxy_protocol`: connections begin with a PROXY header.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `allow`: the only networks that may connect; all when absent.
    pub allow: Option<Vec<Cidr>>,
    /// `deny`: networks that may not connect, also where `allow` has them.
    pub deny: Vec<Cidr>,
    /// `http`, `tcp`, `udp`, `forward` or `socks`.
    pub kind: ListenerKind,
}

/// What a listener speaks: exactly one of the keys `http`, `tcp`, `udp`, `forward` and `socks`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ListenerKind {
    /// `http`: a reverse proxy.
    Http(Box<Http>),
    /// `tcp`: connections are relayed.
    Tcp(Tcp),
    /// `udp`: datagrams are relayed.
    Udp(Udp),
    /// `forward`: a forward proxy.
    Forward(Box<Forward>),
    /// `socks`: a forward proxy for clients that speak SOCKS.
    Socks(Box<Socks>),
}

impl ListenerKind {
    /// The key that it is written under.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            ListenerKind::Http(_) => "http",
            ListenerKind::Tcp(_) => "tcp",
            ListenerKind::Udp(_) => "udp",
            ListenerKind::Forward(_) => "forward",
            ListenerKind::Socks(_) => "socks",
        }
    }

    /// Whether it connects wherever a client says.
    pub(crate) fn goes_anywhere(&self) -> bool {
        matches!(self, ListenerKind::Forward(_) | ListenerKind::Socks(_))
    }
}

/// `listeners.<name>.proxy_protocol`
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyProtocol {
    /// `required`: whether connections without the header are refused; `true` when absent.
    pub required: Option<bool>,
    /// `trusted`: who may send the header.
    pub trusted: Vec<Cidr>,
    /// `timeout`: until the header is complete, longer than zero; 5 s when absent.
    pub timeout: Option<Duration>,
}

/// All listeners; none of their addresses may be `taken`.
pub(super) fn listeners(cursor: Cursor<'_>, taken: &mut Unique<Port>) -> Option<BTreeMap<String, Listener>> {
    cursor.non_empty_map("an object with one entry per listener", |name, value| {
        named(name, value, |value| listener(value, taken))
    })
}

fn listener(cursor: Cursor<'_>, taken: &mut Unique<Port>) -> Option<Listener> {
    const WHAT: &str = r#"an array of addresses such as ["127.0.0.1:8080"]"#;
    const NETWORKS: &str = r#"an array of networks such as "10.0.0.0/8""#;
    cursor.object("an object", |fields| {
        let port = if fields.has("udp") { Port::Datagram } else { Port::Stream };
        let listen = fields.required("listen", WHAT, |cursor| {
            cursor.non_empty_list(WHAT, |item| {
                let address = listen_address(item)?;
                claim(taken, address, port, item);
                Some(address)
            })
        });
        let reuse_port = fields.flag("reuse_port");
        let tls = fields.optional("tls", tls);
        let proxy_protocol = fields.optional("proxy_protocol", proxy_protocol);
        let allow = fields.optional("allow", |cursor| cursor.non_empty_list(NETWORKS, cidr));
        let deny = fields.optional("deny", cidrs).unwrap_or_default();
        let kind = kind(fields);
        Some(Listener { listen: listen?, reuse_port, tls, proxy_protocol, allow, deny, kind: kind? })
    })
}

fn kind(fields: &mut Fields<'_>) -> Option<ListenerKind> {
    let http = fields.optional("http", http).map(|http| ListenerKind::Http(Box::new(http)));
    let tcp = fields.optional("tcp", tcp).map(ListenerKind::Tcp);
    let udp = fields.optional("udp", udp).map(ListenerKind::Udp);
    let forward = fields.optional("forward", forward).map(|forward| ListenerKind::Forward(Box::new(forward)));
    let socks = fields.optional("socks", socks).map(|socks| ListenerKind::Socks(Box::new(socks)));
    fields.exactly_one(&["http", "tcp", "udp", "forward", "socks"]);
    // Datagrams have no connection that could begin with a handshake or a header.
    refuse(fields, "udp", &["tls", "proxy_protocol"]);
    // Both would come before the greeting that the listener itself takes.
    refuse(fields, "socks", &["tls", "proxy_protocol"]);
    if fields.has("http") || fields.has("forward") {
        fields.object().revisit_key("tls", |tls| tls.revisit_key("alpn", refuse_other_protocols));
    }
    http.or(tcp).or(udp).or(forward).or(socks)
}

/// Keys that a listener of this kind cannot have.
fn refuse(fields: &mut Fields<'_>, kind: &str, keys: &[&str]) {
    if !fields.has(kind) {
        return;
    }
    for key in keys {
        fields.object().revisit_key(key, |value| {
            value.fail::<()>(format!("is not possible on a {kind:?} listener"));
        });
    }
}

/// A client that chose another protocol would be spoken to in HTTP all the same.
fn refuse_other_protocols(alpn: Cursor<'_>) {
    const HTTP: [&str; 3] = ["h2", "http/1.1", "http/1.0"];
    if alpn.is_array() {
        alpn.list("", |item| match item.is_string().then(|| item.string("")).flatten() {
            Some(name) if !name.is_empty() && !HTTP.contains(&name) => {
                item.unknown("is not spoken by this listener:", name, HTTP.into_iter())
            }
            _ => Some(()),
        });
    }
}

fn proxy_protocol(cursor: Cursor<'_>) -> Option<ProxyProtocol> {
    cursor.object("an object", |fields| {
        let required = fields.flag("required");
        let trusted = fields.required("trusted", "an array of networks", cidrs);
        let timeout = fields.optional("timeout", positive_duration);
        Some(ProxyProtocol { required, trusted: trusted?, timeout })
    })
}

/// An address in use; TCP and UDP have ports of their own.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Port {
    Stream(SocketAddr),
    Datagram(SocketAddr),
}

/// Takes an address for a stream listener, or for one of datagrams.
pub(super) fn claim(taken: &mut Unique<Port>, address: SocketAddr, port: fn(SocketAddr) -> Port, cursor: Cursor<'_>) {
    // Port 0 is another port each time.
    if address.port() != 0 {
        taken.claim(port(address), address, cursor);
    }
}
