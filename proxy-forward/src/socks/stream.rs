//! A connection that begins with SOCKS and goes on as the CONNECT it asked for.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use proxy_core::Io;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Settings;
use super::messages::{self, Command, Malformed, Method, Parsed, Reply};
use crate::auth::{Login, encode};
use crate::destination::Destination;

/// More than the head of any answer that the proxy itself makes.
const MAX_HEAD: usize = 64 * 1024;

/// A client's connection to a [`SocksListener`](super::SocksListener). What is read from it is a CONNECT request,
/// and then what the client sends; what is written to it is the answer to that, and then what the client gets.
pub struct SocksStream<I> {
    io: I,
    settings: Arc<Settings>,
    state: State,
    /// What was read and not yet used.
    input: Vec<u8>,
    /// What the client is told before anything else.
    output: Vec<u8>,
    /// The value of `Proxy-Authorization`, once it is known to be right.
    authorization: Option<String>,
}

enum State {
    /// Nothing is known yet.
    Begin,
    Greeting,
    Login,
    Checking(Checking),
    Request,
    /// What is left of the request for the proxy, and what has come of its answer.
    Asked {
        version: u8,
        request: Vec<u8>,
        answer: Vec<u8>,
    },
    /// Bytes pass as they are.
    Open,
    /// The client was told why not.
    Closed,
}

/// A password that is being checked, and what is said to the proxy if it is right.
struct Checking {
    result: Pin<Box<dyn Future<Output = Login> + Send>>,
    authorization: String,
}

/// What a step of the handshake came to.
enum Step {
    /// On with the next.
    Go,
    /// More bytes of the client are needed.
    Read,
}

impl<I: Io> SocksStream<I> {
    pub(super) fn new(io: I, settings: Arc<Settings>) -> Self {
        SocksStream { io, settings, state: State::Begin, input: Vec::new(), output: Vec::new(), authorization: None }
    }

