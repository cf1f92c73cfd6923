//! All addresses of a name.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use proxy_core::{Backend, Instant};

use super::{Discover, DiscoverError};

/// Makes a backend of an address that was found.
type Make = Box<dyn Fn(SocketAddr) -> Backend + Send + Sync>;

/// All addresses of a name, IPv4 and IPv6, a backend each, asked for again and again from the system's
/// resolver. That one does not tell how long an answer is good for, so the interval is ours to say.
pub struct DnsName {
    name: String,
    port: u16,
    interval: Duration,
    make: Make,
    last: Vec<SocketAddr>,
    /// When to ask again; at once after a failure, as the caller has waited.
    due: Option<Instant>,
}

impl DnsName {
    /// The addresses of this name, with this port, every 30 seconds.
    pub fn new(name: impl Into<String>, port: u16) -> Self {
        let make = Box::new(|address: SocketAddr| Backend::new(address.into()));
        DnsName { name: name.into(), port, interval: Duration::from_secs(30), make, last: Vec::new(), due: None }
    }

    /// How often it is asked for.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How a backend is made of an address: with a weight, say, or a label.
    #[must_use]
    pub fn make(mut self, make: impl Fn(SocketAddr) -> Backend + Send + Sync + 'static) -> Self {
        self.make = Box::new(make);
        self
    }

    async fn look_up(&self) -> Result<Vec<SocketAddr>, DiscoverError> {
        let found = tokio::net::lookup_host((&*self.name, self.port)).await;
        let failed = |error: io::Error| DiscoverError::new(format!("{}: {error}", self.name));
        let mut found: Vec<_> = found.map_err(failed)?.collect();
        // Servers rotate their answers; that is no change.
        found.sort_unstable();
        found.dedup();
        match found.is_empty() {
            true => Err(DiscoverError::new(format!("{} has no address", self.name))),
            false => Ok(found),
        }
    }
}

#[async_trait]
impl Discover for DnsName {
    async fn next(&mut self) -> Result<Vec<Backend>, DiscoverError> {
        loop {
            if let Some(due) = self.due.take() {
                tokio::time::sleep_until(due).await;
            }
            let found = self.look_up().await?;
            self.due = Some(Instant::now() + self.interval);
            if found != self.last {
                self.last = found;
                return Ok(self.last.iter().map(|address| (self.make)(*address)).collect());
            }
        }
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsName").field("name", &self.name).field("last", &self.last).finish_non_exhaustive()
    }
}
