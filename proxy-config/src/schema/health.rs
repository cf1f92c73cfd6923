//! How an upstream learns which of its backends work.

use std::time::Duration;

use crate::decode::{Cursor, quote};
use crate::values::count::percent;
use crate::values::duration::positive_duration;

/// `upstreams.<name>.health_check`: asks every backend again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthCheck {
    /// `http` or `tcp`: how to ask.
    pub probe: Probe,
    /// `interval`: between two questions.
    pub interval: Option<Duration>,
    /// `timeout`: until an answer counts as missing.
    pub timeout: Option<Duration>,
    /// `rise`: good answers in a row until a backend is used.
    pub rise: Option<u32>,
    /// `fall`: bad answers in a row until it is not.
    pub fall: Option<u32>,
}

/// How a health check asks: exactly one of the keys `http` and `tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// `http`: by a request.
    #[non_exhaustive]
    Http {
        /// `path`: the request target, which starts with `/`.
        path: String,
        /// `status`: the good answers.
        status: Option<StatusRange>,
    },
    /// `tcp`: by connecting.
    Tcp,
}

/// `"200-299"`, `"204"` or `204`: both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusRange {
    /// The lowest status.
    pub first: u16,
    /// The highest status.
    pub last: u16,
}

/// `upstreams.<name>.outlier_detection`: backends that fail requests are left alone for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutlierDetection {
    /// `consecutive_failures`: in a row until a backend is ejected.
    pub consecutive_failures: Option<u32>,
    /// `eject`: for how long.
    pub eject: Option<Duration>,
    /// `max_ejected_percent`: of the backends at a time.
    pub max_ejected_percent: Option<u8>,
}

pub(super) fn health_check(cursor: Cursor<'_>) -> Option<HealthCheck> {
    cursor.object("an object", |fields| {
        let http = fields.optional("http", http_probe);
        let tcp = fields.optional("tcp", |cursor| cursor.object("an empty object", |_| Some(Probe::Tcp)));
        fields.exactly_one(&["http", "tcp"]);
        let interval = fields.optional("interval", positive_duration);
        let timeout = fields.optional("timeout", positive_duration);
        let rise = fields.optional("rise", in_a_row);
        let fall = fields.optional("fall", in_a_row);
        Some(HealthCheck { probe: http.or(tcp)?, interval, timeout, rise, fall })
    })
}

pub(super) fn outlier_detection(cursor: Cursor<'_>) -> Option<OutlierDetection> {
    cursor.object("an object", |fields| {
        Some(OutlierDetection {
            consecutive_failures: fields.optional("consecutive_failures", in_a_row),
            eject: fields.optional("eject", positive_duration),
            max_ejected_percent: fields.optional("max_ejected_percent", percent),
        })
    })
}

fn in_a_row(cursor: Cursor<'_>) -> Option<u32> {
    cursor.integer(1..=1_000_000)
}

fn http_probe(cursor: Cursor<'_>) -> Option<Probe> {
    cursor.object("an object", |fields| {
        let path = fields.required("path", r#"a path such as "/healthz""#, target);
        let status = fields.optional("status", status_range);
        Some(Probe::Http { path: path?, status })
    })
}

fn target(cursor: Cursor<'_>) -> Option<String> {
    cursor.parsed(r#"a path such as "/healthz""#, |text| {
        let legal = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if legal { Ok(text.to_owned()) } else { Err(format!("{} is not a legal request path", quote(text))) }
    })
}

fn status_range(cursor: Cursor<'_>) -> Option<StatusRange> {
    if cursor.is_number() {
        return cursor.integer(100..=599).map(|status| StatusRange { first: status, last: status });
    }
    const WHAT: &str = r#"a status such as 200, or a range such as "200-299""#;
    cursor.parsed(WHAT, |text| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(StatusRange { first, last }),
            _ => Err(format!("expected {WHAT}, found {}", quote(text))),
        }
    })
}

fn status(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|status| digits && (100..=599).contains(status))
}