    /// Ready once bytes of a request or of a tunnel can be read, or there will be none.
    fn poll_handshake(&mut self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_output(cx))?;
            if let State::Asked { .. } | State::Open | State::Closed = self.state {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.poll_step(cx)) {
                Step::Go => {}
                Step::Read => {
                    if ready!(self.poll_input(cx))? == 0 {
                        self.state = State::Closed;
                    }
                }
            }
        }
    }

    fn poll_step(&mut self, cx: &mut Task<'_>) -> Poll<Step> {
        let wanted = if self.settings.credentials.is_some() { Method::Password } else { Method::None };
        let step = match &mut self.state {
            State::Begin => self.begin(),
            State::Greeting => match self.take(|bytes| messages::greeting(bytes, wanted)) {
                Ok(Some(method)) => self.greeted(method),
                other => self.incomplete(other.is_ok()),
            },
            State::Login => match self.take(messages::login) {
                Ok(Some((name, password))) => self.login(name, password),
                other => self.incomplete(other.is_ok()),
            },
            State::Checking(checking) => {
                let login = ready!(checking.result.as_mut().poll(cx));
                let authorization = std::mem::take(&mut checking.authorization);
                self.checked(&login, authorization)
            }
            State::Request => match self.take(messages::request) {
                Ok(Some(command)) => self.requested(messages::VERSION_5, command),
                other => self.incomplete(other.is_ok()),
            },
            State::Asked { .. } | State::Open | State::Closed => Step::Go,
        };
        Poll::Ready(step)
    }

    /// The first byte says which protocol it is.
    fn begin(&mut self) -> Step {
        match self.input.first() {
            None => return Step::Read,
            Some(&messages::VERSION_5) => self.state = State::Greeting,
            Some(&messages::VERSION_4) => return self.begin_4(),
            Some(_) if self.settings.also_http => self.state = State::Open,
            Some(_) => self.state = State::Closed,
        }
        Step::Go
    }

    /// SOCKS4 is one message, without a password.
    fn begin_4(&mut self) -> Step {
        match self.take(messages::request_4) {
            Ok(Some(_)) if self.settings.credentials.is_some() => {
                self.refuse(messages::VERSION_4, Reply::NotAllowed);
                Step::Go
            }
            Ok(Some(command)) => self.requested(messages::VERSION_4, command),
            other => self.incomplete(other.is_ok()),
        }
    }

    fn greeted(&mut self, method: Method) -> Step {
        self.output.extend_from_slice(&method.answer());
        self.state = match method {
            Method::None => State::Request,
            Method::Password => State::Login,
            Method::Unacceptable => State::Closed,
        };
        Step::Go
    }

    fn login(&mut self, name: String, password: Vec<u8>) -> Step {
        let authorization = encode(&name, &password);
        let credentials = self.settings.credentials.clone();
        let result = Box::pin(async move {
            match credentials {
                Some(credentials) => credentials.check(&name, &password).await,
                None => Login::Wrong,
            }
        });
        self.state = State::Checking(Checking { result, authorization });
        Step::Go
    }

    /// RFC 1929 §2: zero is right, all else is wrong, and ends the connection.
    fn checked(&mut self, login: &Login, authorization: String) -> Step {
        let right = matches!(login, Login::User(_));
        self.output.extend_from_slice(&[1, u8::from(!right)]);
        self.state = if right { State::Request } else { State::Closed };
        self.authorization = right.then_some(authorization);
        Step::Go
    }

    fn requested(&mut self, version: u8, command: Command) -> Step {
        match command {
            Command::Connect(destination) => {
                let request = self.request_for(&destination);
                self.state = State::Asked { version, request, answer: Vec::new() };
            }
            Command::Refused(reply) => self.refuse(version, reply),
        }
        Step::Go
    }

    fn request_for(&mut self, destination: &Destination) -> Vec<u8> {
        let authorization = match self.authorization.take() {
            Some(value) => format!("Proxy-Authorization: {value}\r\n"),
            None => String::new(),
        };
        format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n{authorization}\r\n").into_bytes()
    }

    /// Takes the answer of the proxy as far as its head goes, and tells the client. Says how many bytes those were.
    fn answered(&mut self, bytes: &[u8]) -> usize {
        let State::Asked { version, answer, .. } = &mut self.state else { return bytes.len() };
        let (version, before) = (*version, answer.len());
        answer.extend_from_slice(bytes);
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        let Some(end) = end.or_else(|| (answer.len() > MAX_HEAD).then_some(answer.len())) else { return bytes.len() };
        let reply = Reply::of_answer(&answer[..end]);
        self.say(version, reply);
        self.state = if reply == Reply::Succeeded { State::Open } else { State::Closed };
        end.saturating_sub(before)
    }

    fn refuse(&mut self, version: u8, reply: Reply) {
        self.say(version, reply);
        self.state = State::Closed;
    }

    fn say(&mut self, version: u8, reply: Reply) {
        match version {
            messages::VERSION_4 => self.output.extend_from_slice(&reply.version_4()),
            _ => self.output.extend_from_slice(&reply.version_5()),
        }
    }

    /// A whole message off the input.
    fn take<T>(&mut self, parse: impl Fn(&[u8]) -> Parsed<T>) -> Result<Option<T>, Malformed> {
        let Some((message, length)) = parse(&self.input)? else { return Ok(None) };
        self.input.drain(..length);
        Ok(Some(message))
    }

    /// More is needed of a message, or it is none.
    fn incomplete(&mut self, well_formed: bool) -> Step {
        if well_formed {
            return Step::Read;
        }
        self.state = State::Closed;
        Step::Go
    }

    fn poll_input(&mut self, cx: &mut Task<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; messages::MAX_MESSAGE];
        let mut room = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut room))?;
        self.input.extend_from_slice(room.filled());
        Poll::Ready(Ok(room.filled().len()))
    }

    fn poll_output(&mut self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.output))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Io> AsyncRead for SocksStream<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Task<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_handshake(cx))?;
        let this = &mut *self;
        let ahead = match &mut this.state {
            State::Closed => return Poll::Ready(Ok(())),
            State::Asked { request, .. } if !request.is_empty() => request,
            _ => &mut this.input,
        };
        if ahead.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, room);
        }
        let count = ahead.len().min(room.remaining());
        room.put_slice(&ahead[..count]);
        ahead.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl<I: Io> AsyncWrite for SocksStream<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_output(cx))?;
        match self.state {
            State::Open => Pin::new(&mut self.io).poll_write(cx, bytes),
            State::Asked { .. } => {
                let taken = self.answered(bytes);
                // What does not fit now goes out before anything else does.
                if let Poll::Ready(Err(error)) = self.poll_output(cx) {
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Ok(taken))
            }
            // A page behind the head of a refusal, or the answer to a handshake that was none.
            _ => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Task<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_output(cx))?;
        if let State::Open = self.state {
            return Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        }
        let first = bytes.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| part);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<I: Io> Io for SocksStream<I> {
    /// The socket, once nothing of SOCKS lies before its bytes any more.
    fn as_tcp(&self) -> Option<&TcpStream> {
        match self.state {
            State::Open if self.input.is_empty() && self.output.is_empty() => self.io.as_tcp(),
            _ => None,
        }
    }
}

impl<I> fmt::Debug for SocksStream<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Begin | State::Greeting | State::Login | State::Checking(_) | State::Request => "handshake",
            State::Asked { .. } => "asked",
            State::Open => "open",
            State::Closed => "closed",
        };
        f.debug_struct("SocksStream").field("state", &state).finish_non_exhaustive()
    }
}
