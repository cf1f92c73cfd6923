//! A client of the h2 crate.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

/// A connection that speaks HTTP/2 as it should.
#[derive(Debug)]
pub struct Http2Client {
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// What came behind it.
    pub trailers: Option<HeaderMap>,
}

/// A request for this URI.
///
/// # Panics
/// If it is none.
pub fn request(method: &str, uri: &str) -> Request<()> {
    Request::builder().method(method).uri(uri).body(()).expect("a request")
}

impl Http2Client {
    /// Shakes hands over this stream.
    ///
    /// # Panics
    /// If the server does not.
    ///
    /// # Cancel safety
    /// The connection is lost.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Http2Client::with(stream, &h2::client::Builder::new()).await
    }

    /// The same with settings of its own.
    ///
    /// # Panics
    /// If the server does not shake hands.
    ///
    /// # Cancel safety
    /// The connection is lost.
    pub async fn with(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        builder: &h2::client::Builder,
    ) -> Self {
        let (send, connection) = builder.handshake(stream).await.expect("the server speaks HTTP/2");
        Http2Client { send, connection: tokio::spawn(connection) }
    }

    /// Begins a request. `ended`: it has no body.
    ///
    /// # Panics
    /// If the connection takes none.
    ///
    /// # Cancel safety
    /// Nothing is sent.
    pub async fn begin(&mut self, request: Request<()>, ended: bool) -> (ResponseFuture, SendStream<Bytes>) {
        std::future::poll_fn(|cx| self.send.poll_ready(cx)).await.expect("the connection is open");
        self.send.send_request(request, ended).expect("the request is one")
    }

    /// Sends a request without a body, and reads the whole response.
    ///
    /// # Panics
    /// If there is none.
    ///
    /// # Cancel safety
    /// The request is taken back.
    pub async fn get(&mut self, uri: &str) -> Answer {
        let (response, _) = self.begin(request("GET", uri), true).await;
        Answer::read(response).await.expect("a whole response")
    }

    /// Sends a request with a body, and reads the whole response.
    ///
    /// # Panics
    /// If there is none.
    ///
    /// # Cancel safety
    /// The request is taken back.
    pub async fn send(&mut self, request: Request<()>, body: &'static str) -> Answer {
        let (response, mut send) = self.begin(request, body.is_empty()).await;
        if !body.is_empty() {
            send.send_data(Bytes::from_static(body.as_bytes()), true).expect("an open stream");
        }
        Answer::read(response).await.expect("a whole response")
    }

    /// Waits until the connection ends; says why, where the server said so.
    ///
    /// # Cancel safety
    /// The connection is lost.
    pub async fn ended(self) -> Option<Reason> {
        let Http2Client { send, connection } = self;
        drop(send);
        connection.await.ok()?.err().and_then(|error| error.reason())
    }

    /// Whether a new request would be taken.
    pub fn is_open(&self) -> bool {
        !self.connection.is_finished()
    }
}

impl Answer {
    /// Reads all of it.
    ///
    /// # Errors
    /// If it is reset.
    ///
    /// # Cancel safety
    /// What was read is lost.
    pub async fn read(response: ResponseFuture) -> Result<Self, h2::Error> {
        let (head, mut recv) = response.await.map(Response::into_parts)?;
        let (mut body, status, headers) = (Vec::new(), head.status.as_u16(), head.headers);
        while let Some(data) = recv.data().await {
            let data = data?;
            body.extend_from_slice(&data);
            recv.flow_control().release_capacity(data.len())?;
        }
        Ok(Answer { status, headers, body, trailers: recv.trailers().await? })
    }

    /// Reads the next piece of a body.
    ///
    /// # Errors
    /// If it is reset.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn piece(recv: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
        while let Some(data) = recv.data().await.transpose()? {
            recv.flow_control().release_capacity(data.len())?;
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// A field, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body, as text.
    ///
    /// # Panics
    /// If it is none.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}
