//! The filters that bring clients to HTTPS, and keep them there.

use std::time::Duration;

use crate::decode::Cursor;
use crate::values::duration::duration;

/// `https_redirect`: sends clients that came without TLS to the same place with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpsRedirect {
    /// `port`: 443 when absent.
    pub port: Option<u16>,
    /// `status`: 301, 302, 307 or 308, also when absent.
    pub status: Option<u16>,
}

/// `hsts`: tells browsers to come over TLS from now on. Said over TLS alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hsts {
    /// `max_age`: for how long; a year when absent, zero takes it back.
    pub max_age: Option<Duration>,
    /// `include_subdomains`: for all hosts below, too.
    pub include_subdomains: bool,
    /// `preload`: consents to being listed in browsers.
    pub preload: bool,
}

pub(super) fn https_redirect(cursor: Cursor<'_>) -> Option<HttpsRedirect> {
    cursor.object("an object", |fields| {
        let port = fields.optional("port", |cursor| cursor.integer(1..=u16::MAX));
        Some(HttpsRedirect { port, status: fields.optional("status", redirection) })
    })
}

fn redirection(cursor: Cursor<'_>) -> Option<u16> {
    match cursor.integer(100..=599)? {
        status @ (301 | 302 | 307 | 308) => Some(status),
        status => cursor.fail(format!("expected 301, 302, 307 or 308, found {status}")),
    }
}

pub(super) fn hsts(cursor: Cursor<'_>) -> Option<Hsts> {
    cursor.object("an object", |fields| {
        let max_age = fields.optional("max_age", duration);
        let include_subdomains = fields.flag("include_subdomains").unwrap_or(false);
        let preload = fields.flag("preload").unwrap_or(false);
        Some(Hsts { max_age, include_subdomains, preload })
    })
}
