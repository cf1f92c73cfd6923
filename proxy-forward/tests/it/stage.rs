//! A forward proxy without sockets.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use proxy_core::testing::{Message, Script, ScriptedConnector, TestClient, TestProxy};
use proxy_core::{Address, Backend, Connector, Io, Proxy, Target};
use proxy_forward::{Answer, Dial, ForwardBuilder, ForwardUpstream, Lookup, Resolver, ResolverSettings};

/// Connects to scripted origins by address, and keeps a record of the tries.
#[derive(Clone)]
pub(crate) struct Dialled(ScriptedConnector);

#[async_trait]
impl Dial for Dialled {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Io>> {
        self.0.connect(&Target::new(Backend::new(Address::Tcp(address)))).await
    }
}

/// Answers from a table; of several answers to a name, one after the other, the last for ever.
#[derive(Clone, Default)]
pub(crate) struct Names {
    answers: Arc<Mutex<HashMap<String, Vec<Vec<IpAddr>>>>>,
    asked: Arc<AtomicUsize>,
}

impl Names {
    pub(crate) fn add(&self, name: &str, answers: &[&[&str]]) {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        self.answers.lock().unwrap().insert(name.to_owned(), answers.iter().map(parse).collect());
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, name: &str) -> io::Result<Answer> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.lock().unwrap();
        let known = answers.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        let answer = if known.len() > 1 { known.remove(0) } else { known[0].clone() };
        Ok(Answer::new(answer))
    }
}

pub(crate) struct Stage {
    pub(crate) names: Names,
    pub(crate) origins: ScriptedConnector,
    proxy: TestProxy,
}

impl Stage {
    /// Before origins that play this script; `one.example` and `two.example` are public.
    pub(crate) fn new(script: Script) -> Self {
        Stage::with(ScriptedConnector::always(script), |builder| builder)
    }

    pub(crate) fn with(origins: ScriptedConnector, configure: impl FnOnce(ForwardBuilder) -> ForwardBuilder) -> Self {
        Stage::around(origins, configure, |upstream| upstream.into_proxy().build().unwrap())
    }

    pub(crate) fn around(
        origins: ScriptedConnector,
        configure: impl FnOnce(ForwardBuilder) -> ForwardBuilder,
        proxy: impl FnOnce(ForwardUpstream) -> Proxy,
    ) -> Self {
        let names = Names::default();
        names.add("one.example", &[&["93.184.215.1"]]);
        names.add("two.example", &[&["2606:4700::2", "93.184.215.2"]]);
        let resolver = Resolver::new(names.clone(), ResolverSettings::default());
        let builder = ForwardUpstream::builder().resolver(resolver).dial(Dialled(origins.clone())).via("test");
        let proxy = TestProxy::new(proxy(configure(builder).build()));
        Stage { names, origins, proxy: proxy.client_at("10.0.0.9:1000".parse().unwrap()) }
    }

    pub(crate) fn connect(&self) -> TestClient {
        self.proxy.connect()
    }

    /// The answer to this request, on a connection of its own.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Message {
        let mut client = self.connect();
        client.send(request).await;
        client.read_response().await
    }

    /// The status of the answer. Reads no further: behind a tunnel's head comes what the client asks for.
    pub(crate) async fn status(&self, request: impl AsRef<[u8]>) -> u16 {
        let mut client = self.connect();
        client.send(request).await;
        client.read_head().await.status()
    }
}

pub(crate) fn get(url: &str) -> String {
    let host = url.split('/').nth(2).unwrap();
    format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

pub(crate) fn connect(authority: &str) -> String {
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n")
}
