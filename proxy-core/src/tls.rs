//! TLS towards clients and towards backends.
//!
//! A listener with two certificates, chosen by the name the client asks for:
//!
//! ```no_run
//! use proxy_core::tls::{Certificate, Certificates, ServerTls};
//! use proxy_core::{Proxy, TcpListener, serve};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let certificates = Certificates::new([
//!     Certificate::load("example.com.pem", "example.com.key")?,
//!     Certificate::load("example.org.pem", "example.org.key")?,
//! ])?;
//! let tls = ServerTls::builder(certificates.clone()).build()?;
//! let listener = TcpListener::bind("127.0.0.1:8443".parse()?)?;
//! serve(listener, Proxy::to("127.0.0.1:9000")?).tls(tls).await;
//! // Elsewhere, at any time; connections that are open stay as they are:
//! certificates.replace([Certificate::load("renewed.pem", "renewed.key")?])?;
//! # Ok(())
//! # }
//! ```
//!
//! Backends that speak TLS are a [`ClientTls`] at the cluster: [`ClusterBuilder::tls`](crate::ClusterBuilder::tls).
//!
//! The cryptography is AWS-LC's, by rustls, and passed explicitly: another provider in the same
//! process is no conflict.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

mod certificate;
mod certificates;
mod client;
mod client_auth;
mod error;
mod key_log;
mod server;
mod stream;
mod verifier;

#[cfg(test)]
mod tests;

pub use certificate::Certificate;
pub use certificates::{Certificates, UnknownName};
pub use client::{ClientTls, ClientTlsBuilder};
pub use client_auth::ClientAuth;
pub use error::{TlsError, TlsErrorKind};
pub use server::{ServerTls, ServerTlsBuilder, Tickets, TlsVersion};
pub use stream::TlsStream;

fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    &PROVIDER
}
