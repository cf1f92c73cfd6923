//! Files through real sockets: byte for byte over HTTP/1 (the kernel sends them), TLS and HTTP/2 (they are read), to
//! clients that are not ours: curl and wget.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use proxy_config::{Config, Server};
use tests::{Authority, Http2Client, have};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A folder of its own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("proxy-tests-files-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir_all(folder.0.join("www")).expect("a folder of its own");
        folder
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file of its own");
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Bytes in which any loss, swap or repetition of a piece shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

/// Files around every size at which another path is taken.
const SIZES: [usize; 9] = [0, 1, 4096, 32 * 1024 - 1, 32 * 1024, 65_537, 1 << 20, (1 << 20) + 1, 5_000_000];

/// A server of this folder, with and without TLS.
struct Site {
    folder: Folder,
    server: Server,
    authority: String,
}

impl Site {
    fn start(settings: &str) -> Self {
        let folder = Folder::new();
        let authority = Authority::new("files");
        let (certificate, key) = authority.issue(&["localhost"]);
        let (certificate, key) = (folder.write("cert.pem", certificate), folder.write("key.pem", key));
        let authority = folder.write("ca.pem", authority.pem());
        for size in SIZES {
            folder.write(&format!("www/{size}.bin"), pattern(size));
        }
        let root = folder.0.join("www").display().to_string();
        let config = format!(
            r#"{{ "listeners": {{
                    "plain": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "site" }} }},
                    "limited": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "site",
                        "filters": [{{ "bandwidth_limit": {{ "down": "100MiB/s" }} }}] }} }},
                    "tls": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "site" }},
                        "tls": {{ "certificates": [{{ "cert": {certificate:?}, "key": {key:?} }}] }} }} }},
                "upstreams": {{ "site": {{ "files": {{ "root": {root:?}{settings} }} }} }} }}"#
        );
        let config: Config = config.parse().unwrap_or_else(|errors| panic!("{errors}"));
        let server = Server::start(&config).unwrap_or_else(|error| panic!("{error}"));
        Site { folder, server, authority }
    }

    fn address(&self, listener: &str) -> SocketAddr {
        let all = self.server.addresses();
        all.into_iter().find(|(name, _)| name == listener).expect("a listener of this name").1
    }
}

async fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped());
    let child = command.spawn().expect("it starts");
    tokio::task::spawn_blocking(move || child.wait_with_output().expect("it ends")).await.expect("it is waited for")
}

