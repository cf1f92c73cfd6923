//! Lines over a Unix socket, and descriptors beside them.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::{PROMPT, invalid, late};

/// The kernel takes no more descriptors at once (`SCM_MAX_FD` is 253).
const AT_ONCE: usize = 128;
/// A line has a name, an address and a few words.
const LONGEST_LINE: usize = 4096;
/// As many listeners as a process could serve; more is no configuration.
const MOST_DESCRIPTORS: usize = 65_536;

/// One side of a hand-over. Descriptors arrive in the order they were sent, and not after their line.
#[derive(Debug)]
pub(super) struct Wire {
    stream: UnixStream,
    bytes: VecDeque<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Wire {
    pub(super) fn new(stream: UnixStream) -> Self {
        Wire { stream, bytes: VecDeque::new(), descriptors: VecDeque::new() }
    }

    /// Sends a line with these descriptors.
    pub(super) async fn send(&mut self, line: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = format!("{line}\n");
        // Those that go with the line itself; each lot before them has an empty line of its own.
        let last = descriptors.len().saturating_sub(1) / AT_ONCE * AT_ONCE;
        for lot in descriptors[..last].chunks(AT_ONCE) {
            self.send_some(b"\n", lot).await?;
        }
        let (mut rest, mut lot) = (text.as_bytes(), &descriptors[last..]);
        while !rest.is_empty() {
            let sent = self.send_some(rest, lot).await?;
            (rest, lot) = (&rest[sent..], &[]);
        }
        Ok(())
    }

    async fn send_some(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        loop {
            self.stream.writable().await?;
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
                    return Err(invalid("too many descriptors at once"));
                }
                Ok(sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
    }

    /// The next line that says something.
    pub(super) async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.bytes.drain(..=end).take(end).collect();
                if !line.is_empty() {
                    return String::from_utf8(line).map_err(invalid);
                }
                continue;
            }
            if self.bytes.len() > LONGEST_LINE {
                return Err(invalid("a line without an end"));
            }
            if self.receive().await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has left"));
            }
        }
    }

    /// The next line, where nothing has to be done for it.
    pub(super) async fn prompt(&mut self) -> io::Result<String> {
        tokio::time::timeout(PROMPT, self.line()).await.unwrap_or_else(|_| Err(late("it does not answer")))
    }

    async fn receive(&mut self) -> io::Result<usize> {
        loop {
            self.stream.readable().await?;
            let stream = &self.stream;
            let (bytes, descriptors) = (&mut self.bytes, &mut self.descriptors);
            let received = stream.try_io(Interest::READABLE, || {
                let mut buffer = [0; 1024];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let message =
                    recvmsg(stream, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
                for part in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = part {
                        descriptors.extend(rights);
                    }
                }
                if message.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > MOST_DESCRIPTORS {
                    return Err(invalid("more descriptors than this process can take"));
                }
                bytes.extend(&buffer[..message.bytes]);
                Ok(message.bytes)
            });
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
    }

    /// The next descriptors: those of the line that was read last.
    pub(super) fn take(&mut self, count: usize) -> io::Result<Vec<OwnedFd>> {
        match count <= self.descriptors.len() {
            true => Ok(self.descriptors.drain(..count).collect()),
            false => Err(invalid("it sent fewer descriptors than it said")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (Wire, Wire) {
        let (one, other) = UnixStream::pair().unwrap();
        (Wire::new(one), Wire::new(other))
    }

    #[tokio::test]
    async fn lines_bring_their_descriptors() {
        let (mut here, mut there) = pair();
        let file = std::fs::File::open("/dev/null").unwrap();
        for count in [0, 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE] {
            let line = format!("a line with {count}");
            let descriptors = vec![file.as_fd(); count];
            let (sent, received) = tokio::join!(here.send(&line, &descriptors), there.line());
            sent.unwrap();
            assert_eq!(received.unwrap(), line);
            assert_eq!(there.take(count).unwrap().len(), count);
            assert!(there.take(1).is_err());
        }
    }

    #[tokio::test]
    async fn what_is_no_line_is_an_error() {
        for (bytes, kind) in [
            (&b"half"[..], io::ErrorKind::UnexpectedEof),
            (b"", io::ErrorKind::UnexpectedEof),
            (b"\n\n", io::ErrorKind::UnexpectedEof),
            (b"\xff\xfe\n", io::ErrorKind::InvalidData),
            (&[b'x'; 2 * LONGEST_LINE], io::ErrorKind::InvalidData),
        ] {
            let (here, mut there) = pair();
            let mut rest = bytes;
            while !rest.is_empty() {
                let sent = here.send_some(rest, &[]).await.unwrap();
                rest = &rest[sent..];
            }
            drop(here);
            assert_eq!(there.line().await.unwrap_err().kind(), kind, "{bytes:?}");
        }
    }
}
