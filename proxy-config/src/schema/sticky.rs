//! Sticky sessions: a client stays with its backend.

use std::time::Duration;

use super::secret::Secret;
use crate::decode::Cursor;
use crate::values::count::at_least_one;
use crate::values::duration::positive_duration;
use crate::values::header::token;

/// `upstreams.<name>.sticky`: `{"cookie": settings}` or `{"learn": settings}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sticky {
    /// `{"cookie": …}`: by a cookie that we set. It names the backend, encrypted and authenticated.
    Cookie {
        /// `name`: of the cookie.
        name: String,
        /// `secret`: 16 characters or more. Proxies that share it understand each other's cookies.
        secret: Secret,
        /// `max_age`: how long the cookie lasts; the session of the browser when absent.
        max_age: Option<Duration>,
    },
    /// `{"learn": …}`: by a cookie that the backends set.
    Learn {
        /// `cookie`: its name.
        cookie: String,
        /// `capacity`: how many values are remembered; 100,000 when absent.
        capacity: Option<usize>,
    },
}

pub(super) fn sticky(cursor: Cursor<'_>) -> Option<Sticky> {
    cursor.tagged(
        "sticky session",
        &[("cookie", |settings| settings.required(cookie)), ("learn", |settings| settings.required(learn))],
    )
}

fn cookie(cursor: Cursor<'_>) -> Option<Sticky> {
    cursor.object("an object", |fields| {
        let name = fields.required("name", "a cookie name", cookie_name);
        let secret = fields.required("secret", "a text of 16 characters or more", secret);
        let max_age = fields.optional("max_age", positive_duration);
        Some(Sticky::Cookie { name: name?, secret: secret?, max_age })
    })
}

fn learn(cursor: Cursor<'_>) -> Option<Sticky> {
    cursor.object("an object", |fields| {
        let cookie = fields.required("cookie", "a cookie name", cookie_name);
        let capacity = fields.optional("capacity", at_least_one);
        Some(Sticky::Learn { cookie: cookie?, capacity })
    })
}

fn cookie_name(cursor: Cursor<'_>) -> Option<String> {
    token(cursor, "a cookie name")
}

/// The message does not repeat it.
pub(super) fn secret(cursor: Cursor<'_>) -> Option<Secret> {
    const WHAT: &str = "a text of 16 characters or more";
    let secret = super::secret::secret(cursor, WHAT)?;
    match secret.as_str().chars().count() {
        0..16 => cursor.fail("is shorter than 16 characters"),
        _ => Some(secret),
    }
}
