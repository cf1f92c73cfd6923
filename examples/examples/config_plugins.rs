//! A filter and a selector of your own in a JSON configuration, beside those that are built in.
//!
//! # Run
//!
//! ```sh
//! cargo run --example config_plugins
//! LISTEN=127.0.0.1:8081 cargo run --example config_plugins
//! ```
//!
//! # What you will see
//!
//! `curl -i 127.0.0.1:8080` is answered by one of two origins, always the one with the least to do. With
//! `curl -i -A BadBot/1.0 127.0.0.1:8080` it is refused with 403: the configuration says whom. A slip in the name of
//! the filter is told as one in a name of ours: `unknown filter "refuse_agnet"; did you mean "refuse_agent"?`

use std::error::Error;
use std::net::SocketAddr;

use async_trait::async_trait;
use examples::origin;
use http::{StatusCode, header};
use proxy_config::{Config, ConfigErrors, Registry, Server};
use proxy_core::{
    Backend, Candidates, Context, Filter, Flow, Request, Response, Result, SelectionContext, selector_fn,
};

/// Refuses clients by what they call themselves.
struct RefuseAgent {
    /// What the name begins with.
    prefix: String,
}

#[async_trait]
impl Filter for RefuseAgent {
    async fn on_request(&self, request: &mut Request, _: &mut Context) -> Result<Flow> {
        let agent = request.head().headers().get_str(header::USER_AGENT).unwrap_or_default();
        Ok(match agent.starts_with(&self.prefix) {
            true => Flow::Respond(Response::text(StatusCode::FORBIDDEN, "not you\n")),
            false => Flow::Continue,
        })
    }
}

/// Whoever has the least to do.
fn fewest(candidates: &Candidates<'_>, _: &SelectionContext<'_>) -> Option<Backend> {
    candidates.iter().min_by_key(|backend| backend.in_flight()).cloned()
}

/// The names that a configuration may use beside ours. Settings come as JSON, for whatever reads it.
fn registry() -> Registry {
    Registry::new()
        .filter("refuse_agent", |settings| serde_json::from_str(settings).map(|prefix| RefuseAgent { prefix }))
        .selector("fewest", |_| Ok::<_, serde_json::Error>(selector_fn(fewest)))
}

fn config(origins: [SocketAddr; 2]) -> std::result::Result<Config, ConfigErrors> {
    let [one, two] = origins;
    registry().parse(&format!(
        r#"{{
            "listeners": {{ "web": {{
                "listen": ["${{LISTEN:-127.0.0.1:8080}}"],
                "http": {{ "upstream": "origins", "filters": ["request_id", {{ "refuse_agent": "BadBot" }}] }}
            }} }},
            "upstreams": {{ "origins": {{ "selector": "fewest", "backends": ["{one}", "{two}"] }} }}
        }}"#
    ))
}

fn app(origins: [SocketAddr; 2]) -> std::result::Result<Server, Box<dyn Error>> {
    Ok(Server::start(&config(origins)?)?)
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let server = app([origin("one", StatusCode::OK)?, origin("two", StatusCode::OK)?])?;
    for (_, address) in server.addresses() {
        println!("http://{address} -> two origins; not for BadBot");
    }
    server.run(async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use examples::exchange;

    use super::*;

    async fn get(agent: &str) -> String {
        let origins = [origin("one", StatusCode::OK).unwrap(), origin("two", StatusCode::OK).unwrap()];
        let registry = registry().variables_from(|name| (name == "LISTEN").then(|| "127.0.0.1:0".into()));
        let text = r#"{ "listeners": { "web": { "listen": ["${LISTEN}"],
            "http": { "upstream": "origins", "filters": [{ "refuse_agent": "BadBot" }] } } },
            "upstreams": { "origins": { "selector": "fewest", "backends": ["ONE", "TWO"] } } }"#;
        let text = text.replace("ONE", &origins[0].to_string()).replace("TWO", &origins[1].to_string());
        let server = Server::start(&registry.parse(&text).unwrap()).unwrap();
        let [(_, address)] = server.addresses()[..] else { panic!("not one listener") };
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: {agent}\r\n\r\n");
        exchange(address, &request).await.unwrap()
    }

    #[tokio::test]
    async fn the_configuration_says_who_is_refused() {
        assert!(get("BadBot/1.0").await.starts_with("HTTP/1.1 403 Forbidden\r\n"));
        assert!(get("curl/8").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }

    #[tokio::test]
    async fn what_is_in_the_example_is_valid() {
        let origins = ["127.0.0.1:1", "127.0.0.1:2"].map(|address| address.parse().unwrap());
        assert!(config(origins).is_ok());
    }
}
