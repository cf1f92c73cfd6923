//! Who knows the addresses of names.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

/// Who knows the addresses of names: the resolver of the system, or one of your own. A test's answers from
/// a table.
///
/// ```
/// use async_trait::async_trait;
/// use proxy_forward::{Answer, Lookup};
///
/// struct Fixed;
///
/// #[async_trait]
/// impl Lookup for Fixed {
///     async fn lookup(&self, name: &str) -> std::io::Result<Answer> {
///         match name {
///             "one.example" => Ok(Answer::new(["93.184.215.14".parse().unwrap()])),
///             _ => Err(std::io::ErrorKind::NotFound.into()),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of a name, in the order in which they are to be tried.
    ///
    /// # Errors
    /// `NotFound` if there is no such name; any other if that is not known.
    ///
    /// # Cancel safety
    /// Required: the future is dropped at the resolver's deadline.
    async fn lookup(&self, name: &str) -> io::Result<Answer>;
}

/// What a [`Lookup`] knows of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// How long they count, where that is known.
    pub ttl: Option<Duration>,
}

impl Answer {
    /// These addresses.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Answer { addresses: addresses.into_iter().collect(), ttl: None }
    }

    /// They count for so long.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

/// Look-ups that run at once by default: each has a thread while it runs.
const AT_ONCE: usize = 64;

/// Asks the resolver of the system (`getaddrinfo`), which says nothing about how long an answer counts. It
/// blocks, so each look-up takes a thread of the runtime's blocking pool; beyond a number of them (64 by
/// default) look-ups wait.
#[derive(Clone)]
pub struct SystemLookup(Arc<Semaphore>);

impl SystemLookup {
    /// Lets so many look-ups run at once, at least one.
    pub fn new(at_once: usize) -> Self {
        SystemLookup(Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS))))
    }
}

impl Default for SystemLookup {
    fn default() -> Self {
        SystemLookup::new(AT_ONCE)
    }
}

impl fmt::Debug for SystemLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemLookup")
    }
}

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Answer> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let name = name.to_owned();
        let asked = tokio::task::spawn_blocking(move || {
            // Held until the thread is free again, also where nobody waits for the answer any more.
            let _permit = permit;
            (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect::<Vec<_>>())
        });
        // A name that does not exist is an error of its own kind in the system, and of no kind in Rust.
        let found = asked.await.map_err(io::Error::other)?;
        let found = found.map_err(|error| io::Error::new(io::ErrorKind::NotFound, error));
        found.map(Answer::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_knows_its_own_addresses() {
        let answer = SystemLookup::new(1).lookup("127.0.0.1").await.unwrap();
        assert_eq!(answer, Answer::new([[127, 0, 0, 1].into()]));
        let error = SystemLookup::new(1).lookup("a..b").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
