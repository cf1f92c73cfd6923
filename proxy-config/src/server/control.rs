//! What the administration interface asks of its server.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use proxy_metrics::Control;

use super::Shared;
use crate::Config;

/// A server, for its own interface: which does not keep it.
pub(super) struct ServerControl(Weak<Shared>);

impl ServerControl {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        ServerControl(Arc::downgrade(shared))
    }

    fn current(&self) -> Option<Arc<Config>> {
        let shared = self.0.upgrade()?;
        let running = shared.running();
        running.as_ref().map(|running| Arc::clone(&running.config))
    }
}

#[async_trait]
impl Control for ServerControl {
    fn config(&self) -> Option<String> {
        self.current().map(|config| config.shown().to_owned())
    }

    fn check(&self, config: &str) -> Result<(), String> {
        let registry = self.current().map(|current| current.registry().clone()).unwrap_or_default();
        registry.parse(config).map(drop).map_err(|errors| errors.to_string())
    }

    async fn reload(&self) -> Result<Vec<String>, String> {
        let (shared, config) = (self.0.upgrade(), self.current());
        let (Some(shared), Some(config)) = (shared, config) else { return Err("the server is stopping".into()) };
        let file = config.file().map(PathBuf::from).ok_or("the configuration was not read from a file")?;
        let diff = shared.go_over_to_file(file).await.map_err(|error| error.to_string())?;
        Ok(diff.iter().map(ToString::to_string).collect())
    }
}
