//! From names to addresses.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::flights::Flights;

mod lookup;

pub use lookup::{Answer, Lookup, SystemLookup};

/// More addresses of one name than anybody tries.
const MAX_ADDRESSES: usize = 16;

/// How names are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolverSettings {
    /// How long a look-up may take. Default 5 s.
    pub deadline: Duration,
    /// How long an answer counts that says nothing of it, as those of the system do. Default 30 s.
    pub ttl: Duration,
    /// The longest that any answer counts. Default 5 min.
    pub max_ttl: Duration,
    /// How long a failure counts, so that a name that does not exist is not asked for again and again.
    /// Default 5 s.
    pub negative_ttl: Duration,
    /// Names that are remembered. Default 4096.
    pub capacity: usize,
}

impl Default for ResolverSettings {
    fn default() -> Self {
        ResolverSettings {
            deadline: Duration::from_secs(5),
            ttl: Duration::from_secs(30),
            max_ttl: Duration::from_secs(300),
            negative_ttl: Duration::from_secs(5),
            capacity: 4096,
        }
    }
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// There is no such name, or it has no address.
    #[error("the name has no address")]
    NotFound,
    /// There was no answer in time.
    #[error("the name's look-up took too long")]
    Timeout,
    /// The look-up failed.
    #[error("the name's look-up failed: {0}")]
    Failed(Arc<str>),
}

/// Resolves names, with a bounded cache. However many ask for a name at once, it is looked up once. A cheap
/// handle.
///
/// ```
/// use proxy_forward::{Resolver, ResolverSettings, SystemLookup};
///
/// let resolver = Resolver::new(SystemLookup::default(), ResolverSettings::default());
/// # let _ = resolver;
/// ```
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    lookup: Box<dyn Lookup>,
    settings: ResolverSettings,
    /// The least used names leave: clients choose them.
    known: Flights<String, Result<Arc<[IpAddr]>, ResolveError>>,
}

impl Resolver {
    /// A resolver over this look-up.
    pub fn new(lookup: impl Lookup, settings: ResolverSettings) -> Self {
        let known = Flights::new(settings.capacity);
        Resolver(Arc::new(Inner { lookup: Box::new(lookup), settings, known }))
    }

    /// The addresses of a name, at most 16, in the order of the answer.
    ///
    /// # Errors
    /// If there are none, or not in time.
    ///
    /// # Cancel safety
    /// Nothing is lost: others who wait for the name go on.
    pub async fn resolve(&self, name: &str) -> Result<Arc<[IpAddr]>, ResolveError> {
        let answer = self.0.known.get(name, || self.0.look_up(name));
        match tokio::time::timeout(self.0.settings.deadline, answer).await {
            Ok(result) => result,
            Err(_) => Err(ResolveError::Timeout),
        }
    }
}

impl Inner {
    async fn look_up(&self, name: &str) -> (Result<Arc<[IpAddr]>, ResolveError>, Duration) {
        let settings = &self.settings;
        let answer = tokio::time::timeout(settings.deadline, self.lookup.lookup(name)).await;
        let (result, ttl) = match answer {
            Err(_) => (Err(ResolveError::Timeout), settings.negative_ttl),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                (Err(ResolveError::NotFound), settings.negative_ttl)
            }
            Ok(Err(error)) => (Err(ResolveError::Failed(error.to_string().into())), settings.negative_ttl),
            Ok(Ok(answer)) if answer.addresses.is_empty() => (Err(ResolveError::NotFound), settings.negative_ttl),
            Ok(Ok(answer)) => {
                let ttl = answer.ttl.unwrap_or(settings.ttl).min(settings.max_ttl);
                (Ok(answer.addresses.into_iter().take(MAX_ADDRESSES).collect()), ttl)
            }
        };
        tracing::trace!(name, ok = result.is_ok(), ttl = ttl.as_secs(), "resolved");
        (result, ttl)
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Resolver::new(SystemLookup::default(), ResolverSettings::default())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("settings", &self.0.settings)
            .field("known", &self.0.known.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use proxy_core::Instant;

    use super::*;

    /// Answers after a second with the number of the look-up as the last byte.
    #[derive(Clone, Default)]
    struct Counting(Arc<AtomicUsize>);

    #[async_trait]
    impl Lookup for Counting {
        async fn lookup(&self, name: &str) -> io::Result<Answer> {
            let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
            match name {
                "missing" => Err(io::ErrorKind::NotFound.into()),
                "slow" => std::future::pending().await,
                _ => {
                    let address = [9, 9, 9, u8::try_from(number).unwrap()].into();
                    Ok(Answer::new([address]).ttl(Duration::from_secs(if name == "brief" { 2 } else { 3600 })))
                }
            }
        }
    }

    fn resolver() -> (Resolver, Counting) {
        let counting = Counting::default();
        (Resolver::new(counting.clone(), ResolverSettings { capacity: 100, ..ResolverSettings::default() }), counting)
    }

    async fn ask(resolver: &Resolver, name: &str) -> Result<u8, ResolveError> {
        resolver.resolve(name).await.map(|addresses| match addresses[0] {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => 0,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_for_its_time_and_no_longer_than_it_may() {
        let (resolver, _) = resolver();
        let advance = |seconds| tokio::time::advance(Duration::from_secs(seconds));
        assert_eq!(ask(&resolver, "brief").await, Ok(1));
        advance(1).await;
        assert_eq!(ask(&resolver, "brief").await, Ok(1));
        advance(1).await;
        assert_eq!(ask(&resolver, "brief").await, Ok(2));
        assert_eq!(ask(&resolver, "long").await, Ok(3));
        advance(299).await;
        assert_eq!(ask(&resolver, "long").await, Ok(3));
        advance(1).await;
        assert_eq!(ask(&resolver, "long").await, Ok(4));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_remembered_for_a_moment() {
        let (resolver, counting) = resolver();
        let started = Instant::now();
        assert_eq!(ask(&resolver, "slow").await, Err(ResolveError::Timeout));
        assert_eq!(started.elapsed(), Duration::from_secs(5));
        for _ in 0..3 {
            assert_eq!(ask(&resolver, "missing").await, Err(ResolveError::NotFound));
        }
        assert_eq!(counting.0.load(Ordering::Relaxed), 2);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(ask(&resolver, "missing").await, Err(ResolveError::NotFound));
        assert_eq!(counting.0.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_are_one_look_up() {
        let (resolver, counting) = resolver();
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let resolver = resolver.clone();
            asked.spawn(async move { ask(&resolver, "a").await });
        }
        assert_eq!(asked.join_all().await, vec![Ok(1); 50]);
        assert_eq!(counting.0.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asked_first_may_leave() {
        let (resolver, counting) = resolver();
        let first = tokio::spawn({
            let resolver = resolver.clone();
            async move { ask(&resolver, "a").await }
        });
        tokio::task::yield_now().await;
        let second = tokio::spawn(async move { ask(&resolver, "a").await });
        tokio::task::yield_now().await;
        first.abort();
        assert_eq!(second.await.unwrap(), Ok(2));
        assert_eq!(counting.0.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_remembered_up_to_a_bound() {
        let (resolver, _) = resolver();
        for number in 0..1000 {
            let _ = resolver
                .0
                .known
                .get(&*format!("name-{number}"), async || (Err(ResolveError::NotFound), Duration::MAX / 4))
                .await;
        }
        assert!(resolver.0.known.len() <= 100, "{}", resolver.0.known.len());
    }
}
