//! A new process takes over from an old one; wherever it fails, the old one serves on.
#![cfg(unix)]

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proxy_config::{Config, Inherited, Server, UpgradeSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A path that no other test uses.
fn path() -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("proxy-config-upgrade-{}-{number}.sock", std::process::id()))
}

/// An origin that answers everything.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while stream.read(&mut [0; 4096]).await? > 0 {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
                }
                io::Result::Ok(())
            });
        }
    });
    address
}

fn config(origin: SocketAddr, answered_by: &str) -> Config {
    let text = format!(
        r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "api", "filters": [
                {{ "headers": {{ "response": {{ "set": {{ "x-by": "{answered_by}" }} }} }} }}] }} }},
              "shared": {{ "listen": ["127.0.0.1:0"], "reuse_port": true, "http": {{ "upstream": "api" }} }} }},
             "upstreams": {{ "api": {{ "backends": ["{origin}"] }} }} }}"#
    );
    text.parse().unwrap()
}

/// Who answers a client of its own.
async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let by = answer.lines().find_map(|line| line.strip_prefix("x-by: ")).map(str::to_owned);
    by.filter(|_| answer.starts_with("HTTP/1.1 200 OK")).ok_or_else(|| io::Error::other(answer))
}

/// A server that hands over to whoever asks, and drains.
struct Process {
    server: Arc<Server>,
    ends: JoinHandle<()>,
}

impl Process {
    fn serve(server: Server, mut socket: UpgradeSocket) -> Self {
        let server = Arc::new(server);
        let serving = Arc::clone(&server);
        let ends = tokio::spawn(async move {
            socket.hand_over(&serving).await;
            serving.drain().await;
        });
        Process { server, ends }
    }

    fn start(config: &Config, socket: UpgradeSocket) -> Self {
        Process::serve(Server::start(config).unwrap(), socket)
    }

    fn address(&self) -> SocketAddr {
        let addresses = self.server.addresses();
        addresses.iter().find(|(name, _)| name == "web").expect("a listener").1
    }
}

/// What the old process has, once it is done with those who asked before.
async fn inherited(path: &Path) -> Inherited {
    loop {
        match Inherited::ask(path).await {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => tokio::task::yield_now().await,
            inherited => return inherited.unwrap(),
        }
    }
}

async fn take_over(path: &Path, config: &Config) -> Process {
    let inherited = inherited(path).await;
    assert_eq!(inherited.len(), 2);
    let server = Server::start_with(config, &inherited).unwrap();
    Process::serve(server, inherited.ready().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_after_another_and_no_client_notices() {
    let (origin, path) = (origin().await, path());
    let mut process = Process::start(&config(origin, "0"), UpgradeSocket::open(&path).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let address = process.address();
    let clients = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            let by = ask(address).await.expect("every request is answered");
            if seen.last() != Some(&by) {
                seen.push(by);
            }
            if seen.last().is_some_and(|by| by == "3") {
                return seen;
            }
        }
    });
    for number in 1..=3 {
        let next = take_over(&path, &config(origin, &number.to_string())).await;
        assert_eq!(next.address(), address);
        process.ends.await.unwrap();
        assert_eq!(ask(address).await.unwrap(), number.to_string());
        process = next;
    }
    assert_eq!(clients.await.unwrap().last().unwrap(), "3");
    process.ends.abort();
    let _ = process.ends.await;
    assert!(!path.exists(), "whoever serves last removes the socket");
}

/// Where a new process is lost, or does wrong.
#[derive(Clone, Copy, Debug)]
enum Lost {
    /// It has connected.
    Connected,
    /// It has asked.
    Asked,
    /// It has the sockets.
    HasSockets,
    /// It has them, and is silent for too long.
    Hangs,
    /// It does not ask as a new process does.
    Strange,
    /// It has the sockets, and then says what means nothing.
    Confused,
    /// It is one of ours, has the sockets, and ends.
    Inherited,
    /// It serves already, and ends before it says so.
    Serves,
}

const LOST: [Lost; 8] = [
    Lost::Connected,
    Lost::Asked,
    Lost::HasSockets,
    Lost::Hangs,
    Lost::Strange,
    Lost::Confused,
    Lost::Inherited,
    Lost::Serves,
];

