//! What an origin does with one connection.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, DuplexStream};

use super::message::{Seen, Wire};

/// What an origin does with one connection, step by step.
///
/// After its last step it keeps the connection open and silent until the proxy closes it. A step
/// that cannot be taken, because the proxy sent something else or left, ends the script.
///
/// ```
/// use proxy_core::testing::Script;
///
/// let slow = Script::new().read_request().wait(std::time::Duration::from_secs(9)).answer("HTTP/1.1 204 No Content\r\n\r\n");
/// let early = Script::new().answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").close();
/// let kept = Script::new().read_request().answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").repeat();
/// # let _ = (slow, early, kept);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: Vec<Step>,
    repeats: bool,
    pub(super) connect: Connect,
}

/// What becomes of the attempt to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Connect {
    #[default]
    Accept,
    Refuse,
    Hang,
}

#[derive(Clone, Debug)]
enum Step {
    ReadHead,
    ReadRequest,
    Read(usize),
    ReadToEnd,
    Expect(Bytes),
    Answer(Bytes),
    Wait(Duration),
    HalfClose,
    Close,
    Echo,
}

impl Script {
    /// Accepts the connection and does nothing.
    pub fn new() -> Self {
        Script::default()
    }

    /// Answers every request with `200 OK` and the body `ok`.
    pub fn ok() -> Self {
        Script::new().read_request().answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").repeat()
    }

    /// Refuses the connection.
    pub fn refuse() -> Self {
        Script { connect: Connect::Refuse, ..Script::default() }
    }

    /// Never completes the connection.
    pub fn hang() -> Self {
        Script { connect: Connect::Hang, ..Script::default() }
    }

    /// Reads the head of a request.
    #[must_use]
    pub fn read_head(self) -> Self {
        self.then(Step::ReadHead)
    }

    /// Reads a request, head and body.
    #[must_use]
    pub fn read_request(self) -> Self {
        self.then(Step::ReadRequest)
    }

    /// Reads so many bytes.
    #[must_use]
    pub fn read(self, count: usize) -> Self {
        self.then(Step::Read(count))
    }

    /// Reads until the proxy closes its sending side.
    #[must_use]
    pub fn read_to_end(self) -> Self {
        self.then(Step::ReadToEnd)
    }

    /// Reads as many bytes as these are. If they are others, the client gets a 599 that shows them.
    #[must_use]
    pub fn expect(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Expect(bytes.into()))
    }

    /// Sends these bytes, whether or not anything was read.
    #[must_use]
    pub fn answer(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Answer(bytes.into()))
    }

    /// Does nothing for this long.
    #[must_use]
    pub fn wait(self, time: Duration) -> Self {
        self.then(Step::Wait(time))
    }

    /// Closes the sending side, and goes on.
    #[must_use]
    pub fn half_close(self) -> Self {
        self.then(Step::HalfClose)
    }

    /// Closes the connection.
    #[must_use]
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }

    /// Sends back every byte that comes, to the end.
    #[must_use]
    pub fn echo(self) -> Self {
        self.then(Step::Echo)
    }

    /// Goes on with the steps of another script.
    #[must_use]
    pub fn followed_by(mut self, next: Script) -> Self {
        self.steps.extend(next.steps);
        self.repeats |= next.repeats;
        self
    }

    /// Begins anew after the last step, on the same connection.
    #[must_use]
    pub fn repeat(mut self) -> Self {
        self.repeats = true;
        self
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Plays it; what is read is added to `seen`.
    pub(super) async fn play(self, stream: DuplexStream, seen: Seen) {
        let mut wire = Wire::new(stream, seen);
        loop {
            for step in &self.steps {
                if take(&mut wire, step).await.is_none() {
                    return;
                }
            }
            if !self.repeats || self.steps.is_empty() {
                break;
            }
        }
        wire.read_to_end().await;
    }
}

/// `None` where the step cannot be taken, or is the last.
async fn take(wire: &mut Wire<DuplexStream>, step: &Step) -> Option<()> {
    match step {
        Step::ReadHead => drop(wire.read_head().await?),
        Step::ReadRequest => drop(wire.read_request().await?),
        Step::Read(count) => drop(wire.read(*count).await?),
        Step::ReadToEnd => drop(wire.read_to_end().await),
        Step::Expect(bytes) => expect(wire, bytes).await?,
        Step::Answer(bytes) => wire.stream.write_all(bytes).await.ok()?,
        Step::Wait(time) => tokio::time::sleep(*time).await,
        Step::HalfClose => wire.stream.shutdown().await.ok()?,
        Step::Close => return None,
        Step::Echo => echo(wire).await?,
    }
    Some(())
}

async fn expect(wire: &mut Wire<DuplexStream>, wanted: &Bytes) -> Option<()> {
    let came = wire.read(wanted.len()).await?;
    if came == *wanted {
        return Some(());
    }
    let [wanted, came] = [wanted, &came[..]].map(String::from_utf8_lossy);
    let text = format!("the script expected {wanted:?}, there came {came:?}");
    let answer = format!("HTTP/1.1 599 Unexpected\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    wire.stream.write_all(answer.as_bytes()).await.ok()?;
    None
}

async fn echo(wire: &mut Wire<DuplexStream>) -> Option<()> {
    loop {
        let bytes = std::mem::take(&mut wire.ahead);
        wire.stream.write_all(&bytes).await.ok()?;
        if !wire.fill().await {
            return Some(());
        }
    }
}
