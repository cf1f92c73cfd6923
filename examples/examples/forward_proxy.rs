//! A forward proxy: HTTP and HTTPS for clients that go wherever they want on the public internet.
//!
//! # Run
//!
//! ```sh
//! cargo run --release --example forward_proxy
//! curl -x http://127.0.0.1:3128 https://example.com/
//! ```
//!
//! # What you will see
//!
//! The page. With `https_proxy=http://127.0.0.1:3128` (and `http_proxy`) in the environment most programs go through
//! it. What is not public is refused: `curl -ix http://127.0.0.1:3128 http://127.0.0.1/` shows `403 Forbidden`, and so
//! does every other way to write that address; `--allow-private 127.0.0.0/8` opens it. `--deny '*.example.com'` adds a
//! rule, `--users FILE` asks for a name and a password (`htpasswd -B` writes such a file), and `--elite` leaves
//! no trace of client or proxy in the requests.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use proxy_core::{Cidr, Proxy, TcpListener, serve};
use proxy_forward::{Action, Anonymity, BasicAuth, ForwardUpstream, PasswordFile, Policy, Ports, Rule};

/// A forward proxy.
#[derive(Parser)]
struct Options {
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3128")]
    listen: SocketAddr,
    /// Opens a range of addresses that are not public
    #[arg(long, value_name = "CIDR")]
    allow_private: Vec<Cidr>,
    /// Refuses a host; `*.example.com` is all names below it
    #[arg(long, value_name = "HOST")]
    deny: Vec<String>,
    /// Ports that CONNECT may name, beside 443
    #[arg(long, value_name = "PORT")]
    connect_port: Vec<u16>,
    /// Users, as `htpasswd -B` writes them
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Leaves no trace in requests
    #[arg(long)]
    elite: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let listener = TcpListener::bind(options.listen)?;
    println!("curl -x http://{} https://example.com/", options.listen);
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    serve(listener, app(&options)?).with_graceful_shutdown(stop).await;
    Ok(())
}

fn app(options: &Options) -> Result<Proxy, Box<dyn Error>> {
    let mut rule = Rule::deny("denied host");
    for host in &options.deny {
        rule = rule.host(host)?;
    }
    let policy = Policy::new(Action::Allow);
    let mut upstream = ForwardUpstream::builder()
        .own(options.listen)
        .policy(if options.deny.is_empty() { policy } else { policy.rule(rule) })
        .connect_ports(Ports::of([443].into_iter().chain(options.connect_port.iter().copied())))
        .anonymity(if options.elite { Anonymity::Elite } else { Anonymity::Transparent });
    for range in &options.allow_private {
        upstream = upstream.allow_private(*range);
    }
    let mut proxy = upstream.build().into_proxy();
    if let Some(path) = &options.users {
        let users = PasswordFile::load(path)?;
        // Users can be added while it runs.
        tokio::spawn(users.clone().watch());
        proxy = proxy.filter(BasicAuth::new(users));
    }
    Ok(proxy.build()?)
}

#[cfg(test)]
mod tests {
    use examples::{exchange, origin};
    use http::StatusCode;
    use proxy_core::Listener;

    use super::*;

    async fn start(arguments: &[&str]) -> SocketAddr {
        let options = Options::parse_from(["forward_proxy"].iter().chain(arguments));
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, app(&options).unwrap()).into_future());
        address
    }

    async fn get(proxy: SocketAddr, url: &str) -> String {
        let host = url.split('/').nth(2).unwrap();
        exchange(proxy, &format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_not_public_has_to_be_opened() {
        let origin = origin("origin", StatusCode::OK).unwrap();
        let refused = get(start(&[]).await, &format!("http://{origin}/")).await;
        assert!(refused.starts_with("HTTP/1.1 403 Forbidden\r\n") && refused.contains("loopback"), "{refused}");

        let open = ["--allow-private", "127.0.0.0/8", "--elite", "--deny", "*.example.com"];
        let proxy = start(&open).await;
        let answer = get(proxy, &format!("http://{origin}/a?b")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("origin: GET /a?b\n") && !answer.to_lowercase().contains("via"), "{answer}");
        let denied = get(proxy, "http://www.example.com/").await;
        assert!(denied.starts_with("HTTP/1.1 403 ") && denied.contains("denied host"), "{denied}");
    }

    #[tokio::test]
    async fn a_tunnel_is_opened_to_the_port_that_was_opened() {
        let origin = origin("origin", StatusCode::OK).unwrap();
        let port = origin.port().to_string();
        let proxy = start(&["--allow-private", "127.0.0.0/8", "--connect-port", &port]).await;
        // Behind the tunnel's head the origin answers.
        let request = format!(
            "CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\nGET /in HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        let answer = exchange(proxy, &request).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("origin: GET /in\n"), "{answer}");
    }
}
