//! The two servers a proxy runs under.

use std::time::Duration;

use axum::Router;
use proxy_core::{Proxy, serve};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{Dialer, listen};

/// The two servers a proxy runs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// Its own, by [`serve`].
    Engine,
    /// hyper, where the proxy is the fallback of an axum router.
    Tower,
}

/// A server, for as long as it is held.
#[derive(Debug)]
pub struct Served {
    dialer: Dialer,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Front {
    /// Both.
    pub const ALL: [Front; 2] = [Front::Engine, Front::Tower];

    /// Serves the proxy in memory. What runs when it is told to stop has 20 seconds.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn serve(self, proxy: Proxy) -> Served {
        let ((dialer, listener), (stop, stopped)) = (listen(), oneshot::channel::<()>());
        let stopped = async { stopped.await.unwrap_or(()) };
        let task = match self {
            Front::Engine => {
                let server = serve(listener, proxy).with_graceful_shutdown(stopped);
                tokio::spawn(server.drain_timeout(Duration::from_secs(20)).into_future())
            }
            Front::Tower => tokio::spawn(async move {
                let app = Router::new().fallback_service(proxy);
                // It does not fail: the listener does not.
                let _ = axum::serve(listener, app).with_graceful_shutdown(stopped).await;
            }),
        };
        Served { dialer, stop, task }
    }
}

impl Served {
    /// The client's side of a new connection.
    ///
    /// # Panics
    /// If the server has stopped.
    pub fn dial(&self) -> tokio::io::DuplexStream {
        self.dialer.dial().expect("the server listens")
    }

    /// Tells the server to stop, and returns what is ready when it has.
    pub fn stop(self) -> JoinHandle<()> {
        drop(self.stop);
        self.task
    }
}
