//! Where backends come from.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proxy_core::{Backend, BackendSet};

mod dns;
mod file;
mod fixed;
mod lines;
#[cfg(feature = "dns")]
mod records;

pub use dns::DnsName;
pub use file::WatchedFile;
pub use fixed::Fixed;
pub use lines::{LineError, backends_from_lines};
#[cfg(feature = "dns")]
pub use records::{DnsRecords, DnsServer};

/// Finds backends: a stream of sets, each a whole one.
///
/// ```
/// use async_trait::async_trait;
/// use proxy_core::Backend;
/// use proxy_lb::{Discover, DiscoverError};
///
/// /// What a service registry says, which calls back over a channel.
/// struct Registry(tokio::sync::mpsc::Receiver<Vec<Backend>>);
///
/// #[async_trait]
/// impl Discover for Registry {
///     async fn next(&mut self) -> Result<Vec<Backend>, DiscoverError> {
///         self.0.recv().await.ok_or_else(|| DiscoverError::new("the registry is gone"))
///     }
/// }
/// ```
#[async_trait]
pub trait Discover: Send + 'static {
    /// Waits for the next set; the first comes as soon as it is known. Backends that were there before, by
    /// id, address and labels, need not be the same handles.
    ///
    /// # Errors
    /// If it cannot be told for now. The set stays as it was, and it is asked again after a pause.
    ///
    /// # Cancel safety
    /// May lose a set: whoever drops it is done with this source.
    async fn next(&mut self) -> Result<Vec<Backend>, DiscoverError>;
}

#[async_trait]
impl Discover for Box<dyn Discover> {
    async fn next(&mut self) -> Result<Vec<Backend>, DiscoverError> {
        (**self).next().await
    }
}

/// Why backends cannot be told for now, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoverError(Arc<str>);

impl DiscoverError {
    /// For this reason.
    pub fn new(reason: impl Into<Arc<str>>) -> Self {
        DiscoverError(reason.into())
    }
}

impl fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DiscoverError {}

/// Keeps a set as a source says.
///
/// A source that fails, that finds nothing, or that names an id twice changes nothing: the last good set
/// stays, and the source is asked again after a second, then two, up to thirty.
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::{Discovery, DnsName, RoundRobin};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::builder(RoundRobin::new()).build();
/// let discovery = Discovery::new(DnsName::new("api.internal", 9001));
/// let discovering = tokio::spawn(discovery.run(cluster.backends().clone()));
/// # discovering.abort();
/// # Ok(())
/// # }
/// ```
pub struct Discovery {
    source: Box<dyn Discover>,
}

impl Discovery {
    const FIRST_PAUSE: Duration = Duration::from_secs(1);
    const LONGEST_PAUSE: Duration = Duration::from_secs(30);

    /// As this source says.
    pub fn new(source: impl Discover) -> Self {
        Discovery { source: Box::new(source) }
    }

    /// Keeps this set until the future is dropped; the backends stay.
    ///
    /// # Cancel safety
    /// The set is always a whole one.
    pub async fn run(mut self, set: BackendSet) {
        let mut pause = Self::FIRST_PAUSE;
        loop {
            match self.refresh(&set).await {
                Ok(count) => {
                    tracing::info!(backends = count, "discovered");
                    pause = Self::FIRST_PAUSE;
                }
                Err(reason) => {
                    tracing::warn!(%reason, kept = set.backends().len(), "discovery failed; the last backends are kept");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Self::LONGEST_PAUSE);
                }
            }
        }
    }

    async fn refresh(&mut self, set: &BackendSet) -> Result<usize, DiscoverError> {
        let backends = self.source.next().await?;
        let count = backends.len();
        set.replace(backends).map_err(|error| DiscoverError::new(error.to_string()))?;
        Ok(count)
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Discovery")
    }
}

#[cfg(test)]
mod tests;