async fn lose(path: &Path, config: &Config, lost: Lost) {
    if let Lost::Inherited | Lost::Serves = lost {
        let inherited = inherited(path).await;
        if let Lost::Serves = lost {
            // To the end: the tasks of a server that is only dropped may still take a client.
            Server::start_with(config, &inherited).unwrap().drain().await;
        }
        return;
    }
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || lose_by_hand(&path, lost)).await.unwrap();
}

/// Not by tokio's streams: they take a short read for the last one, and descriptors make reads short.
fn lose_by_hand(path: &Path, lost: Lost) {
    let mut stream = BufReader::new(UnixStream::connect(path).unwrap());
    match lost {
        Lost::Connected => return,
        Lost::Strange => stream.get_mut().write_all(b"GET / HTTP/1.1\n").unwrap(),
        _ => stream.get_mut().write_all(b"proxy-upgrade 1\n").unwrap(),
    }
    if let Lost::Asked = lost {
        return;
    }
    let mut line = String::new();
    while stream.read_line(&mut line).unwrap_or(0) > 0 {
        match lost {
            Lost::HasSockets if line.ends_with("end\n") => return,
            Lost::Confused if line.ends_with("end\n") => stream.get_mut().write_all(b"steady\n").unwrap(),
            _ => {}
        }
    }
    assert!(line.ends_with("too late\n"), "{lost:?}: {line:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_that_is_lost_leaves_the_old_one_serving() {
    let (origin, path) = (origin().await, path());
    for lost in LOST {
        let patience = if let Lost::Hangs = lost { Duration::from_secs(2) } else { Duration::from_secs(30) };
        let socket = UpgradeSocket::open(&path).unwrap().patience(patience);
        let old = Process::start(&config(origin, "old"), socket);
        let address = old.address();
        lose(&path, &config(origin, "lost"), lost).await;
        for _ in 0..3 {
            assert_eq!(ask(address).await.unwrap(), "old", "{lost:?}");
        }
        assert!(!old.ends.is_finished(), "{lost:?}");
        // And the next one takes over.
        let new = take_over(&path, &config(origin, "new")).await;
        old.ends.await.unwrap();
        assert_eq!(ask(address).await.unwrap(), "new", "{lost:?}");
        new.ends.abort();
        let _ = new.ends.await;
    }
}

#[tokio::test]
async fn only_one_process_takes_over_at_a_time() {
    let (origin, path) = (origin().await, path());
    let old = Process::start(&config(origin, "old"), UpgradeSocket::open(&path).unwrap());
    let first = Inherited::ask(&path).await.unwrap();
    let error = Inherited::ask(&path).await.unwrap_err();
    assert_eq!(error.to_string(), "another process is taking over already");
    drop(first);
    assert_eq!(ask(old.address()).await.unwrap(), "old");
    old.ends.abort();
}

/// It would otherwise serve beside the old one.
#[tokio::test]
async fn a_new_process_that_is_late_learns_it() {
    let (origin, path) = (origin().await, path());
    let socket = UpgradeSocket::open(&path).unwrap().patience(Duration::from_millis(500));
    let old = Process::start(&config(origin, "old"), socket);
    let late = Inherited::ask(&path).await.unwrap();
    // Another gets through once the first has been given up.
    drop(inherited(&path).await);
    assert_eq!(late.ready().await.unwrap_err().to_string(), "the old process has given this one up");
    assert_eq!(ask(old.address()).await.unwrap(), "old");
    old.ends.abort();
}

#[tokio::test]
async fn sockets_are_opened_where_that_harms_nobody() {
    let path = path();
    let socket = UpgradeSocket::open(&path).unwrap();
    let taken = UpgradeSocket::open(&path).unwrap_err();
    assert_eq!(taken.to_string(), format!("{}: another process answers there; upgrade from it", path.display()));
    drop(socket);
    // Left behind by a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(UpgradeSocket::open(&path).unwrap());
    std::fs::write(&path, "a file").unwrap();
    let file = UpgradeSocket::open(&path).unwrap_err();
    assert_eq!(file.to_string(), format!("{}: is no socket", path.display()));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(Inherited::ask(&path).await.unwrap_err().kind(), io::ErrorKind::NotFound);
}
