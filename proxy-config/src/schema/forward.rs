//! Forward proxies, for clients that speak HTTP and for those of SOCKS.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::filter::{Filter, filters};
use super::http::{HttpTimeouts, Limits, limits, timeouts};
use super::operations::file_path;
use super::parent::{ForwardParent, parents};
use crate::decode::{Cursor, Fields, quote};
use crate::values::cidr::{Cidr, cidr, cidrs};
use crate::values::header::{method, named_field, token};
use crate::values::host::host_pattern;

/// `listeners.<name>.forward`
///
/// What is refused by `deny`, `deny_files` or a rule is refused; of the rest the rules decide, in order, then
/// `allow`, then `default`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Forward {
    /// `connect_ports`: ports that `CONNECT` and SOCKS may name, as numbers or as `"8000-8999"`.
    pub connect_ports: Option<Vec<RangeInclusive<u16>>>,
    /// `http_ports`: ports that requests may name.
    pub http_ports: Option<Vec<RangeInclusive<u16>>>,
    /// `allow`: hosts that may be reached; all when absent. In lower case, as `example.com` or `*.example.com`.
    pub allow: Option<Vec<String>>,
    /// `deny`: hosts that may not be reached, stronger than `allow` and than every rule.
    pub deny: Vec<String>,
    /// `deny_files`: files of domains that may not be reached, nor anything below them.
    pub deny_files: Vec<PathBuf>,
    /// `rules`: of which the first that matches decides.
    pub rules: Vec<ForwardRule>,
    /// `default`: `"allow"` or `"deny"` what no rule matches; when absent, `"deny"` where there is an `allow`.
    pub default: Option<ForwardAction>,
    /// `allow_private`: networks of private and local addresses that may be reached; `true` is all of them but the
    /// addresses that hand out a cloud's credentials, which are to be named.
    pub allow_private: Vec<AllowPrivate>,
    /// `server_names`: whether the server name of a tunnel's TLS has to be its host; `"off"` when absent.
    pub server_names: Option<ServerNames>,
    /// `pac`: serves `/proxy.pac`, by which browsers find the proxy.
    pub pac: Option<Pac>,
    /// `parents`: which hosts are reached by another proxy, in order; those that none has are reached from here.
    pub parents: Vec<ForwardParent>,
    /// `users`: a file of names and password hashes; without it nobody is asked for a password.
    pub users: Option<PathBuf>,
    /// `realm`: what clients show their users when they ask for the password.
    pub realm: Option<String>,
    /// `anonymity`: how much origins learn.
    pub anonymity: Option<Anonymity>,
    /// `via`: the name of the proxy in `Via`.
    pub via: Option<String>,
    /// `remove_headers`: fields that no request keeps, in lower case.
    pub remove_headers: Vec<String>,
    /// `filters`: run in this order, once it is known who asks.
    pub filters: Vec<Filter>,
    /// `limits`: as for `http`.
    pub limits: Limits,
    /// `timeouts`: as for `http`.
    pub timeouts: HttpTimeouts,
}

impl Forward {
    /// Names of upstreams that it uses.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &str> {
        self.parents.iter().filter_map(|parent| parent.upstream.as_deref())
    }
}

/// `listeners.<name>.socks`: all keys of `forward`, and one more.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Socks {
    /// The keys of `forward`.
    pub forward: Forward,
    /// `also_http`: whether clients may speak HTTP on the same port.
    pub also_http: Option<bool>,
}

/// `listeners.<name>.forward.server_names`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerNames {
    /// `"off"`: nobody looks.
    Off,
    /// `"log"`: another is logged.
    Log,
    /// `"require"`: another is refused, and what is no TLS.
    Require,
}

/// `listeners.<name>.forward.pac`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pac {
    /// `proxy`: the proxy as browsers reach it, as `proxy.example:3128`; as they reach the file when absent.
    pub proxy: Option<String>,
}

/// A part of `allow_private`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllowPrivate {
    /// `true`: everything.
    All,
    /// A network.
    Network(Cidr),
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardAction {
    /// `"allow"`
    Allow,
    /// `"deny"`
    Deny,
}

/// How much origins learn about clients and the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Anonymity {
    /// `"transparent"`: the client's address, and the proxy in `Via`.
    Transparent,
    /// `"anonymous"`: the proxy in `Via`.
    Anonymous,
    /// `"elite"`: nothing.
    Elite,
}

