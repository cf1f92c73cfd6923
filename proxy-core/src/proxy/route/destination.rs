//! Where a route goes.

use super::split::Split;

/// The name of one upstream, or of several by weight.
#[derive(Debug)]
pub(super) enum Destination {
    One(String),
    Split(Split<String>),
}

impl Destination {
    /// Where the next request goes.
    pub(super) fn pick(&self) -> &str {
        match self {
            Destination::One(one) => one,
            Destination::Split(split) => split.pick(),
        }
    }

    /// Every place it may be.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let (one, split) = match self {
            Destination::One(one) => (Some(one), None),
            Destination::Split(split) => (None, Some(split)),
        };
        one.into_iter().chain(split.into_iter().flat_map(Split::iter)).map(String::as_str)
    }
}
