//! Clients that ask one GET after the other, and count who answered.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CLIENTS: usize = 32;

/// Between two requests of a client, so that the lab leaves the machine some time.
const PAUSE: Duration = Duration::from_millis(5);

/// Clients that ask until they are dropped.
pub(crate) struct Load {
    counts: Arc<Mutex<Counts>>,
    failed_in_all: Mutex<usize>,
    _clients: JoinSet<()>,
}

/// What happened since the last time.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By the first word of the answer, the origin's name.
    pub(crate) answers: HashMap<String, usize>,
    pub(crate) failed: usize,
}

impl Load {
    pub(crate) fn start(front: SocketAddr) -> Self {
        let counts = Arc::<Mutex<Counts>>::default();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(client(front, Arc::clone(&counts)));
        }
        Load { counts, failed_in_all: Mutex::default(), _clients: clients }
    }

    pub(crate) fn take(&self) -> Counts {
        let counts = std::mem::take(&mut *lock(&self.counts));
        *lock(&self.failed_in_all) += counts.failed;
        counts
    }

    pub(crate) fn failed_in_all(&self) -> usize {
        self.take();
        *lock(&self.failed_in_all)
    }

    #[cfg(test)]
    pub(crate) async fn wait_for(&self, answers: usize) {
        while lock(&self.counts).answers.values().sum::<usize>() < answers {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn client(front: SocketAddr, counts: Arc<Mutex<Counts>>) {
    let mut kept = None;
    loop {
        match ask(&mut kept, front).await {
            Ok(name) => *lock(&counts).answers.entry(name).or_default() += 1,
            Err(_) => {
                kept = None;
                lock(&counts).failed += 1;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One GET on a kept connection; who answered it.
async fn ask(kept: &mut Option<BufStream<TcpStream>>, front: SocketAddr) -> io::Result<String> {
    let stream = match kept {
        Some(stream) => stream,
        None => kept.insert(BufStream::new(TcpStream::connect(front).await?)),
    };
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n").await?;
    stream.flush().await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).await?;
    match head.starts_with("http/1.1 200 ") {
        true => Ok(String::from_utf8_lossy(&body).split(':').next().unwrap_or_default().to_owned()),
        false => Err(io::Error::other(head)),
    }
}