async fn curl(arguments: &[&str]) -> Output {
    let output = run(Command::new("curl").args(["-sS", "--path-as-is", "--max-time", "60"]).args(arguments)).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_arrives_over_every_protocol() {
    if !have(&["curl"]) {
        return;
    }
    let site = Site::start("");
    let (plain, limited, tls) = (site.address("plain"), site.address("limited"), site.address("tls"));
    let secure = format!("https://localhost:{}", tls.port());
    for size in SIZES {
        let expected = pattern(size);
        for (url, arguments) in [
            (format!("http://{plain}/{size}.bin"), vec!["--http1.1"]),
            (format!("http://{plain}/{size}.bin"), vec!["--http1.0"]),
            (format!("http://{plain}/{size}.bin"), vec!["--http2-prior-knowledge"]),
            (format!("http://{limited}/{size}.bin"), vec!["--http1.1"]),
            (format!("{secure}/{size}.bin"), vec!["--http1.1", "--cacert", &site.authority]),
            (format!("{secure}/{size}.bin"), vec!["--http2", "--cacert", &site.authority]),
        ] {
            let output = curl(&[&arguments[..], &[&url]].concat()).await;
            assert!(output.stdout == expected, "{url} {arguments:?}: {} bytes of {size}", output.stdout.len());
        }
    }
    site.server.drain().await;
}

/// A part on each side of where the kernel sends by itself, and one that a download is taken up at.
#[tokio::test(flavor = "multi_thread")]
async fn parts_arrive_and_downloads_go_on() {
    if !have(&["curl", "wget"]) {
        return;
    }
    let site = Site::start("");
    let whole = pattern(5_000_000);
    let url = format!("http://{}/5000000.bin", site.address("plain"));
    let secure = format!("https://localhost:{}/5000000.bin", site.address("tls").port());
    for (range, from, to) in [
        ("0-0", 0, 1),
        ("7-40000", 7, 40_001),
        ("1048570-1048590", 1_048_570, 1_048_591),
        ("-1000000", 4_000_000, 5_000_000),
    ] {
        let output = curl(&["-r", range, &url]).await;
        assert!(output.stdout == whole[from..to], "{range}");
        let output = curl(&["-r", range, "--cacert", &site.authority, &secure]).await;
        assert!(output.stdout == whole[from..to], "{range} over TLS");
    }
    let parts = curl(&["-r", "0-99999,2000000-2099999", &url]).await.stdout;
    let find = |piece: &[u8]| parts.windows(piece.len()).any(|window| window == piece);
    assert!(find(&whole[..100_000]) && find(&whole[2_000_000..2_100_000]));
    let begun = site.folder.write("begun.bin", &whole[..1_234_567]);
    let output = run(Command::new("wget").args(["-q", "-c", "-O", &begun, &url])).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(std::fs::read(&begun).expect("the download") == whole);
    site.server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_s_conditions_and_codings_are_understood() {
    if !have(&["curl"]) {
        return;
    }
    let site = Site::start(r#", "precompressed": true, "listing": true, "strip_prefix": "/static""#);
    let base = format!("http://{}/static", site.address("plain"));
    site.folder.write("www/a.txt", "plain text");
    let status = |arguments: Vec<String>| async move {
        let arguments: Vec<_> =
            ["-o", "/dev/null", "-w", "%{http_code}"].into_iter().map(str::to_owned).chain(arguments).collect();
        let output = curl(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
        String::from_utf8(output.stdout).expect("a number")
    };
    let tags = site.folder.0.join("tag").display().to_string();
    let words = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(status(words(&format!("--etag-save {tags} {base}/a.txt"))).await, "200");
    assert_eq!(status(words(&format!("--etag-compare {tags} {base}/a.txt"))).await, "304");
    assert_eq!(status(words(&format!("-z {}/www/a.txt {base}/a.txt", site.folder.0.display()))).await, "304");
    assert_eq!(status(words(&format!("{base}/../../key.pem"))).await, "404");
    assert_eq!(status(words(&format!("{base}/%2e%2e/key.pem"))).await, "404");
    assert_eq!(status(words(&format!("-X POST {base}/a.txt"))).await, "405");
    assert_eq!(status(words(&format!("-I {base}/a.txt"))).await, "200");
    assert_eq!(status(words(&format!("-L {base}"))).await, "200");
    if have(&["gzip"]) {
        let packed = run(Command::new("gzip").args(["-k", &site.folder.write("www/b.txt", "x".repeat(10_000))])).await;
        assert!(packed.status.success());
        let small = curl(&["--compressed", "-w", "%{size_download}", &format!("{base}/b.txt")]).await.stdout;
        let (text, length) = small.split_at(10_000);
        assert!(text.iter().all(|byte| *byte == b'x'));
        assert!(String::from_utf8_lossy(length).parse::<u32>().expect("a number") < 1000);
    }
    let list = String::from_utf8(curl(&[&format!("{base}/")]).await.stdout).expect("a page");
    assert!(list.contains("<a href=\"./a.txt\">a.txt</a>"), "{list}");
    site.server.drain().await;
}

/// Clients that read slowly, leave in the middle and ask again on the same connection take nothing from each other.
#[tokio::test(flavor = "multi_thread")]
async fn slow_and_leaving_clients_cost_nobody_else() {
    let site = Site::start("");
    let address = site.address("plain");
    let whole = pattern(5_000_000);
    let request = "GET /5000000.bin HTTP/1.1\r\nHost: h\r\n\r\n";
    let leaving = (0..20).map(|at| async move {
        let mut client = TcpStream::connect(address).await.expect("a connection");
        client.write_all(request.as_bytes()).await.expect("it is taken");
        client.read_exact(&mut vec![0; 1000 * at + 1]).await.expect("the beginning");
        if at % 2 == 0 {
            client.set_zero_linger().expect("a socket");
        }
    });
    let slow = async {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a socket");
        let mut client = socket.connect(address).await.expect("a connection");
        for _ in 0..2 {
            client.write_all(request.as_bytes()).await.expect("it is taken");
            let mut got = vec![0; 5_000_000];
            read_head(&mut client).await;
            for piece in got.chunks_mut(50_000) {
                client.read_exact(piece).await.expect("a piece");
                tokio::task::yield_now().await;
            }
            assert!(got == whole);
        }
    };
    tokio::join!(slow, futures_util::future::join_all(leaving));
    let mut http2 = Http2Client::over(TcpStream::connect(address).await.expect("a connection")).await;
    let answer = http2.get("http://h/5000000.bin").await;
    assert!(answer.status == 200 && answer.body == whole);
    site.server.drain().await;
}

async fn read_head(client: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.expect("the head"));
    }
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&head));
}