/// `listeners.<name>.forward.rules[]`: matches where, of each kind of condition that is given, one holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardRule {
    /// `name`: what refused clients are told.
    pub name: String,
    /// `action`: `"allow"` or `"deny"`.
    pub action: ForwardAction,
    /// `hosts`: as `example.com` or `*.example.com`, in lower case.
    pub hosts: Vec<String>,
    /// `host_regex`: regular expressions that match a host from end to end; syntax of the crate `regex-lite`.
    pub host_regex: Vec<String>,
    /// `files`: files of domains, each with everything below it.
    pub files: Vec<PathBuf>,
    /// `addresses`: networks that a host's address is in.
    pub addresses: Vec<Cidr>,
    /// `ports`: ports of destinations.
    pub ports: Vec<RangeInclusive<u16>>,
    /// `methods`: methods of requests; a tunnel's is `CONNECT`.
    pub methods: Vec<String>,
    /// `clients`: networks of clients.
    pub clients: Vec<Cidr>,
    /// `users`: names of users.
    pub users: Vec<String>,
    /// `times`: as `mon-fri 08:00-18:00`, in UTC.
    pub times: Vec<String>,
}

pub(super) fn forward(cursor: Cursor<'_>) -> Option<Forward> {
    cursor.object("an object", fields)
}

pub(super) fn socks(cursor: Cursor<'_>) -> Option<Socks> {
    cursor.object("an object", |members| {
        let also_http = members.flag("also_http");
        Some(Socks { forward: fields(members)?, also_http })
    })
}

