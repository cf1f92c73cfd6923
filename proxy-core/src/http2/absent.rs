//! Without the feature: nobody speaks it.

use std::sync::Arc;

use super::Sniffed;
use crate::Peer;
use crate::context::Link;
use crate::http1::reader::Reader;
use crate::serve::Draining;

/// Nothing to set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings;

pub(crate) fn sniff(_: &Settings, _: &[u8]) -> Sniffed {
    Sniffed::Other
}

pub(crate) fn is_agreed(_: &Settings, _: &Peer) -> bool {
    false
}

/// No backend is spoken to in it.
pub(crate) mod client {
    use std::task::{Context as Task, Poll};

    use crate::http1::client::{Failure, Rules};
    use crate::{Body, Context, RequestHead, Response, Result};

    /// There is none.
    #[derive(Debug)]
    pub(crate) enum Slot {}

    /// There is none.
    #[derive(Debug)]
    pub(crate) enum Upload {}

    impl Upload {
        pub(crate) fn poll(&mut self, _: &mut Task<'_>) -> Poll<Result<()>> {
            match *self {}
        }

        pub(crate) fn sent(&self) -> u64 {
            match *self {}
        }
    }

    pub(crate) async fn exchange(
        slot: Slot,
        _: (&mut RequestHead, Body),
        _: bool,
        _: &Rules,
        _: &mut Context,
    ) -> Result<Response, Failure> {
        match slot {}
    }
}

pub(crate) async fn serve(_: Arc<Link>, _: &Draining, _: Reader) -> u64 {
    0
}
