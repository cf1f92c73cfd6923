//! Without HTTP/2 no connection is shared.

use std::sync::Arc;

use super::Inner;
use crate::clock::Instant;
use crate::pool::{Lease, Target};
use crate::{Backend, Error, ErrorKind, Result};

/// There are none.
#[derive(Default)]
pub(super) struct Multiplexed {}

impl Multiplexed {
    pub(super) fn idle(&self, _: &Target) -> usize {
        0
    }

    pub(super) fn evict(&self, _: &Backend) {}

    pub(super) fn close(&self) {}

    pub(super) fn forget_vanished(&self) {}
}

impl Inner {
    pub(super) fn checkout_stream(&self, _: &Target) -> Option<Lease> {
        None
    }

    pub(super) async fn acquire_stream(self: &Arc<Self>, _: &Target, _: Option<Instant>) -> Result<Lease> {
        Err(Error::new(ErrorKind::Unsupported))
    }
}
