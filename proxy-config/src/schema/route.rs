//! Routes: which requests go where.

use std::collections::BTreeMap;

use super::filter::{Filter, route_filters};
use super::matcher::{Match, matcher};
use super::names::{upstream_named, upstream_reference};
use crate::decode::Cursor;

/// `listeners.<name>.http.routes[]`
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Route {
    /// `match`: which requests. Matches everything when absent.
    pub matcher: Match,
    /// `upstream` or `split`: where they go.
    pub target: Target,
    /// `filters`: inside those of the listener, the first one outermost.
    pub filters: Vec<Filter>,
}

/// Where the requests of a route go: exactly one of the keys `upstream` and `split`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// `upstream`: to this one.
    Upstream(String),
    /// `split`: to each in proportion to its weight. At least one weight is not 0.
    Split(BTreeMap<String, u16>),
}

impl Target {
    /// The names of the upstreams.
    pub fn upstreams(&self) -> impl Iterator<Item = &str> {
        let (one, split) = match self {
            Self::Upstream(name) => (Some(name), None),
            Self::Split(weights) => (None, Some(weights.keys())),
        };
        one.into_iter().chain(split.into_iter().flatten()).map(String::as_str)
    }
}

impl Route {
    pub(super) fn everything(target: Target) -> Self {
        Self { matcher: Match::default(), target, filters: Vec::new() }
    }
}

pub(super) fn routes(cursor: Cursor<'_>) -> Option<Vec<Route>> {
    cursor.non_empty_list("an array of routes", route)
}

fn route(cursor: Cursor<'_>) -> Option<Route> {
    cursor.object("an object, a route", |fields| {
        let matcher = fields.optional("match", matcher).unwrap_or_default();
        let upstream = fields.optional("upstream", upstream_reference).map(Target::Upstream);
        let split = fields.optional("split", split).map(Target::Split);
        let filters = fields.optional("filters", route_filters).unwrap_or_default();
        fields.exactly_one(&["upstream", "split"]);
        Some(Route { matcher, target: upstream.or(split)?, filters })
    })
}

fn split(cursor: Cursor<'_>) -> Option<BTreeMap<String, u16>> {
    let weights = cursor.non_empty_map("an object with a weight per upstream", |name, value| {
        upstream_named(name, value);
        value.integer(0..=u16::MAX)
    })?;
    if weights.values().all(|weight| *weight == 0) {
        return cursor.fail("all weights are 0, so no request could go anywhere");
    }
    Some(weights)
}
