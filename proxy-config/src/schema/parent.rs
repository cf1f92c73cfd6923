//! Proxies behind a forward proxy.

use std::time::Duration;

use super::forward::hosts;
use super::names::parent_reference;
use super::secret::{Secret, secret};
use crate::decode::{Cursor, Fields};
use crate::values::duration::positive_duration;

/// `upstreams.<name>.proxy`: `"http"` or `"socks5"`, or `{"http": settings}` where there is something to set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParentProxy {
    /// `"http"`: requests in absolute form, and CONNECT.
    Http(ParentSettings),
    /// `"socks5"`: SOCKS5.
    Socks5(ParentSettings),
}

/// `upstreams.<name>.proxy.http`, and `socks5` likewise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParentSettings {
    /// `user`: the name that they know us by.
    pub user: Option<String>,
    /// `password`: that goes with it.
    pub password: Option<Secret>,
    /// `answer_timeout`: how long they may take to reach a destination, longer than zero; 30 s when absent.
    pub answer_timeout: Option<Duration>,
}

impl ParentProxy {
    /// What is set, whichever it speaks.
    pub fn settings(&self) -> &ParentSettings {
        match self {
            ParentProxy::Http(settings) | ParentProxy::Socks5(settings) => settings,
        }
    }
}

/// `listeners.<name>.forward.parents[]`: where to, for which hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardParent {
    /// `hosts`: as `example.com` or `*.example.com`, in lower case; all when absent.
    pub hosts: Option<Vec<String>>,
    /// `upstream`: by the proxies of this one.
    pub upstream: Option<String>,
    /// `direct`: `true` is by none, from here.
    pub direct: bool,
}

pub(super) fn parent_proxy(cursor: Cursor<'_>) -> Option<ParentProxy> {
    cursor.tagged(
        "protocol of a proxy",
        &[
            ("http", |it| {
                it.optional(ParentProxy::Http(ParentSettings::default()), |it| settings(it).map(ParentProxy::Http))
            }),
            ("socks5", |it| {
                it.optional(ParentProxy::Socks5(ParentSettings::default()), |it| settings(it).map(ParentProxy::Socks5))
            }),
        ],
    )
}

fn settings(cursor: Cursor<'_>) -> Option<ParentSettings> {
    cursor.object("an object", |fields| {
        let user = fields.optional("user", |cursor| Some(cursor.string("a name")?.to_owned()));
        let password = fields.optional("password", |cursor| secret(cursor, "a password"));
        both_or_none(fields);
        if let (Some(user), Some(password)) = (&user, &password)
            && let Err(error) = proxy_forward::ParentProxy::http().credentials(user, password.as_str())
        {
            fields.object().fail::<()>(format!("needs {error}"));
        }
        Some(ParentSettings { user, password, answer_timeout: fields.optional("answer_timeout", positive_duration) })
    })
}

fn both_or_none(fields: &Fields<'_>) {
    if fields.has("user") != fields.has("password") {
        fields.object().fail::<()>("a user needs a password, and a password a user");
    }
}

pub(super) fn parents(cursor: Cursor<'_>) -> Option<Vec<ForwardParent>> {
    cursor.list("an array of objects", |cursor| {
        cursor.object("an object", |fields| {
            let hosts = fields.optional("hosts", hosts);
            let upstream = fields.optional("upstream", parent_reference);
            let direct = fields.optional("direct", |cursor| match cursor.boolean("true")? {
                true => Some(true),
                false => cursor.fail("can only be true: leave it out, and name an upstream"),
            });
            fields.exactly_one(&["upstream", "direct"]);
            Some(ForwardParent { hosts, upstream, direct: direct.unwrap_or(false) })
        })
    })
}
