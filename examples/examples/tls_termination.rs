//! TLS towards clients: certificates by name, renewed while it serves; plain HTTP is sent to HTTPS.
//!
//! # Run
//!
//! ```sh
//! cargo run --example tls_termination
//! ```
//!
//! # What you will see
//!
//! It makes an authority and two certificates of its own and prints what to try: `curl --cacert …` gets an answer over
//! TLS with `Strict-Transport-Security`, for `localhost` and for `a.test`, each with its own certificate; without TLS it
//! gets `308` to the same place with it; for a host that the certificate is not for it gets `421`. Press Enter, and the
//! certificate of `localhost` is another one from the next connection on; connections that are open do not notice.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use examples::{Authority, origin};
use http::StatusCode;
use proxy_core::tls::{Certificate, Certificates, ServerTls};
use proxy_core::{Address, Backend, Cluster, Hsts, HttpsRedirect, Proxy, Route, TcpListener, selector_fn, serve};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let authority = Authority::new("tls_termination")?;
    let backend = origin("origin", StatusCode::OK)?;
    let certificates = Certificates::new(issue(&authority)?)?;
    let tls = ServerTls::builder(certificates.clone()).build()?;

    let (plain, secure) = ("127.0.0.1:8080".parse()?, "127.0.0.1:8443".parse()?);
    let redirect = serve(TcpListener::bind(plain)?, app(backend, 8443)?);
    let secured = serve(TcpListener::bind(secure)?, app(backend, 8443)?).tls(tls);
    tokio::spawn(redirect.into_future());
    tokio::spawn(secured.into_future());

    let ca = authority.ca();
    let ca = ca.display();
    println!("curl -i --cacert {ca} https://localhost:8443/");
    println!("curl -i --cacert {ca} --resolve a.test:8443:127.0.0.1 https://a.test:8443/");
    println!("curl -i --cacert {ca} -H 'Host: b.test' https://localhost:8443/   # 421");
    println!("curl -i http://localhost:8080/path?query                          # 308");
    println!("Enter renews the certificates, Ctrl-C ends");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(_) => certificates.replace(issue(&authority)?)?,
                None => break,
            },
            stopped = tokio::signal::ctrl_c() => return Ok(stopped?),
        }
        println!("renewed");
    }
    // Without a terminal there is nobody to press Enter.
    Ok(tokio::signal::ctrl_c().await?)
}

/// Two certificates: clients that name no host get the first.
fn issue(authority: &Authority) -> Result<[Certificate; 2], Box<dyn Error>> {
    let (chain, key) = authority.issue("localhost", &["localhost", "127.0.0.1"])?;
    let (other_chain, other_key) = authority.issue("a.test", &["a.test", "*.a.test"])?;
    Ok([Certificate::load(chain, key)?, Certificate::load(other_chain, other_key)?])
}

/// One proxy for both listeners: who came without TLS is sent to it, who came with it is told to stay.
fn app(backend: SocketAddr, port: u16) -> Result<Proxy, Box<dyn Error>> {
    let only = selector_fn(|candidates, _| candidates.at(0).cloned());
    let cluster = Cluster::builder(only).with(Backend::new(Address::Tcp(backend))).build();
    Ok(Proxy::builder()
        .filter(HttpsRedirect::new().port(port))
        .filter(Hsts::new(Duration::from_secs(365 * 86_400)))
        .upstream("origin", cluster)
        .route(Route::to("origin"))
        .build()?)
}

#[cfg(test)]
mod tests {
    use examples::exchange;
    use http::Method;
    use proxy_core::tls::ClientTls;
    use proxy_core::{Body, Context, Listener, Request, RequestHead, Upstream};

    use super::*;

    fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// What a client that trusts the authority gets from this host: status, whether it is to come back over TLS.
    async fn get(authority: &Authority, address: SocketAddr, host: &str) -> (u16, bool) {
        let tls = ClientTls::builder().authorities_from(authority.ca()).unwrap().server_name(host).unwrap();
        let only = selector_fn(|candidates, _| candidates.at(0).cloned());
        let backend = Backend::new(Address::Tcp(address));
        let client = Cluster::builder(only).with(backend).tls(tls.build().unwrap()).build();
        let mut head = RequestHead::new(Method::GET, "/").unwrap();
        head.headers_mut().insert(http::header::HOST, host.parse().unwrap());
        let request = Request::new(head, Body::empty());
        match client.send(request, &mut Context::internal()).await {
            Ok(response) => {
                let head = response.head();
                (head.status().as_u16(), head.headers().contains("strict-transport-security"))
            }
            Err(error) => panic!("{host}: {error:?}"),
        }
    }

    #[tokio::test]
    async fn names_have_their_certificates_and_plain_clients_are_redirected() {
        let authority = Authority::new("tls_termination-test").unwrap();
        let backend = origin("origin", StatusCode::OK).unwrap();
        let certificates = Certificates::new(issue(&authority).unwrap()).unwrap();
        let tls = ServerTls::builder(certificates.clone()).build().unwrap();
        let ((plain, plain_address), (secure, address)) = (listen(), listen());
        tokio::spawn(serve(plain, app(backend, address.port()).unwrap()).into_future());
        tokio::spawn(serve(secure, app(backend, address.port()).unwrap()).tls(tls).into_future());

        for host in ["localhost", "a.test", "b.a.test"] {
            assert_eq!(get(&authority, address, host).await, (200, true), "{host}");
        }
        certificates.replace(issue(&authority).unwrap()).unwrap();
        assert_eq!(get(&authority, address, "localhost").await, (200, true));

        let request = "GET /a?b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let answer = exchange(plain_address, request).await.unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 308"), "{answer}");
        assert!(answer.contains(&format!("location: https://localhost:{}/a?b\r\n", address.port())), "{answer}");
        assert!(!answer.contains("strict-transport-security"), "{answer}");
    }
}
