//! What is answered, over memory: status, fields and bytes, each way a file can be asked for.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use proxy_core::testing::{Message, Recorder, TestClient, TestProxy};
use proxy_core::{ErrorKind, Flow, Proxy, Route, filter_fn};
use proxy_files::{BuildError, Files, FilesBuilder};

/// Sun, 06 Nov 1994 08:49:37 GMT.
const MODIFIED: u64 = 784_111_777;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A folder of its own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("proxy-files-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Folder(std::env::temp_dir().join(name));
        fs::create_dir_all(folder.0.join("www")).unwrap();
        folder
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.0.join("www").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(MODIFIED);
        fs::File::options().append(true).open(&path).unwrap().set_modified(at).unwrap();
        self
    }

    fn files(&self) -> FilesBuilder {
        Files::builder(self.0.join("www"))
    }

    fn serve(&self, configure: impl FnOnce(FilesBuilder) -> FilesBuilder) -> TestProxy {
        TestProxy::over(configure(self.files()).build().unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The usual folder.
fn site() -> Folder {
    let folder = Folder::new();
    folder
        .write("index.html", "<h1>home</h1>")
        .write("a.txt", "0123456789")
        .write("docs/b.css", "b")
        .write("empty", "");
    folder.write(".env", "secret").write("docs/.git/config", "secret").write("deep/er/x", "x");
    folder
}

async fn ask(client: &mut TestClient, method: &str, path: &str, lines: &str) -> Message {
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{lines}\r\n")).await;
    match method {
        "HEAD" => client.read_head().await,
        _ => client.read_response().await,
    }
}

async fn get(proxy: &TestProxy, path: &str, lines: &str) -> Message {
    ask(&mut proxy.connect(), "GET", path, lines).await
}

/// The status, and the fields that are named.
#[track_caller]
fn check(message: &Message, status: u16, fields: &[(&str, Option<&str>)]) {
    assert_eq!(message.status(), status, "{}", message.head());
    for (name, expected) in fields {
        assert_eq!(message.header(name), *expected, "{name} of {}", message.head());
    }
}

#[tokio::test]
async fn a_file_has_type_length_and_validators() {
    let folder = site();
    let mut client = folder.serve(|it| it).connect();
    let expected = [
        ("content-type", Some("text/plain; charset=utf-8")),
        ("content-length", Some("10")),
        ("last-modified", Some(DATE)),
        ("accept-ranges", Some("bytes")),
        ("vary", None),
        ("content-encoding", None),
        ("transfer-encoding", None),
    ];
    let answer = ask(&mut client, "GET", "/a.txt", "").await;
    check(&answer, 200, &expected);
    assert_eq!(answer.text(), "0123456789");
    assert!(answer.header("date").is_some());
    let tag = answer.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"'), "{tag}");
    // Everything but the body, and the connection goes on.
    let head = ask(&mut client, "HEAD", "/a.txt", "Range: bytes=0-1\r\n").await;
    check(&head, 200, &expected);
    assert_eq!(head.header("etag"), Some(&*tag));
    let empty = ask(&mut client, "GET", "/empty", "").await;
    check(&empty, 200, &[("content-length", Some("0")), ("content-type", Some("application/octet-stream"))]);
    check(&ask(&mut client, "GET", "/a.txt?x=/../y", "").await, 200, &[]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = ask(&mut client, method, "/a.txt", "Content-Length: 0\r\n").await;
        check(&answer, 405, &[("allow", Some("GET, HEAD"))]);
    }
    check(&ask(&mut client, "GET", "/a.txt", "").await, 200, &[]);
}

#[tokio::test]
async fn folders_have_an_index_or_a_slash_to_come() {
    let folder = site();
    let proxy = folder.serve(|it| it);
    assert_eq!(get(&proxy, "/", "").await.text(), "<h1>home</h1>");
    check(&get(&proxy, "/", "").await, 200, &[("content-type", Some("text/html; charset=utf-8"))]);
    check(&get(&proxy, "/docs", "").await, 301, &[("location", Some("/docs/")), ("content-length", Some("0"))]);
    check(&get(&proxy, "/deep/er?a=b", "").await, 301, &[("location", Some("/deep/er/?a=b"))]);
    for absent in ["/docs/", "/a.txt/", "/index.html/", "/nothing", "/nothing/", "/a.txt/b"] {
        check(&get(&proxy, absent, "").await, 404, &[]);
    }
    let other = folder.serve(|it| it.index(["home.html", "b.css"]));
    assert_eq!(get(&other, "/docs/", "").await.text(), "b");
    check(&get(&other, "/", "").await, 404, &[]);
}

#[tokio::test]
async fn nothing_else_can_be_reached() {
    let folder = site();
    fs::write(folder.0.join("outside"), "secret").unwrap();
    let www = folder.0.join("www");
    symlink("../outside", www.join("up")).unwrap();
    symlink("..", www.join("parent")).unwrap();
    symlink("a.txt", www.join("alias")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, www.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for proxy in [folder.serve(|it| it), folder.serve(|it| it.slow_storage(true))] {
        for path in [
            "/../outside",
            "/%2e%2e/outside",
            "/docs/../../outside",
            "/docs/%2e%2e/%2E%2E/outside",
            "/..%2foutside",
            "/%2e%2e%2foutside",
            "/.%2e/outside",
            "/docs/..%5c..%5coutside",
            "/%00",
            "/a.txt%00",
            "/a.txt%00.html",
            "//a.txt",
            "/docs//b.css",
            "/./a.txt",
            "/up",
            "/parent/outside",
            "/parent/www/a.txt",
            "/alias",
            "/pipe",
            "/.env",
            "/%2eenv",
            "/docs/.git/config",
            "/docs/.git/",
            "/a.txt.",
            "/A.TXT",
            "/%c0%ae%c0%ae/outside",
            "/%252e%252e/outside",
            "/a%",
            "/etc/passwd",
        ] {
            check(&get(&proxy, path, "").await, 404, &[]);
        }
    }
    let open = folder.serve(|it| it.hidden(true).follow_links(true));
    assert_eq!(get(&open, "/.env", "").await.text(), "secret");
    for outside in ["/up", "/parent/outside", "/../outside", "/parent/www/a.txt"] {
        check(&get(&open, outside, "").await, 404, &[]);
    }
}

#[tokio::test]
async fn ranges_are_parts_of_the_file() {
    let folder = site();
    let mut client = folder.serve(|it| it).connect();
    let cases = [
        ("bytes=2-4", 206, "bytes 2-4/10", "234"),
        ("bytes=-3", 206, "bytes 7-9/10", "789"),
        ("bytes=8-", 206, "bytes 8-9/10", "89"),
        ("bytes=0-0", 206, "bytes 0-0/10", "0"),
        ("bytes=5-500", 206, "bytes 5-9/10", "56789"),
        ("bytes=10-", 416, "bytes */10", ""),
        ("bytes=-0", 416, "bytes */10", ""),
    ];
    for (range, status, content_range, body) in cases {
        let answer = ask(&mut client, "GET", "/a.txt", &format!("Range: {range}\r\n")).await;
        let length = body.len().to_string();
        check(&answer, status, &[("content-range", Some(content_range)), ("content-length", Some(&*length))]);
        assert_eq!(answer.text(), body, "{range}");
    }
    for ignored in ["bytes=", "bytes=4-2", "lines=1-2", "bytes=0-5,3-6", "bytes=1-2\r\nRange: bytes=3-4"] {
        let answer = ask(&mut client, "GET", "/a.txt", &format!("Range: {ignored}\r\n")).await;
        check(&answer, 200, &[("content-range", None)]);
        assert_eq!(answer.text(), "0123456789", "{ignored}");
    }
    check(&ask(&mut client, "GET", "/empty", "Range: bytes=0-\r\n").await, 200, &[]);
}

#[tokio::test]
async fn several_ranges_are_parts_of_one_body() {
    let folder = site();
    let mut client = folder.serve(|it| it).connect();
    let answer = ask(&mut client, "GET", "/a.txt", "Range: bytes=7-8,0-1,-1\r\n").await;
    check(&answer, 206, &[("content-range", None)]);
    let boundary = answer.header("content-type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range: &str, text: &str| {
        format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10\r\n\r\n{text}\r\n"
        )
    };
    let expected = part("7-8", "78") + &part("0-1", "01") + &part("9-9", "9") + &format!("--{boundary}--\r\n");
    assert_eq!(answer.text(), expected);
    assert_eq!(answer.header("content-length"), Some(&*expected.len().to_string()));
    let again = ask(&mut client, "GET", "/a.txt", "Range: bytes=7-8,0-1\r\n").await;
    assert_ne!(again.header("content-type"), answer.header("content-type"), "a boundary cannot be foreseen");
}

#[tokio::test]
async fn conditions_are_held() {
    let folder = site();
    let mut client = folder.serve(|it| it).connect();
    let tag = ask(&mut client, "GET", "/a.txt", "").await.header("etag").unwrap().to_owned();
    let later = "Mon, 07 Nov 1994 08:49:37 GMT";
    let earlier = "Sat, 05 Nov 1994 08:49:37 GMT";
    for (lines, status) in [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: W/{tag}\r\n"), 304),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200),
        (format!("If-Modified-Since: {DATE}\r\n"), 304),
        (format!("If-Modified-Since: {earlier}\r\n"), 200),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {later}\r\n"), 200),
        (format!("If-Match: {tag}\r\n"), 200),
        ("If-Match: \"x\"\r\n".to_owned(), 412),
        (format!("If-Unmodified-Since: {earlier}\r\n"), 412),
        (format!("If-Match: {tag}\r\nIf-Unmodified-Since: {earlier}\r\n"), 200),
        (format!("Range: bytes=0-1\r\nIf-Range: {tag}\r\n"), 206),
        (format!("Range: bytes=0-1\r\nIf-Range: {DATE}\r\n"), 206),
        ("Range: bytes=0-1\r\nIf-Range: \"x\"\r\n".to_owned(), 200),
        (format!("Range: bytes=0-1\r\nIf-Range: {later}\r\n"), 200),
        (format!("Range: bytes=50-\r\nIf-Range: {later}\r\n"), 200),
        (format!("Range: bytes=0-1\r\nIf-None-Match: {tag}\r\n"), 304),
        ("Range: bytes=0-1\r\nIf-Match: \"x\"\r\n".to_owned(), 412),
    ] {
        for method in ["GET", "HEAD"] {
            let status = if method == "HEAD" && status == 206 { 200 } else { status };
            let answer = ask(&mut client, method, "/a.txt", &lines).await;
            assert_eq!(answer.status(), status, "{method} {lines}");
            if status == 304 {
                check(&answer, 304, &[("etag", Some(&*tag)), ("last-modified", Some(DATE)), ("content-length", None)]);
            }
        }
    }
    // What was changed a moment ago may change again without telling.
    folder.write("fresh", "x");
    fs::write(folder.0.join("www/fresh"), "y").unwrap();
    let fresh = ask(&mut client, "GET", "/fresh", "").await;
    assert!(fresh.header("etag").unwrap().starts_with("W/\""));
}

#[tokio::test]
async fn siblings_are_sent_to_those_who_take_them() {
    let folder = site();
    folder.write("app.js", "plain").write("app.js.br", "brotli").write("app.js.gz", "gzip").write("app.js.zst", "zstd");
    folder.write("docs/index.html", "index").write("docs/index.html.gz", "index in gzip");
    fs::create_dir(folder.0.join("www/a.txt.br")).unwrap();
    let proxy = folder.serve(|it| it.precompressed(true));
    for (accepts, body, coding) in [
        ("", "plain", None),
        ("Accept-Encoding: gzip\r\n", "gzip", Some("gzip")),
        ("Accept-Encoding: gzip, deflate, br, zstd\r\n", "brotli", Some("br")),
        ("Accept-Encoding: gzip\r\nAccept-Encoding: br;q=0.5\r\n", "gzip", Some("gzip")),
        ("Accept-Encoding: zstd, br;q=0\r\n", "zstd", Some("zstd")),
        ("Accept-Encoding: identity, gzip;q=0.5\r\n", "plain", None),
        ("Accept-Encoding: *\r\n", "brotli", Some("br")),
        ("Accept-Encoding: deflate\r\n", "plain", None),
    ] {
        let answer = get(&proxy, "/app.js", accepts).await;
        let fields = [
            ("content-encoding", coding),
            ("vary", Some("accept-encoding")),
            ("content-type", Some("text/javascript; charset=utf-8")),
        ];
        check(&answer, 200, &fields);
        assert_eq!(answer.text(), body, "{accepts}");
    }
    let brotli = get(&proxy, "/app.js", "Accept-Encoding: br\r\n").await;
    let plain = get(&proxy, "/app.js", "").await;
    assert_ne!(brotli.header("etag"), plain.header("etag"));
    let tag = format!("Accept-Encoding: br\r\nIf-None-Match: {}\r\n", plain.header("etag").unwrap());
    check(&get(&proxy, "/app.js", &tag).await, 200, &[("content-encoding", Some("br"))]);
    let part = get(&proxy, "/app.js", "Accept-Encoding: br\r\nRange: bytes=0-1\r\n").await;
    check(&part, 206, &[("content-encoding", Some("br")), ("content-range", Some("bytes 0-1/6"))]);
    let parts = get(&proxy, "/app.js", "Accept-Encoding: br\r\nRange: bytes=0-0,2-2\r\n").await;
    check(&parts, 200, &[("content-encoding", Some("br"))]);
    assert_eq!(get(&proxy, "/docs/", "Accept-Encoding: gzip\r\n").await.text(), "index in gzip");
    // A folder is no sibling, and what is off is off.
    check(&get(&proxy, "/a.txt", "Accept-Encoding: br\r\n").await, 200, &[("content-encoding", None)]);
    check(
        &get(&proxy, "/a.txt", "Accept-Encoding: gzip, identity;q=0\r\n").await,
        406,
        &[("vary", Some("accept-encoding"))],
    );
    check(
        &get(&folder.serve(|it| it), "/app.js", "Accept-Encoding: br\r\n").await,
        200,
        &[("content-encoding", None), ("vary", None)],
    );
}

#[tokio::test]
async fn a_list_shows_what_can_be_asked_for() {
    let folder = site();
    folder.write("docs/<b>&\"'.txt", "x").write("docs/sub/y", "y");
    symlink("../a.txt", folder.0.join("www/docs/link")).unwrap();
    let proxy = folder.serve(|it| it.listing(true));
    let answer = get(&proxy, "/docs/", "").await;
    check(
        &answer,
        200,
        &[("content-type", Some("text/html; charset=utf-8")), ("content-security-policy", Some("default-src 'none'"))],
    );
    let links: Vec<_> = answer.text().split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(links, ["../", "./sub/", "./%3Cb%3E%26%22%27.txt", "./b.css"]);
    assert!(answer.text().contains("&lt;b&gt;&amp;&quot;&#39;.txt</a>"));
    assert_eq!(get(&proxy, "/docs/%3Cb%3E%26%22%27.txt", "").await.text(), "x");
    assert_eq!(get(&proxy, "/", "").await.text(), "<h1>home</h1>", "an index comes first");
    check(&get(&proxy, "/docs/.git/", "").await, 404, &[]);
    check(&get(&proxy, "/a.txt/", "").await, 404, &[]);
    check(&get(&proxy, "/nothing/", "").await, 404, &[]);
    let empty = folder.serve(|it| it.listing(true).index(Vec::<String>::new()));
    assert!(!get(&empty, "/", "").await.text().contains("../"), "nothing is above the root");
}

#[tokio::test]
async fn a_prefix_is_not_part_of_the_file() {
    let folder = site();
    let proxy = folder.serve(|it| it.strip_prefix("/static/v1"));
    assert_eq!(get(&proxy, "/static/v1/a.txt", "").await.text(), "0123456789");
    assert_eq!(get(&proxy, "/static/%761/", "").await.text(), "<h1>home</h1>");
    check(&get(&proxy, "/static/v1", "").await, 301, &[("location", Some("/static/v1/"))]);
    check(&get(&proxy, "/static/v1/docs", "").await, 301, &[("location", Some("/static/v1/docs/"))]);
    for other in ["/a.txt", "/static/v1a.txt", "/static/", "/static/v1/../v1/a.txt"] {
        check(&get(&proxy, other, "").await, 404, &[]);
    }
    // A filter that changes the path leads nobody to a path that it alone knows.
    let rewritten = filter_fn(|request, _| request.head_mut().set_target("/docs").map(|()| Flow::Continue));
    let files = folder.files().build().unwrap();
    let rewriting =
        Proxy::builder().filter(rewritten).upstream("files", files).route(Route::to("files")).build().unwrap();
    check(&get(&TestProxy::new(rewriting), "/papers", "").await, 301, &[("location", Some("/papers/"))]);
}

#[tokio::test]
async fn what_may_not_be_read_is_forbidden() {
    let folder = site();
    let path = folder.0.join("www/a.txt");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything.
    let expected = if fs::read(&path).is_ok() { 200 } else { 403 };
    check(&get(&folder.serve(|it| it), "/a.txt", "").await, expected, &[]);
}

/// Whoever reads a body that was cut short must not take it for a whole one.
#[tokio::test]
async fn a_file_that_becomes_shorter_breaks_the_answer_off() {
    let folder = Folder::new();
    folder.write("long", vec![b'x'; 3_000_000]);
    let (recorder, files) = (Recorder::new("r"), folder.files().build().unwrap());
    let proxy = Proxy::builder().filter(recorder.clone()).upstream("files", files).route(Route::to("files")).build();
    let mut client = TestProxy::new(proxy.unwrap()).connect();
    client.send("GET /long HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.read_head().await.header("content-length"), Some("3000000"));
    fs::File::options().write(true).open(folder.0.join("www/long")).unwrap().set_len(1_000_000).unwrap();
    assert!(client.read_to_end().await.len() <= 1_000_000);
    assert_eq!(recorder.outcome().await.error, Some(ErrorKind::FileIo));
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let folder = site();
    assert!(matches!(Files::builder(folder.0.join("nothing")).build(), Err(BuildError::Root { .. })));
    assert!(matches!(Files::builder(folder.0.join("www/a.txt")).build(), Err(BuildError::Root { .. })));
    for prefix in ["static", "", "/a/../b", "//"] {
        assert!(matches!(folder.files().strip_prefix(prefix).build(), Err(BuildError::Prefix(_))), "{prefix}");
    }
    for index in ["", "..", "a/b", "/etc/passwd", "a\0"] {
        assert!(matches!(folder.files().index([index]).build(), Err(BuildError::Index(_))), "{index:?}");
    }
}
