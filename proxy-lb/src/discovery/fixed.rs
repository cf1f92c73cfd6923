//! Backends that never change.

use async_trait::async_trait;
use proxy_core::Backend;

use super::{Discover, DiscoverError};

/// Backends that never change: told once.
#[derive(Clone, Debug)]
pub struct Fixed(Option<Vec<Backend>>);

impl Fixed {
    /// These.
    pub fn new(backends: impl IntoIterator<Item = Backend>) -> Self {
        Fixed(Some(backends.into_iter().collect()))
    }
}

#[async_trait]
impl Discover for Fixed {
    async fn next(&mut self) -> Result<Vec<Backend>, DiscoverError> {
        match self.0.take() {
            Some(backends) => Ok(backends),
            None => std::future::pending().await,
        }
    }
}
