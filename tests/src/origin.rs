//! Backends in memory that speak HTTP/2.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response, StatusCode};
use proxy_core::{Cluster, ClusterBuilder, Connector, Io, PoolBuilder, SharedPool, Target, UpstreamHttp2, selector_fn};
use proxy_core::{Selector, Upstream};
use tokio::io::DuplexStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Connects to backends in memory: each connection is served by what it is given to. A cheap handle.
#[derive(Clone)]
pub struct MemoryOrigin {
    serve: Arc<dyn Fn(usize, DuplexStream) + Send + Sync>,
    connections: Arc<Mutex<Vec<String>>>,
}

/// A request that came.
#[derive(Debug)]
pub struct Call {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// Its number among all of this origin, from 0.
    pub number: usize,
    /// Head and body.
    pub request: Request<RecvStream>,
    /// What it is answered with.
    pub respond: SendResponse<Bytes>,
    ending: UnboundedSender<Option<Reason>>,
}

impl MemoryOrigin {
    /// Every connection is given to this, with its number.
    pub fn new(serve: impl Fn(usize, DuplexStream) + Send + Sync + 'static) -> Self {
        MemoryOrigin { serve: Arc::new(serve), connections: Arc::default() }
    }

    /// Every connection speaks HTTP/2, and every request is given to this.
    pub fn http2<F>(answer: impl Fn(Call) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        MemoryOrigin::http2_with(Builder::new(), answer)
    }

    /// The same with settings of its own.
    pub fn http2_with<F>(builder: Builder, answer: impl Fn(Call) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let requests = Arc::new(AtomicUsize::new(0));
        MemoryOrigin::new(move |number, stream| {
            let (builder, answer, requests) = (builder.clone(), answer.clone(), Arc::clone(&requests));
            tokio::spawn(serve(number, stream, builder, answer, requests));
        })
    }

    /// Connections that were made.
    pub fn connections(&self) -> usize {
        self.made().len()
    }

    /// Where they went, in order.
    pub fn made(&self) -> Vec<String> {
        self.connections.lock().expect("nobody panics with it").clone()
    }

    /// An upstream of `origin:80` over it, by HTTP/2.
    pub fn upstream(&self) -> impl Upstream + use<> {
        self.cluster(|cluster| cluster, |pool| pool)
    }

    /// The same with settings of its own.
    ///
    /// # Panics
    /// If the address is none.
    pub fn cluster<S: Selector>(
        &self,
        configure: impl FnOnce(ClusterBuilder<Box<dyn Selector>>) -> ClusterBuilder<S>,
        pool: impl FnOnce(PoolBuilder) -> PoolBuilder,
    ) -> Cluster<S> {
        let first: Box<dyn Selector> = Box::new(selector_fn(|candidates, _| candidates.at(0).cloned()));
        let cluster = Cluster::builder(first).http2(UpstreamHttp2::Always);
        let cluster = cluster.backend("origin:80".parse().expect("an address"));
        let pool = pool(SharedPool::builder().connector(Arc::new(self.clone())));
        configure(cluster).build_with(pool.build())
    }
}

#[async_trait]
impl Connector for MemoryOrigin {
    async fn connect(&self, target: &Target) -> io::Result<Box<dyn Io>> {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let number = {
            let mut connections = self.connections.lock().expect("nobody panics with it");
            connections.push(target.backend().address().to_string());
            connections.len() - 1
        };
        (self.serve)(number, theirs);
        Ok(Box::new(ours))
    }
}

impl fmt::Debug for MemoryOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryOrigin").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

async fn serve<F>(
    connection: usize,
    stream: DuplexStream,
    builder: Builder,
    answer: impl Fn(Call) -> F,
    requests: Arc<AtomicUsize>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(mut server) = builder.handshake::<_, Bytes>(stream).await else { return };
    let (ending, mut ends) = unbounded_channel();
    loop {
        tokio::select! {
            biased;
            Some(end) = ends.recv() => match end {
                None => server.graceful_shutdown(),
                Some(reason) => server.abrupt_shutdown(reason),
            },
            accepted = server.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                let number = requests.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(answer(Call { connection, number, request, respond, ending: ending.clone() }));
            }
        }
    }
}

impl Call {
    /// Answers with 200 and this body.
    pub fn answer(&mut self, body: impl Into<Bytes>) {
        self.answer_with(Response::new(()), body.into());
    }

    /// Answers with this head and body.
    pub fn answer_with(&mut self, head: Response<()>, body: Bytes) {
        if let Ok(mut send) = self.respond.send_response(head, body.is_empty())
            && !body.is_empty()
        {
            let _ = send.send_data(body, true);
        }
    }

    /// Answers with this status alone.
    ///
    /// # Panics
    /// If it is none.
    pub fn status(&mut self, status: u16) {
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::from_u16(status).expect("a status");
        self.answer_with(head, Bytes::new());
    }

    /// Resets the stream.
    pub fn reset(&mut self, reason: Reason) {
        self.respond.send_reset(reason);
    }

    /// Ends the connection, once what there is has been served.
    pub fn end_connection(&self) {
        let _ = self.ending.send(None);
    }

    /// Ends the connection at once.
    pub fn break_connection(&self, reason: Reason) {
        let _ = self.ending.send(Some(reason));
    }

    /// All of the body.
    ///
    /// # Cancel safety
    /// What was read is lost.
    pub async fn read(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        let recv = self.request.body_mut();
        while let Some(Ok(data)) = recv.data().await {
            let _ = recv.flow_control().release_capacity(data.len());
            body.extend_from_slice(&data);
        }
        body
    }

    /// A field, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name).and_then(|value| value.to_str().ok())
    }
}
