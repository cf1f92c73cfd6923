//! Balancing by DNS: a name server whose answers are the backends that are well. No byte of a client comes by here.
//!
//! # Run
//!
//! ```sh
//! cargo run --example dns_lb
//! ```
//!
//! # What you will see
//!
//! Three demo backends on 127.0.0.1, 127.0.0.2 and 127.0.0.3, port 8080, of which the second has half the weight, and a
//! name server that asks each of them every second how it is:
//!
//! ```sh
//! dig @127.0.0.1 -p 15353 app.lb.example +short                        # whoever is well, each first by its weight
//! dig @127.0.0.1 -p 15353 app.lb.example +short +subnet=10.2.0.0/16    # of clients in zone b, its backend alone
//! dig @127.0.0.1 -p 15353 app.lb.example +tcp                          # the whole answer, over TCP; it may be kept for 5 s
//! curl -s http://127.0.0.3:8080/fail                                   # three now says 503 to checks …
//! dig @127.0.0.1 -p 15353 app.lb.example +short                        # … and is in no answer any more
//! curl -s http://127.0.0.3:8080/recover
//! ```

use std::error::Error;
use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use proxy_core::{
    Backend, BackendSet, Context, Listener, Proxy, Request, Response, Result as Answer, TcpListener, Upstream, serve,
};
use proxy_lb::{DnsNameError, DnsResponder, HealthChecker, HealthSettings, HttpCheck, SameZone};
use tokio::net::UdpSocket;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backends = [("one", "127.0.0.1", 2, "a"), ("two", "127.0.0.2", 1, "a"), ("three", "127.0.0.3", 2, "b")];
    let backends = backends.map(|(name, address, weight, zone)| {
        let address = start(name, SocketAddr::new(address.parse()?, 8080))?;
        Ok::<_, Box<dyn Error>>(backend(address, weight, zone))
    });
    let set = BackendSet::new(backends.into_iter().collect::<Result<Vec<_>, _>>()?);
    let mut settings = HealthSettings::default();
    settings.interval = Duration::from_secs(1);
    tokio::spawn(HealthChecker::new(set.clone(), HttpCheck::get("/healthz")?, settings).run());
    let at = "127.0.0.1:15353";
    let (udp, tcp) = (UdpSocket::bind(at).await?, tokio::net::TcpListener::bind(at).await?);
    println!("dig @127.0.0.1 -p 15353 app.lb.example +short; Ctrl-C stops it");
    tokio::select! {
        () = app(set)?.serve(udp, tcp) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

/// The name server: clients in 10.1.0.0/16 are near zone `a`, those in 10.2.0.0/16 near `b`.
fn app(backends: BackendSet) -> Result<DnsResponder, DnsNameError> {
    let [a, b] = ["10.1.0.0/16", "10.2.0.0/16"].map(|network| network.parse().expect("a network"));
    let responder = DnsResponder::builder("lb.example")?.name("app.lb.example", backends)?;
    Ok(responder.network(a, "a").network(b, "b").ttl(Duration::from_secs(5)).build())
}

fn backend(address: SocketAddr, weight: u32, zone: &str) -> Backend {
    Backend::builder(address.into()).weight(weight).label(SameZone::LABEL, zone).build()
}

/// Says its name; is unwell from `/fail` to `/recover`.
struct Demo {
    name: &'static str,
    fails: AtomicBool,
}

#[async_trait]
impl Upstream for Demo {
    async fn send(&self, request: Request, _: &mut Context) -> Answer<Response> {
        match request.head().path() {
            "/fail" => self.fails.store(true, Ordering::Relaxed),
            "/recover" => self.fails.store(false, Ordering::Relaxed),
            _ => {}
        }
        let status = if self.fails.load(Ordering::Relaxed) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        Ok(Response::text(status, format!("{}\n", self.name)))
    }
}

/// Starts a backend, which runs until the runtime ends.
fn start(name: &'static str, at: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(at)?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, Proxy::over(Demo { name, fails: AtomicBool::new(false) })).into_future());
    Ok(address)
}

#[cfg(test)]
mod tests {
    use examples::exchange;
    use proxy_core::BackendState;

    use super::*;

    /// A question for the addresses of app.lb.example.
    const QUESTION: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03app\x02lb\x07example\0\0\x01\0\x01";

    async fn ask(server: SocketAddr) -> Vec<u8> {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(server).await.unwrap();
        client.send(QUESTION).await.unwrap();
        let mut answer = vec![0; 512];
        let length = client.recv(&mut answer).await.unwrap();
        answer.truncate(length);
        answer
    }

    #[tokio::test]
    async fn who_is_down_is_in_no_answer() {
        let any = "127.0.0.1:0".parse().unwrap();
        let (one, two) = (start("one", any).unwrap(), "127.0.0.2:80".parse().unwrap());
        let set = BackendSet::new([backend(one, 1, "a"), backend(two, 1, "b")]);
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = udp.local_addr().unwrap();
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        tokio::spawn(app(set.clone()).unwrap().serve(udp, tcp));
        assert_eq!(ask(server).await[6..8], [0, 2], "two records");
        set.set_state("127.0.0.2:80", BackendState::Unhealthy);
        let answer = ask(server).await;
        assert_eq!((&answer[..2], &answer[6..8]), (&b"\x12\x34"[..], &[0, 1][..]));
        assert!(answer.ends_with(&[0, 0, 0, 5, 0, 4, 127, 0, 0, 1]), "{answer:?}");
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        assert!(exchange(one, &get("/healthz")).await.unwrap().starts_with("HTTP/1.1 200"));
        assert!(exchange(one, &get("/fail")).await.unwrap().starts_with("HTTP/1.1 503"));
        assert!(exchange(one, &get("/healthz")).await.unwrap().starts_with("HTTP/1.1 503"));
    }
}
