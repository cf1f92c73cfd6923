//! Where lines are written to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{LogTarget, time};

/// Where lines are written to, and how it went so far.
pub(super) struct Sink {
    kind: Kind,
    /// Writing failed last time: it is said once.
    failing: bool,
    /// A line was written in part: the next one begins behind a line end.
    torn: bool,
}

enum Kind {
    File(PathBuf, File),
    Syslog(PathBuf, Option<UnixDatagram>),
    Writer(Box<dyn Write + Send>),
}

impl Sink {
    pub(super) fn open(target: LogTarget) -> io::Result<Self> {
        let kind = match target {
            LogTarget::File(path) => {
                let file = open(&path)?;
                Kind::File(path, file)
            }
            LogTarget::Stdout => Kind::Writer(Box::new(io::stdout())),
            LogTarget::Syslog(path) => Kind::Syslog(path, None),
            LogTarget::Writer(writer) => Kind::Writer(writer.0),
        };
        Ok(Sink { kind, failing: false, torn: false })
    }

    /// Writes lines; says how many of them were lost.
    pub(super) fn write(&mut self, lines: &[u8]) -> u64 {
        if lines.is_empty() {
            return 0;
        }
        let (rest, result) = match &mut self.kind {
            Kind::File(_, file) => write(file, lines, &mut self.torn),
            Kind::Writer(writer) => write(writer, lines, &mut self.torn),
            Kind::Syslog(path, socket) => send(path, socket, lines),
        };
        self.note(result);
        // A line that was cut is lost: what is left of it ends like a whole one.
        rest.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    /// Opens a file anew; one that cannot be opened leaves the old one.
    pub(super) fn reopen(&mut self) {
        if let Kind::File(path, file) = &mut self.kind {
            match open(path) {
                Ok(new) => {
                    *file = new;
                    self.torn = false;
                }
                Err(error) => tracing::error!(path = %path.display(), %error, "access log cannot be reopened"),
            }
        }
    }

    /// Says that lines are lost, and that they are no more: once each.
    fn note(&mut self, result: io::Result<()>) {
        match (result, self.failing) {
            (Err(error), false) => tracing::error!(%error, "access log cannot be written: lines are lost"),
            (Ok(()), true) => tracing::info!("access log is written again"),
            _ => return,
        }
        self.failing = !self.failing;
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Writes until the end or an error; returns what was not written.
fn write<'l>(writer: &mut dyn Write, lines: &'l [u8], torn: &mut bool) -> (&'l [u8], io::Result<()>) {
    let mut rest = lines;
    while *torn || !rest.is_empty() {
        let written = match writer.write(if *torn { b"\n" } else { rest }) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other,
        };
        match written {
            Ok(_) if *torn => *torn = false,
            Ok(count) => rest = &rest[count..],
            Err(error) => {
                *torn |=
                    !rest.is_empty() && rest.len() < lines.len() && !lines[..lines.len() - rest.len()].ends_with(b"\n");
                return (rest, Err(error));
            }
        }
    }
    (rest, writer.flush())
}

/// Sends each line as a message; connects again where the daemon went away.
fn send<'l>(path: &Path, socket: &mut Option<UnixDatagram>, lines: &'l [u8]) -> (&'l [u8], io::Result<()>) {
    let mut rest = lines;
    let mut message = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        header(&mut message);
        message.extend_from_slice(&rest[..end]);
        let sent = deliver(path, socket, &message).or_else(|_| {
            *socket = None;
            deliver(path, socket, &message)
        });
        if let Err(error) = sent {
            return (rest, Err(error));
        }
        rest = &rest[end + 1..];
    }
    (rest, Ok(()))
}

fn deliver(path: &Path, socket: &mut Option<UnixDatagram>, message: &[u8]) -> io::Result<()> {
    let connected = match socket {
        Some(connected) => connected,
        None => {
            let new = UnixDatagram::unbound()?;
            new.connect(path)?;
            socket.insert(new)
        }
    };
    connected.send(message).map(drop)
}

/// RFC 5424 §6.2: priority 190 is facility 23 (local7), severity 6 (informational).
fn header(message: &mut Vec<u8>) {
    message.clear();
    message.extend_from_slice(b"<190>1 ");
    time::rfc3339(message, SystemTime::now());
    message.extend_from_slice(format!(" - proxy {} access - ", std::process::id()).as_bytes());
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Takes so many bytes in all, then fails until it is given room.
    #[derive(Clone)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, room) = &mut *self.0.lock().expect("no holder panicked");
            let count = bytes.len().min(*room);
            *room -= count;
            written.extend_from_slice(&bytes[..count]);
            if count == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_does_not_spoil_the_next() {
        // Room before it fails; what is there after two more batches, and how many lines were lost.
        let table = [(0, "c\nd\n", 2), (6, "aaa\naa\nc\nd\n", 1), (4, "aaa\nc\nd\n", 1)];
        for (room, expected, lost) in table {
            let disk = Disk(Arc::new(Mutex::new((Vec::new(), room))));
            let mut sink = Sink::open(LogTarget::writer(disk.clone())).expect("it is open");
            assert_eq!(sink.write(b"aaa\naab\n"), lost, "{room}");
            disk.0.lock().expect("no holder panicked").1 = 100;
            assert_eq!((sink.write(b"c\n"), sink.write(b"d\n")), (0, 0));
            assert_eq!(String::from_utf8_lossy(&disk.0.lock().expect("no holder panicked").0), expected);
        }
    }
}
