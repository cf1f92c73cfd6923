//! Clients that speak SOCKS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use proxy_core::testing::{Recorder, Script, ScriptedConnector};
use proxy_core::{Listener, Peer, serve};
use proxy_forward::{Action, BasicAuth, Credentials, Login, Policy, Ports, Rule, SocksListener, User};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use crate::stage::Stage;

/// Accepts what is sent to it.
struct Accepts(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for Accepts {
    type Io = DuplexStream;

    async fn accept(&mut self) -> (DuplexStream, Peer) {
        match self.0.recv().await {
            Some(stream) => (stream, Peer::new(SocketAddr::from(([10, 0, 0, 9], 1000)))),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct Ada;

#[async_trait]
impl Credentials for Ada {
    async fn check(&self, name: &str, password: &[u8]) -> Login {
        if (name, password) == ("ada", b"secret") { Login::User(User::new(name)) } else { Login::Wrong }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Open,
    Password,
    Mixed,
}

struct Socks {
    dial: mpsc::UnboundedSender<DuplexStream>,
    origins: ScriptedConnector,
    recorder: Recorder,
}

impl Socks {
    fn start(mode: Mode) -> Self {
        let (dial, accept) = mpsc::unbounded_channel();
        let listener = SocksListener::new(Accepts(accept));
        let listener = match mode {
            Mode::Open => listener,
            Mode::Password => listener.credentials(Arc::new(Ada)),
            Mode::Mixed => listener.also_http(),
        };
        let recorder = Recorder::new("r");
        let origins = ScriptedConnector::default()
            .backend_always("93.184.215.1:443", Script::new().echo())
            .backend_always("9.9.9.9:443", Script::new().echo())
            .backend_always("93.184.215.1:80", Script::ok())
            .backend_always("[2606:4700::2]:443", Script::hang())
            .backend_always("93.184.215.2:443", Script::hang());
        let stage = Stage::around(
            origins.clone(),
            |builder| {
                let rule = Rule::deny("no ads").host("ads.example").unwrap();
                builder.connect_ports(Ports::of([443, 444])).policy(Policy::new(Action::Allow).rule(rule))
            },
            |upstream| {
                let builder = upstream.into_proxy().filter(recorder.clone());
                let builder = if mode == Mode::Password { builder.filter(BasicAuth::new(Ada)) } else { builder };
                let proxy = builder.build().unwrap();
                tokio::spawn(serve(listener, proxy.clone()).into_future());
                proxy
            },
        );
        let _ = stage;
        Socks { dial, origins, recorder }
    }

    fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(64 * 1024);
        self.dial.send(server).unwrap();
        client
    }

    /// Sends these bytes, one by one if need be, and reads so many.
    async fn talk(&self, sent: &[u8], count: usize) -> (Vec<u8>, DuplexStream) {
        let mut client = self.connect();
        client.write_all(sent).await.unwrap();
        let mut answer = vec![0; count];
        client.read_exact(&mut answer).await.unwrap_or_else(|error| panic!("{error} after {sent:?}"));
        (answer, client)
    }
}

fn to_name(name: &str, port: u16) -> Vec<u8> {
    let mut bytes = vec![5, 1, 0, 5, 1, 0, 3, name.len() as u8];
    bytes.extend(name.as_bytes());
    bytes.extend(port.to_be_bytes());
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_opens_to_names_and_addresses_of_every_version() {
    let socks = Socks::start(Mode::Open);
    let open = &[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0][..];
    let open_4 = &[0, 0x5a, 0, 0, 0, 0, 0, 0][..];
    for (sent, answer) in [
        (to_name("one.example", 443), open),
        (vec![5, 2, 2, 0, 5, 1, 0, 1, 9, 9, 9, 9, 1, 187], open),
        (b"\x04\x01\x01\xbb\x09\x09\x09\x09me\0".to_vec(), open_4),
        (b"\x04\x01\x01\xbb\x00\x00\x00\x01me\0one.example\0".to_vec(), open_4),
    ] {
        // Early bytes of the tunnel come along, and wait.
        let (got, mut client) = socks.talk(&[&sent[..], b"early"].concat(), answer.len()).await;
        assert_eq!(got, answer, "{sent:?}");
        client.write_all(b" and late").await.unwrap();
        let mut echo = [0; 14];
        client.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"early and late");
        // The same, byte by byte.
        let mut client = socks.connect();
        for byte in &sent {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut got = vec![0; answer.len()];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, answer, "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_in_the_words_of_socks() {
    let socks = Socks::start(Mode::Open);
    let reply = |code| vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    for (sent, answer) in [
        (to_name("ads.example", 443), reply(2)),
        (to_name("one.example", 25), reply(2)),
        (to_name("127.0.0.1", 443), reply(2)),
        (to_name("::1", 443), reply(2)),
        (to_name("0x7f.1", 443), reply(4)),
        (to_name("missing.example", 443), reply(4)),
        (to_name("one.example", 444), reply(5)),
        (to_name("two.example", 443), reply(6)),
        (vec![5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0], reply(7)),
        (vec![5, 1, 0, 5, 2, 0, 1, 9, 9, 9, 9, 1, 187], reply(7)),
        (vec![5, 1, 0, 5, 1, 0, 9, 1], reply(8)),
        (vec![5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 1, 187], reply(2)),
        (vec![5, 1, 2], vec![5, 0xff]),
        (b"\x04\x01\x01\xbb\x7f\x00\x00\x01me\0".to_vec(), vec![0, 0x5b, 0, 0, 0, 0, 0, 0]),
        (b"\x04\x02\x01\xbb\x09\x09\x09\x09me\0".to_vec(), vec![0, 0x5b, 0, 0, 0, 0, 0, 0]),
        // What is no SOCKS gets no answer.
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), vec![]),
        (vec![5, 0], vec![]),
        (vec![5, 1, 0, 5, 1, 7, 1], vec![5, 0]),
        (vec![4, 9, 1, 187, 9, 9, 9, 9, 0], vec![]),
        (vec![0x16, 3, 1], vec![]),
    ] {
        let mut client = socks.connect();
        client.write_all(&sent).await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, answer, "{sent:?}");
    }
    let tried = socks.origins.tried();
    assert_eq!(tried, ["93.184.215.1:444", "[2606:4700::2]:443", "93.184.215.2:443"]);
}

#[tokio::test(start_paused = true)]
async fn a_password_is_asked_for_where_there_is_one() {
    let socks = Socks::start(Mode::Password);
    let login = |name: &str, password: &str| {
        let mut bytes = vec![5, 2, 0, 2, 1, name.len() as u8];
        bytes.extend(name.as_bytes());
        bytes.push(password.len() as u8);
        bytes.extend(password.as_bytes());
        bytes.extend(&to_name("one.example", 443)[3..]);
        bytes
    };
    let (got, _) = socks.talk(&login("ada", "secret"), 14).await;
    assert_eq!(got, [5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for (sent, answer) in [
        (login("ada", "Secret"), &[5, 2, 1, 1][..]),
        (login("eve", "secret"), &[5, 2, 1, 1]),
        (to_name("one.example", 443), &[5, 0xff]),
        (b"\x04\x01\x01\xbb\x09\x09\x09\x09ada\0".to_vec(), &[0, 0x5b, 0, 0, 0, 0, 0, 0]),
    ] {
        let mut client = socks.connect();
        client.write_all(&sent).await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, answer, "{sent:?}");
    }
    assert_eq!(socks.origins.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_port_serves_both_where_it_is_told_to() {
    let socks = Socks::start(Mode::Mixed);
    let (got, _) = socks.talk(&to_name("one.example", 443), 12).await;
    assert_eq!(got[..4], [5, 0, 5, 0]);
    let (got, mut client) = socks.talk(b"GET http://one.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n", 15).await;
    assert_eq!(got, b"HTTP/1.1 200 OK");
    let mut rest = [0; 25];
    client.read_exact(&mut rest).await.unwrap();
    client.write_all(b"GET http://one.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n").await.unwrap();
    client.read_exact(&mut rest[..15]).await.unwrap();
    assert_eq!(&rest[..15], b"HTTP/1.1 200 OK");
}

/// A client that says nothing, or only half of it, is closed like one that sends no request.
#[tokio::test(start_paused = true)]
async fn a_handshake_has_the_deadline_of_a_head() {
    let socks = Socks::start(Mode::Open);
    for sent in [&[][..], &[5], &[5, 1, 0, 5, 1, 0, 3, 9]] {
        let started = tokio::time::Instant::now();
        let mut client = socks.connect();
        client.write_all(sent).await.unwrap();
        client.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(started.elapsed(), proxy_core::Timeouts::default().head, "{sent:?}");
    }
}

/// Filters see a tunnel of SOCKS as they see one of CONNECT.
#[tokio::test(start_paused = true)]
async fn filters_see_a_tunnel_of_socks() {
    let socks = Socks::start(Mode::Open);
    let (_, mut client) = socks.talk(&to_name("one.example", 443), 12).await;
    client.write_all(b"hello").await.unwrap();
    client.read_exact(&mut [0; 5]).await.unwrap();
    drop(client);
    let outcome = socks.recorder.outcome().await;
    assert_eq!((outcome.status.map(|status| status.as_u16()), outcome.bytes_received), (Some(200), 5));
    assert!(socks.recorder.calls().contains(&"r.on_request".to_owned()), "{:?}", socks.recorder.calls());
}
