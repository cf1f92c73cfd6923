//! A load balancer for gRPC: calls of every kind, spread one by one, to services that say how they are.
//!
//! # Run
//!
//! ```sh
//! cargo run --example grpc_lb
//! ```
//!
//! # What you will see
//!
//! Three services of tonic behind one address, and a client that calls it. A client of gRPC has one connection for all
//! of its calls; still each goes to the next service. Then one says by the health protocol that it is not well: it gets
//! no more calls. While nobody has noticed yet, a call that it refuses goes to another.

use std::error::Error;
use std::time::Duration;

use examples::{Words, WordsClient};
use proxy_core::{
    Address, BackendSet, BackendState, Cluster, Listener, Proxy, RetryPolicy, TcpListener, UpstreamHttp2,
    UpstreamTimeouts, serve,
};
use proxy_lb::{GrpcCheck, HealthChecker, HealthSettings, RoundRobin};
use tonic::Request;

/// `UNAVAILABLE`.
const UNAVAILABLE: u8 = 14;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let services = [Words::new("one"), Words::new("two"), Words::new("three")];
    let (proxy, backends) = app(&services).await?;
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, proxy).into_future());

    let mut client = WordsClient::new(address)?;
    for _ in 0..3 {
        println!("{}", client.say(Request::new("hello".to_owned())).await?.into_inner());
    }
    println!("split: {:?}", client.split("a b c").await?);
    println!("join: {:?}", client.join(vec!["d".to_owned(), "e".to_owned()]).await?);

    services[0].set_serving(false);
    for _ in 0..3 {
        println!("{}, though one is not well", client.say(Request::new("hello".to_owned())).await?.into_inner());
    }
    let mut changes = backends.changes();
    while backends.backends()[0].state() == BackendState::Healthy {
        changes.changed().await;
    }
    println!("{}", backends.backends()[0].status().reason());
    Ok(())
}

/// Spreads calls over these services, and asks each of them how it is.
async fn app(services: &[Words]) -> Result<(Proxy, BackendSet), Box<dyn Error>> {
    // A call that got nothing but `UNAVAILABLE` goes to the next: this service says so before it begins.
    let retry = RetryPolicy { grpc_statuses: vec![UNAVAILABLE], ..RetryPolicy::default() };
    // A call may be open for hours while nobody has anything to say.
    let timeouts = UpstreamTimeouts { idle: Duration::from_secs(3600), ..UpstreamTimeouts::default() };
    let mut cluster = Cluster::builder(RoundRobin::new()).http2(UpstreamHttp2::Always).retry(retry).timeouts(timeouts);
    for service in services {
        cluster = cluster.backend(Address::Tcp(service.serve().await?));
    }
    let cluster = cluster.build();
    let backends = cluster.backends().clone();
    let mut settings = HealthSettings::default();
    settings.interval = Duration::from_secs(1);
    tokio::spawn(HealthChecker::new(backends.clone(), GrpcCheck::new()?, settings).run());
    Ok((Proxy::over(cluster), backends))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio_stream::StreamExt;
    use tonic::Code;

    use super::*;

    async fn served(services: &[Words]) -> (WordsClient, BackendSet) {
        let (proxy, backends) = app(services).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, proxy).into_future());
        (WordsClient::new(address).unwrap(), backends)
    }

    async fn say(client: &mut WordsClient, text: &str) -> Result<String, tonic::Status> {
        client.say(Request::new(text.to_owned())).await.map(tonic::Response::into_inner)
    }

    #[tokio::test]
    async fn calls_of_all_kinds_are_spread() {
        let (mut client, _) = served(&[Words::new("one"), Words::new("two")]).await;
        let said: BTreeSet<_> = [say(&mut client, "hi").await.unwrap(), say(&mut client, "hi").await.unwrap()].into();
        assert_eq!(said.into_iter().collect::<Vec<_>>(), ["one: hi", "two: hi"]);
        assert_eq!(client.split("a b c").await.unwrap(), ["a", "b", "c"]);
        assert_eq!(client.join(vec!["d".to_owned(), "e".to_owned()]).await.unwrap(), "d e");
        // Each word is answered before the next is said.
        let (words, heard) = tokio::sync::mpsc::unbounded_channel();
        let heard = futures_util::stream::unfold(heard, async |mut heard| Some((heard.recv().await?, heard)));
        let mut echo = client.echo(heard).await.unwrap();
        for word in ["x", "y", "z"] {
            words.send(word.to_owned()).unwrap();
            assert_eq!(echo.next().await.unwrap().unwrap(), word);
        }
        drop(words);
        assert!(echo.next().await.is_none());
        let refused = say(&mut client, "").await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "nothing to say"));
    }

    #[tokio::test]
    async fn who_is_not_well_gets_no_calls() {
        let services = [Words::new("one"), Words::new("two")];
        let (mut client, backends) = served(&services).await;
        services[0].set_serving(false);
        for _ in 0..4 {
            assert_eq!(say(&mut client, "hi").await.unwrap(), "two: hi", "a refused call goes to the other");
        }
        let mut changes = backends.changes();
        while backends.backends()[0].state() == BackendState::Healthy {
            changes.changed().await;
        }
        assert_eq!(backends.backends()[0].status().reason(), "NOT_SERVING");
        services[1].set_serving(false);
        let refused = say(&mut client, "hi").await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::Unavailable, "not now"),
            "the last answer is the client's"
        );
    }
}
