//! The server behind the interface.

use async_trait::async_trait;

/// What the interface asks of the server that it belongs to. See [`Admin::set_control`](super::Admin::set_control).
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// The configuration in force, as JSON, its secrets hidden; `None` once the server stops.
    fn config(&self) -> Option<String>;

    /// Whether this is a configuration that could be gone over to.
    ///
    /// # Errors
    /// What is wrong with it, a line for each mistake.
    fn check(&self, config: &str) -> Result<(), String>;

    /// Reads the configuration anew and goes over to it; says what changed, a line for each change. The server tells
    /// the interface of it itself: [`Admin::reloaded`](super::Admin::reloaded).
    ///
    /// # Errors
    /// Why everything is as it was.
    ///
    /// # Cancel safety
    /// A reload that has begun is finished.
    async fn reload(&self) -> Result<Vec<String>, String>;
}
