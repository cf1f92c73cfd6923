//! A service of gRPC, and a client of it, without a schema: its messages are text.
//!
//! With one, `tonic-prost-build` writes all of this; only it needs protoc.

use std::convert::Infallible;
use std::error::Error;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Task, Poll};

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::server::Grpc;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tower::{Service, service_fn};

/// Messages are text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Text;
    type Decoder = Text;

    fn encoder(&mut self) -> Text {
        Text
    }

    fn decoder(&mut self) -> Text {
        Text
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let text = String::from_utf8(bytes.into()).map_err(|_| Status::internal("a message is no text"))?;
        Ok(Some(text))
    }
}

/// The service `words.Words`, one method for each kind of call, with the health protocol beside it.
#[derive(Clone, Debug)]
pub struct Words {
    name: Arc<str>,
    serving: Arc<AtomicBool>,
}

impl Words {
    /// One that says its name, and is well.
    pub fn new(name: &str) -> Self {
        Words { name: name.into(), serving: Arc::new(AtomicBool::new(true)) }
    }

    /// What it answers when it is asked how it is. Calls are `UNAVAILABLE` while it is not well.
    pub fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Relaxed);
    }

    /// Serves it for as long as the runtime lives, by tonic.
    ///
    /// # Errors
    /// If there is no free port.
    ///
    /// # Cancel safety
    /// Nothing is served then.
    pub async fn serve(&self) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, words) = (listener.local_addr()?, self.clone());
        tokio::spawn(Server::builder().serve_with_incoming(words, TcpIncoming::from(listener)));
        Ok(address)
    }

    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        let (mut grpc, serving) = (Grpc::new(Text), self.serving.load(Ordering::Relaxed));
        let path = request.uri().path().to_owned();
        match path.as_str() {
            // Two messages of one field each: HealthCheckResponse { SERVING } and { NOT_SERVING }.
            "/grpc.health.v1.Health/Check" => {
                let status = if serving { "\u{8}\u{1}" } else { "\u{8}\u{2}" };
                grpc.unary(service_fn(|_| ready(Ok(Response::new(status.to_owned())))), request).await
            }
            _ if !serving => Status::unavailable("not now").into_http(),
            "/words.Words/Say" => grpc.unary(service_fn(|request| self.clone().say(request)), request).await,
            "/words.Words/Split" => {
                let split = |request: Request<String>| {
                    let words: Vec<_> = request.into_inner().split(' ').map(|word| Ok(word.to_owned())).collect();
                    ready(Ok(Response::new(tokio_stream::iter(words))))
                };
                grpc.server_streaming(service_fn(split), request).await
            }
            "/words.Words/Join" => grpc.client_streaming(service_fn(join), request).await,
            "/words.Words/Echo" => {
                let echo = |request: Request<Streaming<String>>| ready(Ok(Response::new(request.into_inner())));
                grpc.streaming(service_fn(echo), request).await
            }
            _ => Status::unimplemented("no such method").into_http(),
        }
    }

    /// Says its name and what it was told.
    async fn say(self, request: Request<String>) -> Result<Response<String>, Status> {
        let text = request.into_inner();
        match text.is_empty() {
            true => Err(Status::invalid_argument("nothing to say")),
            false => Ok(Response::new(format!("{}: {text}", self.name))),
        }
    }
}

async fn join(request: Request<Streaming<String>>) -> Result<Response<String>, Status> {
    let words: Vec<_> = request.into_inner().collect::<Result<_, _>>().await?;
    Ok(Response::new(words.join(" ")))
}

impl Service<http::Request<Body>> for Words {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let words = self.clone();
        Box::pin(async move { Ok(words.answer(request).await) })
    }
}

/// A client of [`Words`].
#[derive(Clone, Debug)]
pub struct WordsClient(tonic::client::Grpc<Channel>);

impl WordsClient {
    /// Connects when it is first used.
    ///
    /// # Errors
    /// If the address makes no URI.
    pub fn new(address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_lazy();
        Ok(WordsClient(tonic::client::Grpc::new(channel)))
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))
    }

    /// A message for a message.
    ///
    /// # Errors
    /// As the call ends.
    ///
    /// # Cancel safety
    /// The call is taken back.
    pub async fn say(&mut self, request: Request<String>) -> Result<Response<String>, Status> {
        self.ready().await?;
        self.0.unary(request, PathAndQuery::from_static("/words.Words/Say"), Text).await
    }

    /// Many messages for one.
    ///
    /// # Errors
    /// As the call ends.
    ///
    /// # Cancel safety
    /// The call is taken back.
    pub async fn split(&mut self, text: &str) -> Result<Vec<String>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/words.Words/Split");
        let words = self.0.server_streaming(Request::new(text.to_owned()), path, Text).await?;
        words.into_inner().collect().await
    }

    /// One message for many.
    ///
    /// # Errors
    /// As the call ends.
    ///
    /// # Cancel safety
    /// The call is taken back.
    pub async fn join(&mut self, words: Vec<String>) -> Result<String, Status> {
        self.ready().await?;
        let (words, path) = (Request::new(tokio_stream::iter(words)), PathAndQuery::from_static("/words.Words/Join"));
        Ok(self.0.client_streaming(words, path, Text).await?.into_inner())
    }

    /// A message for each message, while both go on.
    ///
    /// # Errors
    /// As the call ends.
    ///
    /// # Cancel safety
    /// The call is taken back.
    pub async fn echo<S>(&mut self, words: S) -> Result<Streaming<String>, Status>
    where
        S: Stream<Item = String> + Send + 'static,
    {
        self.ready().await?;
        let path = PathAndQuery::from_static("/words.Words/Echo");
        Ok(self.0.streaming(Request::new(words), path, Text).await?.into_inner())
    }
}
