//! Where requests go.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::pool::Connection;
use crate::{Context, ErrorKind, Request, Response, Result};

mod service;

pub use service::ServiceUpstream;

pub(crate) use service::call;

/// A place where a request, or a raw connection, can go.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// Sends the request and returns the response as soon as its head is there.
    ///
    /// # Errors
    /// If no backend answered; the error's status is the client's answer.
    ///
    /// # Cancel safety
    /// Dropping the future gives the attempt up: its connection is closed, never reused.
    async fn send(&self, request: Request, context: &mut Context) -> Result<Response>;

    /// Opens a raw connection, for TCP, CONNECT and SOCKS. `destination` is the authority the client
    /// named; `None` on a plain TCP listener, where the upstream chooses.
    ///
    /// # Errors
    /// If there is none to be had. The default serves none.
    ///
    /// # Cancel safety
    /// Dropping the future closes the half-made connection.
    async fn connect(&self, destination: Option<&str>, context: &mut Context) -> Result<Connection> {
        let _ = (destination, context);
        Err(ErrorKind::Unsupported.into())
    }
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<U: Upstream + ?Sized> Upstream for $pointer<U> {
            async fn send(&self, request: Request, context: &mut Context) -> Result<Response> {
                (**self).send(request, context).await
            }

            async fn connect(&self, destination: Option<&str>, context: &mut Context) -> Result<Connection> {
                (**self).connect(destination, context).await
            }
        }
    };
}

forward!(Box);
forward!(Arc);

impl fmt::Debug for dyn Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upstream")
    }
}
