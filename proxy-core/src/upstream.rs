//! Where requests go.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::pool::Connection;
use crate::{Context, ErrorKind, Request, Response, Result};

mod service;

pub use service::ServiceUpstream;

pub(crate) use service::call;

/// A place where a request, a raw connection or a client's datagrams can go.
///
/// [`Cluster`](crate::Cluster) sends requests to backends, [`ServiceUpstream`] calls a tower service.
/// One of your own answers by itself:
///
/// ```
/// use async_trait::async_trait;
/// use http::StatusCode;
/// use proxy_core::{Context, Request, Response, Result, Upstream};
///
/// struct Hello;
///
/// #[async_trait]
/// impl Upstream for Hello {
///     async fn send(&self, request: Request, _: &mut Context) -> Result<Response> {
///         Ok(Response::text(StatusCode::OK, format!("hello from {}\n", request.head().path())))
///     }
/// }
/// ```
///
/// or stands around another one: a cache, a second try, a fallback.
///
/// ```
/// use async_trait::async_trait;
/// use proxy_core::{Body, Context, Request, Response, Result, Upstream};
///
/// /// Asks the second where the first fails. Only for requests without a body: that is gone by then.
/// struct Fallback<A, B>(A, B);
///
/// #[async_trait]
/// impl<A: Upstream, B: Upstream> Upstream for Fallback<A, B> {
///     async fn send(&self, request: Request, context: &mut Context) -> Result<Response> {
///         if !request.body().is_empty() {
///             return self.0.send(request, context).await;
///         }
///         let again = Request::new(request.head().clone(), Body::empty());
///         match self.0.send(request, context).await {
///             Ok(response) => Ok(response),
///             Err(_) => self.1.send(again, context).await,
///         }
///     }
/// }
/// ```
///
/// It may wait, under the request's deadlines. One that reaches backends by itself calls
/// [`Context::forward`] before each attempt, so that filters see it. A plugin that makes requests of
/// its own (authentication, mirroring) holds an `Arc<dyn Upstream>` and calls it with
/// [`Context::internal`].
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// Sends the request and returns the response as soon as its head is there; both bodies may still
    /// be on their way.
    ///
    /// # Errors
    /// If no backend answered; the error's status is the client's answer, unless a filter has another.
    ///
    /// # Panics
    /// A panic is caught, and costs this request (500).
    ///
    /// # Cancel safety
    /// Dropping the future, which happens when the client leaves or the total deadline passes, gives
    /// the attempt up: its connection is closed, never reused.
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

    /// Chooses the backend that a client's datagrams go to, for UDP: [`Context::backend`] is it afterwards. Nothing is
    /// sent and nothing waited for.
    ///
    /// # Errors
    /// If there is none to be had. The default serves none.
    fn assign(&self, context: &mut Context) -> Result<()> {
        let _ = context;
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

            fn assign(&self, context: &mut Context) -> Result<()> {
                (**self).assign(context)
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
