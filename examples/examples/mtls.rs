//! Mutual TLS on both sides: clients must show a certificate, and so must the proxy to its backend.
//!
//! # Run
//!
//! ```sh
//! cargo run --example mtls
//! ```
//!
//! # What you will see
//!
//! It makes an authority and its certificates and prints what to try. With Ada's certificate curl gets an answer, which
//! shows what the backend was told of her (`client-cert`, `x-client-cert-names`), though she claimed to be somebody else.
//! Bob's is from the same authority, but no filter lets him in: `403`. Without one there is no handshake.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use examples::{Authority, Origin};
use http::StatusCode;
use proxy_core::tls::{Certificate, Certificates, ClientAuth, ClientTls, ServerTls};
use proxy_core::{
    Address, Backend, ClientCertificateFields, Cluster, Filter, Flow, Listener, Proxy, Response, Route, TcpListener,
    filter_fn, selector_fn, serve,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let authority = Authority::new("mtls")?;
    let backend = backend(&authority)?;
    let listener = TcpListener::bind("127.0.0.1:8443".parse()?)?;
    let (tls, proxy) = app(&authority, backend)?;

    let ca = authority.ca();
    for (name, comment) in [("ada", "200, and what the backend was told"), ("bob", "403")] {
        let (chain, key) = authority.issue(name, &[&format!("{name}.test")])?;
        let (ca, chain, key) = (ca.display(), chain.display(), key.display());
        println!(
            "curl -i --cacert {ca} --cert {chain} --key {key} -H 'Client-Cert: :AA==:' https://localhost:8443/  # {comment}"
        );
    }
    println!("curl -i --cacert {} https://localhost:8443/  # no handshake", ca.display());
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    serve(listener, proxy).tls(tls).with_graceful_shutdown(stop).await;
    Ok(())
}

/// Takes clients with a certificate of this authority, and of those Ada alone, to a backend that takes this proxy.
fn app(authority: &Authority, backend: SocketAddr) -> Result<(ServerTls, Proxy), Box<dyn Error>> {
    let towards_clients = ServerTls::builder(Certificates::new([load(authority.issue("front", &["localhost"])?)?])?)
        .client_auth(ClientAuth::required_from(authority.ca())?)
        .build()?;
    let towards_backend = ClientTls::builder()
        .authorities_from(authority.ca())?
        .server_name("backend.test")?
        .certificate(load(authority.issue("proxy", &["proxy.test"])?)?)
        .build()?;
    let only = selector_fn(|candidates, _| candidates.at(0).cloned());
    let cluster = Cluster::builder(only).with(Backend::new(Address::Tcp(backend))).tls(towards_backend).build();
    let proxy = Proxy::builder()
        .filter(ClientCertificateFields::new())
        .filter(only_ada())
        .upstream("backend", cluster)
        .route(Route::to("backend"))
        .build()?;
    Ok((towards_clients, proxy))
}

fn only_ada() -> impl Filter {
    filter_fn(|_, context| {
        let shown = context.peer().tls.as_ref().and_then(|tls| tls.client.as_ref());
        match shown.is_some_and(|client| client.dns_names.iter().any(|name| &**name == "ada.test")) {
            true => Ok(Flow::Continue),
            false => Ok(Flow::Respond(Response::status(StatusCode::FORBIDDEN))),
        }
    })
}

fn load((chain, key): (PathBuf, PathBuf)) -> Result<Certificate, Box<dyn Error>> {
    Ok(Certificate::load(chain, key)?)
}

/// A server in this process that shows what it was sent, to those that have a certificate.
fn backend(authority: &Authority) -> Result<SocketAddr, Box<dyn Error>> {
    let certificates = Certificates::new([load(authority.issue("backend", &["backend.test"])?)?])?;
    let auth = ClientAuth::required_from(authority.ca())?;
    let tls = ServerTls::builder(certificates).client_auth(auth).build()?;
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    let address = listener.local_addr()?;
    // It goes by the host that the proxy was asked for, which is not the name that its certificate is for.
    let origin = Proxy::builder().any_host(true).upstream("self", Origin { name: "backend", status: StatusCode::OK });
    tokio::spawn(serve(listener, origin.route(Route::to("self")).build()?).tls(tls).into_future());
    Ok(address)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Method};
    use proxy_core::tls::ClientTlsBuilder;
    use proxy_core::{Body, Context, Request, RequestHead, Upstream};

    use super::*;

    /// The answer to a client of this name, who claims to be another.
    async fn get(authority: &Authority, address: SocketAddr, name: Option<&str>) -> proxy_core::Result<(u16, String)> {
        let tls = ClientTls::builder().authorities_from(authority.ca()).unwrap().server_name("localhost").unwrap();
        let shown = name.map(|name| load(authority.issue(name, &[&format!("{name}.test")]).unwrap()).unwrap());
        let tls = shown.into_iter().fold(tls, ClientTlsBuilder::certificate).build().unwrap();
        let only = selector_fn(|candidates, _| candidates.at(0).cloned());
        let client = Cluster::builder(only).with(Backend::new(Address::Tcp(address))).tls(tls).build();
        let mut head = RequestHead::new(Method::GET, "/").unwrap();
        head.headers_mut().insert(http::header::HOST, "localhost".parse().unwrap());
        head.headers_mut().insert(HeaderName::from_static("client-cert"), "forged".parse().unwrap());
        let mut response = client.send(Request::new(head, Body::empty()), &mut Context::internal()).await?;
        let body = response.body_mut().peek(64 * 1024).await?;
        let body = String::from_utf8_lossy(body).into_owned();
        Ok((response.head().status().as_u16(), body))
    }

    #[tokio::test]
    async fn clients_are_who_their_certificates_say() {
        let authority = Authority::new("mtls-test").unwrap();
        let backend = backend(&authority).unwrap();
        let (tls, proxy) = app(&authority, backend).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, proxy).tls(tls).into_future());

        let (status, told) = get(&authority, address, Some("ada")).await.unwrap();
        assert_eq!(status, 200, "{told}");
        assert!(told.contains("x-client-cert-names: ada.test\n") && told.contains("client-cert: :MII"), "{told}");
        assert!(!told.contains("forged"), "{told}");
        assert_eq!(get(&authority, address, Some("bob")).await.unwrap().0, 403);
        assert!(get(&authority, address, None).await.is_err());
    }
}
