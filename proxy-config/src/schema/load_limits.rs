//! The filters that limit how much at a time: requests, bytes, connections.

use std::time::Duration;

use super::rate_limit::{RateKey, key, status};
use crate::decode::Cursor;
use crate::values::count::{at_least_one, count, percent};
use crate::values::duration::positive_duration;
use crate::values::header::{field_value, named_field};
use crate::values::rate::{Rate, rate};
use crate::values::size::{bytes_per_second, size};

/// `concurrency_limit`: bounds how many requests run at a time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConcurrencyLimit {
    /// `max` or `adaptive`: of all requests together.
    pub bound: Option<ConcurrencyBound>,
    /// `per_key`: how many of each key.
    pub per_key: Option<KeyedConcurrency>,
    /// `queue`: how many may wait, and how long.
    pub queue: Option<Queue>,
    /// `priorities`: who is refused first.
    pub priorities: Option<Priorities>,
    /// `status`: of refusals by `max` or `adaptive`; 503 when absent.
    pub status: Option<u16>,
}

/// How many may run at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConcurrencyBound {
    /// `max`: a fixed number.
    Max(usize),
    /// `adaptive`: found by watching how long requests take.
    Adaptive {
        /// `floor`: never fewer; 4 when absent.
        floor: Option<usize>,
        /// `ceiling`: never more; 1000 when absent.
        ceiling: Option<usize>,
        /// `initial`: how many at first; 20 when absent.
        initial: Option<usize>,
    },
}

/// `per_key`: how many of each key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyedConcurrency {
    /// `key`: of what so many may run at a time; all of these together.
    pub key: Vec<RateKey>,
    /// `max`: how many of each key.
    pub max: usize,
}

/// `queue`: how many may wait, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// `length`: how many may wait.
    pub length: usize,
    /// `timeout`: how long each of them; 1 s when absent.
    pub timeout: Option<Duration>,
}

/// `priorities`: classes by the value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Priorities {
    /// `header`: whose value names the class, in lower case.
    pub header: String,
    /// `classes`: highest first.
    pub classes: Vec<PriorityClass>,
    /// `default`: the class of requests without one; the lowest when absent.
    pub default: Option<String>,
}

/// `priorities.classes[]`
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PriorityClass {
    /// `value`: of the header.
    pub value: String,
    /// `percent`: how much of the bound it may use.
    pub percent: u8,
}

/// `bandwidth_limit`: bounds bytes per second.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BandwidthLimit {
    /// `key`: what has a limit of its own; the connection when absent.
    pub key: Option<Vec<RateKey>>,
    /// `down`: bytes per second to the client.
    pub down: Option<u64>,
    /// `up`: bytes per second from the client.
    pub up: Option<u64>,
    /// `burst`: bytes that pass at full speed; a second's worth when absent.
    pub burst: Option<u64>,
}

/// `connection_limit`: refuses connections at accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionLimit {
    /// `rate_per_client`: how often each client may connect.
    pub rate_per_client: Option<Rate>,
    /// `rate`: how often all clients together may connect.
    pub rate: Option<Rate>,
    /// `open_per_client`: connections of each client at a time.
    pub open_per_client: Option<usize>,
    /// `open`: connections of all clients together at a time.
    pub open: Option<usize>,
}

pub(super) fn concurrency_limit(cursor: Cursor<'_>) -> Option<ConcurrencyLimit> {
    cursor.object("an object", |fields| {
        let max = fields.optional("max", at_least_one).map(ConcurrencyBound::Max);
        let adaptive = fields.optional("adaptive", adaptive);
        let per_key = fields.optional("per_key", keyed);
        let queue = fields.optional("queue", queue);
        let priorities = fields.optional("priorities", priorities);
        let status = fields.optional("status", status);
        fields.at_most_one(&["max", "adaptive"]);
        fields.at_least_one(&["max", "adaptive", "per_key"], "limits nothing")?;
        Some(ConcurrencyLimit { bound: max.or(adaptive), per_key, queue, priorities, status })
    })
}

fn adaptive(cursor: Cursor<'_>) -> Option<ConcurrencyBound> {
    cursor.object("an object", |fields| {
        let floor = fields.optional("floor", at_least_one);
        let ceiling = fields.optional("ceiling", at_least_one);
        let initial = fields.optional("initial", at_least_one);
        if let (Some(floor), Some(ceiling)) = (floor, ceiling)
            && floor > ceiling
        {
            return fields.object().fail("has a floor above its ceiling");
        }
        Some(ConcurrencyBound::Adaptive { floor, ceiling, initial })
    })
}

fn keyed(cursor: Cursor<'_>) -> Option<KeyedConcurrency> {
    cursor.object("an object", |fields| {
        let key = fields.required("key", r#"one such as "client_ip""#, key);
        let max = fields.required("max", "a number", at_least_one);
        Some(KeyedConcurrency { key: key?, max: max? })
    })
}

fn queue(cursor: Cursor<'_>) -> Option<Queue> {
    cursor.object("an object", |fields| {
        let length = fields.required("length", "a number", count);
        let timeout = fields.optional("timeout", positive_duration);
        Some(Queue { length: length?, timeout })
    })
}

fn priorities(cursor: Cursor<'_>) -> Option<Priorities> {
    cursor.object("an object", |fields| {
        let header = fields.required("header", "a field name", named_field);
        let classes = fields.required("classes", "an array of classes", |cursor| {
            cursor.non_empty_list("an array of classes, highest first", class)
        });
        let default = fields.optional("default", field_value);
        let classes = classes?;
        if let Some(name) = &default
            && !classes.iter().any(|class| class.value == *name)
        {
            let names = classes.iter().map(|class| class.value.as_str());
            fields.object().revisit_key("default", |value| {
                value.unknown::<()>("unknown class", name, names);
            });
        }
        Some(Priorities { header: header?, classes, default })
    })
}

fn class(cursor: Cursor<'_>) -> Option<PriorityClass> {
    cursor.object("an object with a value and a percentage", |fields| {
        let value = fields.required("value", "the value of the header", field_value);
        let percent = fields.required("percent", "how much of the bound it may use", percent);
        Some(PriorityClass { value: value?, percent: percent? })
    })
}

pub(super) fn bandwidth_limit(cursor: Cursor<'_>) -> Option<BandwidthLimit> {
    cursor.object("an object", |fields| {
        let key = fields.optional("key", key);
        let down = fields.optional("down", bytes_per_second);
        let up = fields.optional("up", bytes_per_second);
        let burst = fields.optional("burst", |cursor| match size(cursor)? {
            0 => cursor.fail("must be larger than zero"),
            bytes => Some(bytes),
        });
        fields.at_least_one(&["down", "up"], "limits nothing")?;
        Some(BandwidthLimit { key, down, up, burst })
    })
}

pub(super) fn connection_limit(cursor: Cursor<'_>) -> Option<ConnectionLimit> {
    cursor.object("an object", |fields| {
        let rate_per_client = fields.optional("rate_per_client", rate);
        let all = fields.optional("rate", rate);
        let open_per_client = fields.optional("open_per_client", at_least_one);
        let open = fields.optional("open", at_least_one);
        fields.at_least_one(&["rate_per_client", "rate", "open_per_client", "open"], "limits nothing")?;
        Some(ConnectionLimit { rate_per_client, rate: all, open_per_client, open })
    })
}
