//! Requests for files, against the bytes that are there: no path leads out, and every part is the part it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use http::{HeaderName, HeaderValue, Method};
use http_body_util::BodyExt;
use proxy_core::{Body, Context, Request, RequestHead, Response, Upstream};
use proxy_files::Files;

use crate::feedback;
use crate::mutate::Mutator;

const CONTENT: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Lies beside the folder, and under a hidden name in it.
const SECRET: &[u8] = b"secret: not for anybody";

const PATHS: [&str; 12] = [
    "/a.txt",
    "/",
    "/d",
    "/d/",
    "/d/b",
    "/.h",
    "/up",
    "/../secret",
    "/%2e%2e/secret",
    "/d/..%2f..%2fsecret",
    "//a.txt",
    "/a.txt/",
];
const FIELDS: [&str; 10] = [
    "range: bytes=",
    "range: bytes=0-3",
    "if-range: \"x\"",
    "if-none-match: *",
    "if-match: W/\"a\", \"b\"",
    "if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT",
    "if-unmodified-since: Sun, 06 Nov 1994 08:49:37 GMT",
    "accept-encoding: gzip;q=0.5, br",
    "accept-encoding: identity;q=0",
    "range: bytes=-5, 7-8",
];

/// A path, and lines of fields.
pub(crate) fn grow(random: &mut Mutator) -> Vec<u8> {
    let mut text = random.pick(&PATHS).to_owned();
    for _ in 0..random.below(3) {
        text += random.pick(&["/", "..", "%2f", "%00", "\\", ".", "%", "a.txt", "?x", "%2e"]);
    }
    for _ in 0..random.below(4) {
        text += "\n";
        text += random.pick(&FIELDS);
        for _ in 0..random.below(4) {
            text += random.pick(&["0", "9", "-", ",", "35-36", "99999999999999999999", " ", "\"", "*", ";q=1"]);
        }
    }
    text.into_bytes()
}

pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let Ok(mut head) = RequestHead::new(Method::GET, lines.next().unwrap_or_default()) else { return Ok(()) };
    for (name, value) in lines.take(50).filter_map(|line| line.split_once(':')) {
        let field = (HeaderName::try_from(name), HeaderValue::from_str(value.trim()));
        if let (Ok(name), Ok(value)) = field {
            head.headers_mut().append(name, value);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut context = Context::internal();
        let request = Request::new(head.clone(), Body::empty());
        let answer = served().send(request, &mut context).await.map_err(|error| format!("{error:?}"))?;
        verify(&head, answer).await
    })
}

async fn verify(head: &RequestHead, answer: Response) -> Result<(), String> {
    let (answered, body) = answer.into_parts();
    let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
    let (status, range) = (answered.status().as_u16(), answered.headers().get_str("content-range"));
    feedback::note((status, range.is_some(), answered.headers().contains("content-encoding")));
    if body.windows(SECRET.len()).any(|window| window == SECRET) {
        return Err(format!("a secret for {:?}", head.path()));
    }
    match (status, range) {
        (206, Some(range)) => part(range, &body),
        (206, None) if body.len() > CONTENT.len() + 16 * 200 => Err(format!("{} bytes of parts", body.len())),
        (200, _) if head.path() == "/a.txt" && body != CONTENT => Err(format!("{body:?} is not the file")),
        (200 | 206 | 301 | 304 | 404 | 406 | 412 | 416, _) => Ok(()),
        (other, _) => Err(format!("status {other}")),
    }
}

/// The bytes are those that `Content-Range` says.
fn part(range: &str, body: &[u8]) -> Result<(), String> {
    let bounds =
        range.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')).and_then(|(part, _)| part.split_once('-'));
    let (first, last) = bounds.ok_or_else(|| format!("{range:?} is no range"))?;
    let number = |text: &str| text.parse::<usize>().map_err(|error| format!("{range:?}: {error}"));
    let (first, last) = (number(first)?, number(last)?);
    match CONTENT.get(first..=last).is_some_and(|expected| expected == body) || body == b"b" {
        true => Ok(()),
        false => Err(format!("{body:?} is not {range}")),
    }
}

/// One folder for the whole run, made anew.
fn served() -> &'static Files {
    static SERVED: OnceLock<Files> = OnceLock::new();
    SERVED.get_or_init(|| {
        let root = folder(&std::env::temp_dir().join(format!("proxy-fuzz-files-{}", std::process::id())));
        Files::builder(root.expect("a folder of its own")).precompressed(true).build().expect("it was just made")
    })
}

fn folder(path: &Path) -> std::io::Result<PathBuf> {
    let root = path.join("root");
    fs::create_dir_all(root.join("d"))?;
    fs::write(path.join("secret"), SECRET)?;
    fs::write(root.join(".h"), SECRET)?;
    fs::write(root.join("a.txt"), CONTENT)?;
    fs::write(root.join("d/b"), "b")?;
    if !root.join("up").is_symlink() {
        std::os::unix::fs::symlink("../secret", root.join("up"))?;
    }
    Ok(root)
}
