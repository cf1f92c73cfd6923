//! The access log.

use std::path::PathBuf;
use std::time::Duration;

use proxy_metrics::LogFormat;

use super::health::{StatusRange, statuses};
use super::operations::file_path;
use crate::decode::{Cursor, Fields, quote};
use crate::values::address::socket_path;
use crate::values::duration::positive_duration;
use crate::values::size::memory_size;

/// `access_log`: one line per request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AccessLog {
    /// `format`: what a line looks like.
    pub format: AccessLogFormat,
    /// `path`, `stdout` or `syslog`: where the lines go.
    pub target: AccessLogTarget,
    /// `sampling`: the share of requests that get a line, such as `"1%"`; here from 0 to 1. Those that failed always do.
    pub sampling: Option<f64>,
    /// `conditions`: what gets a line whatever the share, and what gets none.
    pub conditions: LogConditions,
    /// `buffer`: how many bytes of lines may wait to be written; 4MiB when absent. Further ones are lost, and counted.
    pub buffer: Option<usize>,
}

/// What a line of the access log looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessLogFormat {
    /// `"json"`: an object per line.
    #[default]
    Json,
    /// `"common"`: the Common Log Format.
    Common,
    /// `"combined"`: the same with referrer and user agent.
    Combined,
    /// `{"template": "$client $status"}`: a text with fields in it.
    Template(LogFormat),
}

/// Where the lines of the access log go: exactly one of the keys `path`, `stdout` and `syslog`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessLogTarget {
    /// `path`: to the end of this file.
    File(PathBuf),
    /// `"stdout": true`: to the standard output.
    Stdout,
    /// `syslog`: to the daemon behind this socket; `true` is `/dev/log`.
    Syslog(PathBuf),
}

/// `access_log.conditions`: requests that get a line whatever the share, and such that get none. Those that failed
/// always do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogConditions {
    /// `status`: always those that were answered so, one range or an array of them.
    pub status: Vec<StatusRange>,
    /// `slower_than`: always those that took as long.
    pub slower_than: Option<Duration>,
    /// `except_paths`: never those for one of these paths; with a `*` at its end, for all that begin so.
    pub except_paths: Vec<String>,
}

pub(super) fn access_log(cursor: Cursor<'_>) -> Option<AccessLog> {
    cursor.object("an object", |fields| {
        let format = fields.optional("format", format);
        let target = target(fields);
        let sampling = fields.optional("sampling", share);
        let conditions = fields.optional("conditions", conditions).unwrap_or_default();
        let buffer = fields.optional("buffer", memory_size);
        Some(AccessLog { format: format.unwrap_or_default(), target: target?, sampling, conditions, buffer })
    })
}

fn format(cursor: Cursor<'_>) -> Option<AccessLogFormat> {
    cursor.tagged(
        "access log format",
        &[
            ("combined", |settings| settings.none(AccessLogFormat::Combined)),
            ("common", |settings| settings.none(AccessLogFormat::Common)),
            ("json", |settings| settings.none(AccessLogFormat::Json)),
            ("template", |settings| settings.required(template)),
        ],
    )
}

fn template(cursor: Cursor<'_>) -> Option<AccessLogFormat> {
    let parse = |text: &str| LogFormat::template(text).map_err(|error| error.to_string());
    cursor.parsed(r#"a text with fields such as "$client $status $total""#, parse).map(AccessLogFormat::Template)
}

fn target(fields: &mut Fields<'_>) -> Option<AccessLogTarget> {
    let path = fields.optional("path", file_path).map(AccessLogTarget::File);
    let stdout = fields.optional("stdout", |cursor| only_true(cursor, "true").map(|()| AccessLogTarget::Stdout));
    let syslog = fields.optional("syslog", syslog).map(AccessLogTarget::Syslog);
    fields.exactly_one(&["path", "stdout", "syslog"]);
    path.or(stdout).or(syslog)
}

fn syslog(cursor: Cursor<'_>) -> Option<PathBuf> {
    const WHAT: &str = r#"true, or the absolute path of a socket such as "/dev/log""#;
    match cursor.is_string() {
        true => cursor.parsed(WHAT, socket_path),
        false => only_true(cursor, WHAT).map(|()| "/dev/log".into()),
    }
}

/// `false` would be another way to say nothing.
fn only_true(cursor: Cursor<'_>, what: &str) -> Option<()> {
    if cursor.boolean(what)? { Some(()) } else { cursor.expected(what) }
}

pub(super) fn share(cursor: Cursor<'_>) -> Option<f64> {
    const WHAT: &str = r#"a share such as "1%" or "0.1%""#;
    cursor.like("^[0-9]+(\\.[0-9]+)?%$").parsed(WHAT, |text| {
        let plain = |text: &&str| text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let percent = text.strip_suffix('%').filter(plain).and_then(|text| text.parse::<f64>().ok());
        match percent.filter(|percent| *percent <= 100.0) {
            Some(percent) => Ok(percent / 100.0),
            None => Err(format!("expected {WHAT}, found {}", quote(text))),
        }
    })
}

fn conditions(cursor: Cursor<'_>) -> Option<LogConditions> {
    cursor.object("an object", |fields| {
        let status = fields.optional("status", statuses).unwrap_or_default();
        let slower_than = fields.optional("slower_than", positive_duration);
        let except_paths = fields
            .optional("except_paths", |cursor| cursor.non_empty_list("an array of paths", path))
            .unwrap_or_default();
        Some(LogConditions { status, slower_than, except_paths })
    })
}

fn path(cursor: Cursor<'_>) -> Option<String> {
    cursor.parsed(r#"a path such as "/healthz" or "/static/*""#, |text| {
        let inner = text.strip_suffix('*').unwrap_or(text);
        match inner.starts_with('/') && !inner.contains('*') && inner.bytes().all(|b| b.is_ascii_graphic()) {
            true => Ok(text.to_owned()),
            false => Err(format!("{} is not a path, nor the beginning of one followed by *", quote(text))),
        }
    })
}
