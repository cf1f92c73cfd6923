//! Listeners that relay without looking inside.

use std::time::Duration;

use super::names::upstream_reference;
use crate::decode::Cursor;
use crate::values::duration::positive_duration;

/// `listeners.<name>.tcp`
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tcp {
    /// `upstream`: where connections go.
    pub upstream: String,
    /// `splice`: whether the kernel moves the bytes.
    pub splice: Option<bool>,
}

/// `listeners.<name>.udp`
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Udp {
    /// `upstream`: where datagrams go.
    pub upstream: String,
    /// `idle`: how long a silent client keeps its backend.
    pub idle: Option<Duration>,
}

pub(super) fn tcp(cursor: Cursor<'_>) -> Option<Tcp> {
    cursor.object("an object", |fields| {
        let upstream = fields.required("upstream", "the name of an upstream", upstream_reference);
        let splice = fields.flag("splice");
        Some(Tcp { upstream: upstream?, splice })
    })
}

pub(super) fn udp(cursor: Cursor<'_>) -> Option<Udp> {
    cursor.object("an object", |fields| {
        let upstream = fields.required("upstream", "the name of an upstream", upstream_reference);
        let idle = fields.optional("idle", positive_duration);
        Some(Udp { upstream: upstream?, idle })
    })
}
