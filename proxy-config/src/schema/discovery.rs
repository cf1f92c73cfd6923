//! Where the backends of an upstream come from, when they are not written down.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::backend::{Backend, backends};
use crate::Registry;
use crate::decode::{Cursor, Report};
use crate::error::{ConfigError, ConfigErrors, ErrorKind};
use crate::json;
use crate::path::Path;
use crate::values::address::{Address, backend_address, listen_address};
use crate::values::duration::positive_duration;

/// `upstreams.<name>.discovery`: exactly one of the keys `dns`, `srv` and `file`. What is found replaces
/// `backends`, which serve until then; what cannot be found leaves the last good ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Discovery {
    /// `dns`: all addresses of a name.
    #[non_exhaustive]
    Dns {
        /// `name`: the name and port, such as `"api.internal:9001"`.
        host: String,
        /// The port of `name`.
        port: u16,
        /// `interval`: how often it is asked for; 30 s when absent.
        interval: Option<Duration>,
        /// `weight`: of each backend; 1 when absent.
        weight: u16,
    },
    /// `srv`: addresses, ports, weights and priorities of a service, asked for again when the answer's time is
    /// over. With the feature `dns`.
    #[non_exhaustive]
    Srv {
        /// `name`: such as `"_http._tcp.api.internal"`.
        name: String,
        /// `name_servers`: who is asked; the system's when absent.
        name_servers: Vec<SocketAddr>,
    },
    /// `file`: a JSON array as `backends` is, read anew when it changes.
    #[non_exhaustive]
    File {
        /// `path`: of the file.
        path: PathBuf,
        /// `interval`: how often it is looked at; 1 s when absent.
        interval: Option<Duration>,
    },
}

pub(super) fn discovery(cursor: Cursor<'_>) -> Option<Discovery> {
    cursor.object("an object", |fields| {
        let dns = fields.optional("dns", dns);
        let srv = fields.optional("srv", srv);
        let file = fields.optional("file", file);
        fields.exactly_one(&["dns", "srv", "file"]);
        dns.or(srv).or(file)
    })
}

fn dns(cursor: Cursor<'_>) -> Option<Discovery> {
    cursor.object("an object", |fields| {
        let name = fields.required("name", r#"a name and port such as "api.internal:9001""#, name_and_port);
        let interval = fields.optional("interval", positive_duration);
        let weight = fields.optional("weight", |cursor| cursor.integer(1..=u16::MAX)).unwrap_or(1);
        let (host, port) = name?;
        Some(Discovery::Dns { host, port, interval, weight })
    })
}

fn name_and_port(cursor: Cursor<'_>) -> Option<(String, u16)> {
    match backend_address(cursor)? {
        Address::Name { host, port } => Some((host, port)),
        _ => cursor.fail("is an address already; it belongs into backends"),
    }
}

fn srv(cursor: Cursor<'_>) -> Option<Discovery> {
    cursor.object("an object", |fields| {
        let name = fields.required("name", r#"a name such as "_http._tcp.api.internal""#, |cursor| {
            cursor.string("a name").map(str::to_owned)
        });
        let name_servers = fields.optional("name_servers", |cursor| {
            cursor.non_empty_list("an array of addresses", |cursor| match listen_address(cursor)? {
                address if address.port() == 0 => cursor.fail("has no port"),
                address => Some(address),
            })
        });
        Some(Discovery::Srv { name: name?, name_servers: name_servers.unwrap_or_default() })
    })
}

fn file(cursor: Cursor<'_>) -> Option<Discovery> {
    cursor.object("an object", |fields| {
        let path =
            fields.required("path", r#"a path such as "backends.json""#, |cursor| match cursor.string("a path")? {
                "" => cursor.fail("must not be empty"),
                path => Some(PathBuf::from(path)),
            });
        let interval = fields.optional("interval", positive_duration);
        Some(Discovery::File { path: path?, interval })
    })
}

/// The array in such a file.
pub(crate) fn parse_backends(text: &str) -> Result<Vec<Backend>, ConfigErrors> {
    let root = json::parse(text).map_err(|error| {
        let syntax = ConfigError::new(ErrorKind::Syntax, error.message).at(error.position);
        ConfigErrors::new(vec![syntax], 0)
    })?;
    let report = Report::new(None, Registry::default());
    let found = backends(Cursor::new(&root, &Path::Key(&Path::Root, "backends"), &report));
    report.finish(found)
}
