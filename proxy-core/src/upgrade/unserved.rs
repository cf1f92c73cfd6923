//! Without hyper: no stream to take, none to give.

use std::convert::Infallible;
use std::time::Duration;

use http::Extensions;

use crate::message::Upgraded;
use crate::proxy::Exchange;

/// The stream of a client: there is never one.
pub(crate) struct ClientUpgrade(Infallible);

impl ClientUpgrade {
    pub(crate) fn take(_: &mut Extensions) -> Option<Self> {
        None
    }

    pub(crate) fn tunnel(self, _: Exchange, _: Upgraded, _: Duration) {
        match self.0 {}
    }
}

/// An upgrade asked for is an ordinary request: the service finds nothing to upgrade, and says so.
pub(crate) use crate::upstream::call;
