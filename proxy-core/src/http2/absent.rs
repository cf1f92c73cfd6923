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

pub(crate) async fn serve(_: Arc<Link>, _: &Draining, _: Reader) -> u64 {
    0
}
