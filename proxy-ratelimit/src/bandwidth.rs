//! How many bytes in how much time.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use proxy_core::{Body, Context, Filter, Flow, Request, Response, Result};

use crate::algorithm::pacer::Pacer;
use crate::store::Store;
use crate::{Key, Quota, Subject, Time, notes};

mod paced;

use paced::Paced;

/// A limit on bytes per second of bodies: for each connection, for each key, or for all together; to
/// the client, from it, or both.
///
/// It delays and never refuses. The quota counts bytes; its burst passes at full speed. Bodies are
/// passed on in pieces of a twentieth of a second, of 1 to 64 KiB. They wait under the deadlines of
/// the proxy: a rate so low that a body takes longer than the total deadline breaks it off. A limited body
/// is copied through user space instead of spliced; others are not touched.
///
/// ```
/// use proxy_ratelimit::{BandwidthLimit, Key};
///
/// let limit = BandwidthLimit::new(Key::connection()).down("1000000/s".parse()?).up("100000/s".parse()?);
/// # let _: &dyn proxy_core::Filter = &limit;
/// # Ok::<(), proxy_ratelimit::QuotaError>(())
/// ```
#[derive(Debug)]
pub struct BandwidthLimit {
    key: Key,
    hasher: RandomState,
    down: Option<Arc<Lane>>,
    up: Option<Arc<Lane>>,
}

/// One direction.
#[derive(Debug)]
struct Lane {
    pacer: Pacer,
    store: Store<u64>,
    /// Bytes that are passed on at a time.
    piece: usize,
}

/// Keys that are remembered in each direction.
const CAPACITY: usize = 1 << 16;

impl BandwidthLimit {
    /// For each key. A request whose key is missing is not limited.
    pub fn new(key: Key) -> Self {
        BandwidthLimit { key, hasher: RandomState::new(), down: None, up: None }
    }

    /// Bytes to the client. Default: no limit.
    #[must_use]
    pub fn down(self, quota: Quota) -> Self {
        BandwidthLimit { down: Some(Lane::new(quota)), ..self }
    }

    /// Bytes from the client. Default: no limit.
    #[must_use]
    pub fn up(self, quota: Quota) -> Self {
        BandwidthLimit { up: Some(Lane::new(quota)), ..self }
    }

    fn hash(&self, subject: &Subject<'_>) -> Option<u64> {
        let mut hasher = self.hasher.build_hasher();
        self.key.write(subject, &mut hasher)?;
        Some(hasher.finish())
    }
}

impl Lane {
    fn new(quota: Quota) -> Arc<Self> {
        let per_second = u128::from(quota.rate()) * 1_000_000_000 / quota.period().as_nanos();
        let per_second = usize::try_from(per_second).unwrap_or(usize::MAX);
        let piece = (per_second / 20).clamp(1 << 10, 1 << 16).min(per_second.max(1));
        Arc::new(Lane { pacer: Pacer::new(quota), store: Store::new(CAPACITY), piece })
    }

    /// Takes so many bytes of a key's quota; says how long they have to wait.
    fn reserve(&self, hash: u64, bytes: usize) -> Duration {
        let now = Time::now();
        let mut lent = self.store.lend(hash, || 0, |state| self.pacer.debt(*state, now));
        self.pacer.reserve(lent.state(), now, bytes as u64)
    }

    fn pace(self: &Arc<Self>, hash: u64, body: Body) -> Body {
        match body.is_empty() {
            true => body,
            false => Body::boxed(Paced::new(body, Arc::clone(self), hash)),
        }
    }
}

/// The hash of the request's key.
struct Keyed(u64);

#[async_trait]
impl Filter for BandwidthLimit {
    async fn on_request(&self, request: &mut Request, context: &mut Context) -> Result<Flow> {
        let subject = Subject::proxied(request.head(), request.body().exact_length(), context);
        if let Some(hash) = self.hash(&subject) {
            if let Some(up) = self.up.as_ref().filter(|_| !request.body().is_empty()) {
                request.replace_body(|body| up.pace(hash, body));
            }
            notes::leave(context, notes::id(self), Keyed(hash));
        }
        Ok(Flow::Continue)
    }

    fn on_response(&self, response: &mut Response, context: &mut Context) -> Result<()> {
        let keyed = notes::read::<Keyed>(context, notes::id(self));
        // The answer to HEAD has a length and no body.
        let head = context.request().is_some_and(|request| *request.method() == Method::HEAD);
        if let (Some(Keyed(hash)), Some(down), false) = (keyed, &self.down, head || response.body().is_empty()) {
            response.replace_body(|body| down.pace(*hash, body));
        }
        Ok(())
    }
}
