//! Who is connected.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::metrics::Metrics;
use crate::times::unix;

/// The clients with the most connections, and the oldest connections, so many of each.
pub(super) fn connections(metrics: &Metrics, top: usize) -> Value {
    let (mut clients, mut oldest, mut open) = (HashMap::<IpAddr, Client>::new(), Vec::new(), 0);
    for listener in metrics.listeners() {
        open += listener.connections().1;
        listener.open.each(|client, local, connection| {
            let of_client = clients.entry(client.ip().to_canonical()).or_insert_with(|| Client::new(connection.since));
            of_client.connections += connection.count;
            of_client.oldest = of_client.oldest.min(connection.since);
            oldest.push(Connection {
                listener: Arc::clone(&listener.name),
                client,
                local,
                since: connection.since,
                tls: connection.tls,
            });
        });
    }
    let mut clients: Vec<_> = clients.into_iter().collect();
    clients.sort_by_key(|(address, client)| (std::cmp::Reverse(client.connections), client.oldest, *address));
    oldest.sort_by_key(|connection| (connection.since, connection.client));
    json!({
        "open": open,
        "clients": clients.into_iter().take(top).map(|(address, client)| client.json(address)).collect::<Value>(),
        "oldest": oldest.into_iter().take(top).map(|connection| connection.json()).collect::<Value>(),
    })
}

/// What a client has open.
struct Client {
    connections: usize,
    oldest: SystemTime,
}

struct Connection {
    listener: Arc<str>,
    client: SocketAddr,
    local: Option<SocketAddr>,
    since: SystemTime,
    tls: Option<&'static str>,
}

impl Client {
    fn new(oldest: SystemTime) -> Self {
        Client { connections: 0, oldest }
    }

    fn json(&self, address: IpAddr) -> Value {
        json!({ "client": address.to_string(), "connections": self.connections, "oldest": unix(self.oldest) })
    }
}

impl Connection {
    fn json(&self) -> Value {
        json!({
            "listener": *self.listener,
            "client": self.client.to_string(),
            "local": self.local.map(|local| local.to_string()),
            "since": unix(self.since),
            "tls": self.tls,
        })
    }
}
