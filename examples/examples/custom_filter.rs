//! A filter of your own: it answers, edits, remembers and counts.
//!
//! # Run
//!
//! ```sh
//! cargo run --example custom_filter
//! ```
//!
//! # What you will see
//!
//! `curl -i 127.0.0.1:8080` is refused with 401. `curl -i -H 'x-api-key: blue' 127.0.0.1:8080` reaches the origin,
//! which is told `x-user: bob` in place of the key; the answer says `x-served-for: bob`. Each request that ends is
//! printed.

use std::error::Error;
use std::net::SocketAddr;

use async_trait::async_trait;
use examples::origin;
use http::{HeaderName, HeaderValue, StatusCode};
use proxy_core::{Address, Backend, BuildError, Cluster, Context, Filter, Flow, Outcome, Proxy, Request, Response};
use proxy_core::{Result, Route, TcpListener, serve};

/// Lets only requests with a known key pass.
struct ApiKeys {
    /// Keys and their users.
    keys: &'static [(&'static str, &'static str)],
}

/// Whose request it is. A type of its own is the key to it in the [`Context`]: filters cannot collide.
struct User(&'static str);

const KEY: HeaderName = HeaderName::from_static("x-api-key");
const USER: HeaderName = HeaderName::from_static("x-user");
const SERVED_FOR: HeaderName = HeaderName::from_static("x-served-for");

#[async_trait]
impl Filter for ApiKeys {
    async fn on_request(&self, request: &mut Request, context: &mut Context) -> Result<Flow> {
        let headers = request.head_mut().headers_mut();
        let key = headers.get_str(KEY).unwrap_or_default();
        let Some((_, user)) = self.keys.iter().find(|(known, _)| *known == key) else {
            return Ok(Flow::Respond(Response::text(StatusCode::UNAUTHORIZED, "no key, or not one of ours\n")));
        };
        headers.remove(KEY);
        headers.insert(USER, HeaderValue::from_static(user));
        context.insert(User(user));
        Ok(Flow::Continue)
    }

    fn on_response(&self, response: &mut Response, context: &mut Context) -> Result<()> {
        if let Some(User(user)) = context.get() {
            response.head_mut().headers_mut().insert(SERVED_FOR, HeaderValue::from_static(user));
        }
        Ok(())
    }

    fn on_done(&self, outcome: &Outcome, context: &Context) {
        let user = context.get().map_or("nobody", |User(user)| *user);
        println!("{user}: {:?} after {:?}", outcome.status, context.elapsed());
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let origin = origin("origin", StatusCode::OK)?;
    let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
    println!("http://127.0.0.1:8080 -> {origin}; the key is `blue`");
    serve(listener, app(origin)?).await;
    Ok(())
}

fn app(origin: SocketAddr) -> std::result::Result<Proxy, BuildError> {
    let keys = &[("blue", "bob"), ("red", "rita")];
    Proxy::builder()
        .filter(ApiKeys { keys })
        .upstream("origin", Cluster::single(Backend::new(Address::from(origin))))
        .route(Route::to("origin"))
        .build()
}

#[cfg(test)]
mod tests {
    use examples::exchange;
    use proxy_core::Listener;

    use super::*;

    async fn get(fields: &str) -> String {
        let origin = origin("origin", StatusCode::OK).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, app(origin).unwrap()).into_future());
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        exchange(address, &request).await.unwrap()
    }

    #[tokio::test]
    async fn a_request_without_a_known_key_goes_nowhere() {
        for fields in ["", "x-api-key: green\r\n", "x-user: rita\r\n"] {
            let answer = get(fields).await;
            assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
            assert!(!answer.contains("origin: GET"), "{answer}");
        }
    }

    #[tokio::test]
    async fn the_origin_learns_the_user_and_not_the_key() {
        let answer = get("x-api-key: blue\r\nx-user: rita\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("x-served-for: bob\r\n"), "{answer}");
        assert!(answer.contains("\nx-user: bob\n"), "{answer}");
        assert!(!answer.contains("blue") && !answer.contains("rita"), "{answer}");
    }
}
