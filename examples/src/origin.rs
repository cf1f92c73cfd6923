//! A server in this process that requests can be sent to.

use std::future::IntoFuture;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use async_trait::async_trait;
use http::StatusCode;
use proxy_core::{BuildError, Cidr, Context, Forwarding, Listener, Proxy, Request, Response, Result, Route};
use proxy_core::{TcpListener, Upstream, serve};

/// Answers every request with this status and text, and with what it was sent:
///
/// ```text
/// one: GET /path
/// host: 127.0.0.1:8080
/// …
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The first word of every answer.
    pub name: &'static str,
    /// The status of every answer.
    pub status: StatusCode,
}

/// Starts an origin on a free port; it runs until the runtime ends.
///
/// # Errors
/// If no socket can be opened.
///
/// # Panics
/// Outside a tokio runtime.
pub fn origin(name: &'static str, status: StatusCode) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = listener.local_addr()?;
    let proxy = Origin { name, status }.proxy().map_err(io::Error::other)?;
    tokio::spawn(serve(listener, proxy).into_future());
    Ok(address)
}

impl Origin {
    /// What serves its requests: a proxy to an upstream that answers by itself. As it shows what it was sent, it
    /// believes the proxy before it, on this machine, and adds no forwarding fields of its own.
    ///
    /// # Errors
    /// Never: the one route names the one upstream.
    pub fn proxy(self) -> std::result::Result<Proxy, BuildError> {
        let here = Cidr::from(IpAddr::from(Ipv4Addr::LOCALHOST));
        Proxy::builder()
            .upstream("self", self)
            .route(Route::to("self"))
            .forwarding(Forwarding::none().trust([here]))
            .build()
    }
}

#[async_trait]
impl Upstream for Origin {
    async fn send(&self, request: Request, _: &mut Context) -> Result<Response> {
        let head = request.head();
        let mut text = format!("{}: {} {}\n", self.name, head.method(), String::from_utf8_lossy(head.target()));
        for (name, value) in head.headers().iter() {
            text += &format!("{}: {}\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        }
        Ok(Response::text(self.status, text))
    }
}
