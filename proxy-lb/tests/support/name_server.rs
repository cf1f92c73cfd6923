//! A small name server for tests, on a port of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

/// What is known of a name: records of one type.
#[derive(Clone)]
pub(crate) enum Known {
    /// Lifetime in seconds, and addresses.
    A(u32, Vec<[u8; 4]>),
    /// Lifetime in seconds; priority, weight, port and target.
    Srv(u32, Vec<(u16, u16, u16, &'static str)>),
    /// SERVFAIL.
    Broken,
}

pub(crate) type Zone = HashMap<&'static str, Known>;

/// Answers from a zone that can be changed.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    pub(crate) zone: Arc<Mutex<Zone>>,
}

impl NameServer {
    pub(crate) async fn start(zone: impl IntoIterator<Item = (&'static str, Known)>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(zone.into_iter().collect()));
        tokio::spawn(serve(socket, Arc::clone(&zone)));
        NameServer { address, zone }
    }

    pub(crate) fn set(&self, name: &'static str, known: Known) {
        self.zone.lock().unwrap().insert(name, known);
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut query = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut query).await {
        let answer = answer(&query[..length], &zone.lock().unwrap());
        socket.send_to(&answer, client).await.unwrap();
    }
}

/// RFC 1035 §4: the head, the question as it came, and what is known.
fn answer(query: &[u8], zone: &Zone) -> Vec<u8> {
    let mut at = 12;
    let mut name = String::new();
    while query[at] != 0 {
        let label = &query[at + 1..at + 1 + usize::from(query[at])];
        name += &(String::from_utf8_lossy(label).to_lowercase() + ".");
        at += 1 + label.len();
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[12..at + 5];
    let known = zone.get(&*name);
    let (code, records) = match (known, kind) {
        (Some(Known::A(ttl, addresses)), 1) => (0, addresses.iter().map(|it| (*ttl, it.to_vec())).collect()),
        (Some(Known::Srv(ttl, services)), 33) => (0, services.iter().map(|it| (*ttl, service(*it))).collect()),
        (Some(Known::Broken), _) => (2, Vec::new()),
        (Some(_), _) => (0, Vec::new()),
        (None, _) => (3, Vec::new()),
    };
    let mut bytes = [&query[..2], &[0x85, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0], question].concat();
    for (ttl, data) in records {
        bytes.extend([0xc0, 12]); // the name in the question
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(ttl.to_be_bytes());
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
    }
    bytes
}

fn service((priority, weight, port, target): (u16, u16, u16, &str)) -> Vec<u8> {
    let mut data = [priority, weight, port].map(u16::to_be_bytes).concat();
    for label in target.split('.').filter(|label| !label.is_empty()) {
        data.push(label.len() as u8);
        data.extend(label.bytes());
    }
    data.push(0);
    data
}
