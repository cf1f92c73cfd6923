//! A backend is well if it can be connected to.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use proxy_core::{Backend, Connector, Target, TcpConnector};

use super::{Check, CheckFailure};

/// A backend is well if it can be connected to.
///
/// The connection is reset at once, so neither side is left with a socket in `TIME_WAIT`. A kernel accepts
/// connections for a process that hangs: where that matters, ask by [`HttpCheck`](super::HttpCheck).
#[derive(Clone)]
pub struct TcpCheck {
    connector: Arc<dyn Connector>,
}

impl TcpCheck {
    /// Connects by TCP, or to a Unix socket.
    pub fn new() -> Self {
        TcpCheck::over(Arc::new(TcpConnector::default()))
    }

    /// Connects in this way; over TLS, say, where the handshake is part of the question.
    pub fn over(connector: Arc<dyn Connector>) -> Self {
        TcpCheck { connector }
    }
}

#[async_trait]
impl Check for TcpCheck {
    async fn check(&self, backend: &Backend) -> Result<(), CheckFailure> {
        let stream = self.connector.connect(&Target::new(backend.clone())).await?;
        if let Some(tcp) = stream.as_tcp() {
            tcp.set_zero_linger()?;
        }
        Ok(())
    }
}

impl Default for TcpCheck {
    fn default() -> Self {
        TcpCheck::new()
    }
}

impl fmt::Debug for TcpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TcpCheck")
    }
}
