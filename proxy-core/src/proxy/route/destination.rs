//! Where a route goes.

use super::Split;

/// One upstream, or several by weight. `T` is a name first and the upstream itself later.
#[derive(Debug)]
pub(crate) enum Destination<T> {
    One(T),
    Split(Split<T>),
}

impl<T> Destination<T> {
    /// Where the next request goes.
    pub(crate) fn pick(&self) -> &T {
        match self {
            Destination::One(one) => one,
            Destination::Split(split) => split.pick(),
        }
    }

    /// Every place it may be.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let (one, split) = match self {
            Destination::One(one) => (Some(one), None),
            Destination::Split(split) => (None, Some(split)),
        };
        one.into_iter().chain(split.into_iter().flat_map(Split::iter))
    }

    /// The same shares of what `f` makes of each.
    pub(crate) fn try_map<U, E>(&self, f: impl FnMut(&T) -> Result<U, E>) -> Result<Destination<U>, E> {
        let mut f = f;
        match self {
            Destination::One(one) => f(one).map(Destination::One),
            Destination::Split(split) => split.try_map(f).map(Destination::Split),
        }
    }
}