fn fields(fields: &mut Fields<'_>) -> Option<Forward> {
    Some(Forward {
        connect_ports: fields.optional("connect_ports", ports),
        http_ports: fields.optional("http_ports", ports),
        allow: fields.optional("allow", hosts),
        deny: fields.optional("deny", hosts).unwrap_or_default(),
        deny_files: fields.optional("deny_files", files).unwrap_or_default(),
        rules: fields.optional("rules", rules).unwrap_or_default(),
        default: fields.optional("default", action),
        allow_private: fields.optional("allow_private", allow_private).unwrap_or_default(),
        server_names: fields.optional("server_names", server_names),
        pac: fields.optional("pac", pac),
        parents: fields.optional("parents", parents).unwrap_or_default(),
        users: fields.optional("users", file_path),
        realm: fields.optional("realm", |cursor| Some(cursor.string("a string")?.to_owned())),
        anonymity: fields.optional("anonymity", anonymity),
        via: fields.optional("via", |cursor| token(cursor, r#"a name such as "proxy-1""#)),
        remove_headers: fields.optional("remove_headers", named_fields).unwrap_or_default(),
        filters: fields.optional("filters", filters).unwrap_or_default(),
        limits: fields.optional("limits", limits).unwrap_or_default(),
        timeouts: fields.optional("timeouts", timeouts).unwrap_or_default(),
    })
}

fn server_names(cursor: Cursor<'_>) -> Option<ServerNames> {
    cursor.tagged(
        "way with server names",
        &[
            ("off", |it| it.none(ServerNames::Off)),
            ("log", |it| it.none(ServerNames::Log)),
            ("require", |it| it.none(ServerNames::Require)),
        ],
    )
}

fn pac(cursor: Cursor<'_>) -> Option<Pac> {
    cursor.object("an object", |fields| {
        let proxy = fields.optional("proxy", |cursor| {
            const WHAT: &str = "an address such as \"proxy.example:3128\"";
            cursor.parsed(WHAT, |text| match proxy_forward::Destination::parse(text, None) {
                Ok(_) => Ok(text.to_owned()),
                Err(_) => Err(format!("expected {WHAT}, found {}", quote(text))),
            })
        });
        Some(Pac { proxy })
    })
}

pub(super) fn hosts(cursor: Cursor<'_>) -> Option<Vec<String>> {
    cursor.list(r#"an array of hosts such as "*.example.com""#, host_pattern)
}

fn files(cursor: Cursor<'_>) -> Option<Vec<PathBuf>> {
    cursor.list("an array of paths", file_path)
}

fn named_fields(cursor: Cursor<'_>) -> Option<Vec<String>> {
    cursor.list("an array of field names", named_field)
}

fn ports(cursor: Cursor<'_>) -> Option<Vec<RangeInclusive<u16>>> {
    cursor.list("an array of ports", port_range)
}

/// A port, or two with a dash between.
fn port_range(cursor: Cursor<'_>) -> Option<RangeInclusive<u16>> {
    if !cursor.is_string() {
        return cursor.integer(1..=u16::MAX).map(|port| port..=port);
    }
    cursor.like("^[0-9]{1,5}-[0-9]{1,5}$").parsed("a range of ports", |text| {
        let number =
            |text: &str| text.parse().ok().filter(|port| *port > 0 && text.bytes().all(|b| b.is_ascii_digit()));
        let range = text.split_once('-').and_then(|(from, to)| Some(number(from)?..=number(to)?));
        let range = range.filter(|range: &RangeInclusive<u16>| !range.is_empty());
        range.ok_or_else(|| format!("expected a range of ports such as \"8000-8999\", found {}", quote(text)))
    })
}

fn allow_private(cursor: Cursor<'_>) -> Option<Vec<AllowPrivate>> {
    if cursor.is_array() {
        let networks = cursor.list("an array of networks", cidr)?;
        return Some(networks.into_iter().map(AllowPrivate::Network).collect());
    }
    cursor
        .boolean("true, false or an array of networks")
        .map(|all| if all { vec![AllowPrivate::All] } else { Vec::new() })
}

fn action(cursor: Cursor<'_>) -> Option<ForwardAction> {
    cursor
        .tagged("action", &[("allow", |it| it.none(ForwardAction::Allow)), ("deny", |it| it.none(ForwardAction::Deny))])
}

fn anonymity(cursor: Cursor<'_>) -> Option<Anonymity> {
    cursor.tagged(
        "level of anonymity",
        &[
            ("transparent", |it| it.none(Anonymity::Transparent)),
            ("anonymous", |it| it.none(Anonymity::Anonymous)),
            ("elite", |it| it.none(Anonymity::Elite)),
        ],
    )
}

fn rules(cursor: Cursor<'_>) -> Option<Vec<ForwardRule>> {
    cursor.list("an array of rules", rule)
}

fn rule(cursor: Cursor<'_>) -> Option<ForwardRule> {
    cursor.object("an object", |fields| {
        let name = fields.required("name", "a name", |cursor| match cursor.string("a name")? {
            "" => cursor.fail("must not be empty"),
            name => Some(name.to_owned()),
        });
        let action = fields.required("action", r#""allow" or "deny""#, action);
        let rule = ForwardRule {
            name: String::new(),
            action: ForwardAction::Deny,
            hosts: fields.optional("hosts", hosts).unwrap_or_default(),
            host_regex: fields.optional("host_regex", regexes).unwrap_or_default(),
            files: fields.optional("files", files).unwrap_or_default(),
            addresses: fields.optional("addresses", cidrs).unwrap_or_default(),
            ports: fields.optional("ports", ports).unwrap_or_default(),
            methods: fields
                .optional("methods", |cursor| cursor.list("an array of methods", method))
                .unwrap_or_default(),
            clients: fields.optional("clients", cidrs).unwrap_or_default(),
            users: fields.optional("users", names).unwrap_or_default(),
            times: fields.optional("times", times).unwrap_or_default(),
        };
        Some(ForwardRule { name: name?, action: action?, ..rule })
    })
}

fn names(cursor: Cursor<'_>) -> Option<Vec<String>> {
    cursor.list("an array of names", |cursor| Some(cursor.string("a name")?.to_owned()))
}

fn regexes(cursor: Cursor<'_>) -> Option<Vec<String>> {
    cursor.list("an array of regular expressions", |cursor| {
        cursor.parsed("a regular expression", |text| match proxy_forward::Rule::deny("").host_regex(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(error.to_string()),
        })
    })
}

fn times(cursor: Cursor<'_>) -> Option<Vec<String>> {
    cursor.list(r#"an array of times such as "mon-fri 08:00-18:00""#, |cursor| {
        cursor.parsed("a time of the week", |text| match text.parse::<proxy_forward::Window>() {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(error.to_string()),
        })
    })
}
