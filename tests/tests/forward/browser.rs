//! Chromium by the proxy, and what it makes of `/proxy.pac`.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::Command;

use async_trait::async_trait;
use proxy_core::{Listener, TcpListener, serve};
use proxy_forward::{
    Answer, BasicAuth, Destination, ForwardUpstream, Lookup, ParentProxy, Parents, PasswordFile, Ports, Resolver,
    ResolverSettings, ServerNames,
};

use crate::{Stage, have};

/// Names below `.test` are here, and nowhere else: who gets a page of theirs has it by the proxy.
struct Here;

#[async_trait]
impl Lookup for Here {
    async fn lookup(&self, name: &str) -> io::Result<Answer> {
        match name.ends_with(".test") {
            true => Ok(Answer::new([[127, 0, 0, 1].into()])),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// A page, parts of which come from a second host over TLS, and which says what it got.
fn write_pages(stage: &Stage) {
    let tls = format!("https://tls.test:{}", stage.https);
    let page = format!(
        "<!DOCTYPE html><title>page</title><link rel=stylesheet href=style.css>\n\
         <script>var got = [];</script><script src=script.js></script><script src={tls}/secure.js></script>\n\
         <img src=picture.svg onload=\"got.push('picture')\"><img src={tls}/picture.svg onload=\"got.push('secure picture')\">\n\
         <script>addEventListener('load', async () => {{\n\
           got.push(getComputedStyle(document.body).marginLeft);\n\
           got.push((await (await fetch('page')).text()).trim());\n\
           document.body.dataset.got = got.sort().join(); }});</script><body></body>"
    );
    let picture = "<svg xmlns='http://www.w3.org/2000/svg' width='4' height='4'><rect width='4' height='4'/></svg>";
    for (name, text) in [
        ("index.html", page.as_str()),
        ("style.css", "body { margin-left: 77px }"),
        ("script.js", "got.push('script')"),
        ("secure.js", "got.push('secure script')"),
        ("picture.svg", picture),
    ] {
        fs::write(stage.folder.join("served").join(name), text).expect("a file of its own");
    }
}

/// What the page is once it is loaded.
fn load(stage: &Stage, arguments: &[&str], url: &str) -> String {
    let mut chromium = Command::new("chromium");
    chromium.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]);
    chromium.args(["--disable-background-networking", "--disable-component-update", "--disable-default-apps"]);
    chromium.args(["--ignore-certificate-errors", "--virtual-time-budget=20000", "--dump-dom"]);
    chromium.arg(format!("--user-data-dir={}", stage.folder.join("profile").display())).args(arguments).arg(url);
    stage.output(&mut chromium)
}

/// A proxy with a file of users, for everything but `/proxy.pac`.
fn proxy(stage: &Stage, authenticates: bool) -> SocketAddr {
    let _inside = stage.runtime.enter();
    let builder = ForwardUpstream::builder().allow_private("127.0.0.0/8".parse().expect("a range"));
    let builder = builder.connect_ports(Ports::of([stage.https])).server_names(ServerNames::Required);
    let upstream = builder.resolver(Resolver::new(Here, ResolverSettings::default())).build();
    let pac = upstream.pac_file();
    let proxy = upstream.into_proxy().filter(pac);
    let proxy = match authenticates {
        true => proxy.filter(BasicAuth::new(PasswordFile::load(stage.folder.join("users")).expect("a file of users"))),
        false => proxy,
    };
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let address = listener.local_addr().expect("an address");
    stage.runtime.spawn(serve(listener, proxy.build().expect("it has a route")).into_future());
    address
}

#[test]
fn chromium_loads_a_page_and_what_is_on_it() {
    if !have(&["chromium"], &[]) {
        return;
    }
    let stage = Stage::start(false);
    write_pages(&stage);
    let proxy = proxy(&stage, false);
    let url = format!("http://page.test:{}/index.html", stage.http);
    for found_by in [format!("--proxy-server=http://{proxy}"), format!("--proxy-pac-url=http://{proxy}/proxy.pac")] {
        let page = load(&stage, &[&found_by], &url);
        let all = "data-got=\"77px,picture,script,secure picture,secure script,the page\"";
        assert!(page.contains(all), "{found_by}: {page}");
    }
}

#[test]
fn a_browser_gets_the_pac_file_without_a_password() {
    if !have(&["curl"], &[]) {
        return;
    }
    let stage = Stage::start(false);
    let proxy = proxy(&stage, true);
    let direct = |path: &str, more: &[&str]| stage.curl(&[more, &["-i", &format!("http://{proxy}{path}")]].concat());
    let file = direct("/proxy.pac?v=1", &[]);
    assert!(file.starts_with("HTTP/1.1 200 OK\r\n") && file.contains("application/x-ns-proxy-autoconfig"), "{file}");
    assert!(file.contains(&format!("var proxy = \"PROXY {proxy}\";")), "{file}");
    assert!(direct("/proxy.pac", &["-I"]).starts_with("HTTP/1.1 200 OK\r\n"));
    for other in ["/", "/proxy.pac/", "/proxy.PAC"] {
        assert!(direct(other, &[]).starts_with("HTTP/1.1 407 "), "{other}");
    }
    assert!(direct("/proxy.pac", &["-d", "x"]).starts_with("HTTP/1.1 407 "));
    // By the proxy it is another host's, or nobody's.
    let by_proxy = |url: &str| stage.curl(&["-i", "-x", &format!("http://{proxy}"), url]);
    assert!(by_proxy(&format!("http://127.0.0.1:{}/proxy.pac", stage.http)).starts_with("HTTP/1.1 407 "));
}

/// Where a browser goes, by the script as it runs in one.
#[test]
fn the_pac_file_says_what_the_rules_say() {
    if !have(&["chromium"], &[]) {
        return;
    }
    let stage = Stage::start(false);
    let _inside = stage.runtime.enter();
    let parent = ParentProxy::http().single("127.0.0.1:1".parse().expect("an address"));
    let parents = Parents::default()
        .direct(["*.here.example", "here.example", "9.9.9.9"])
        .and_then(|parents| parents.via(["intranet", "a.here.example"], parent))
        .expect("patterns");
    let upstream = ForwardUpstream::builder().allow_private("10.1.0.0/16".parse().expect("a range")).parents(parents);
    let at = Destination::parse("proxy.example:3128", None).expect("a destination");
    let script = upstream.build().pac_file().script(&at, false);
    let cases = [
        ("http://one.example/", "PROXY"),
        ("https://ONE.example:8443/x", "PROXY"),
        ("wss://one.example/", "PROXY"),
        ("ftp://one.example/", "DIRECT"),
        ("http://here.example/", "DIRECT"),
        ("http://b.here.example./", "DIRECT"),
        // The first rule decides.
        ("http://a.here.example/", "DIRECT"),
        ("http://nowhere.example/", "PROXY"),
        ("http://there.example/", "PROXY"),
        ("http://intranet/", "PROXY"),
        ("http://printer/", "DIRECT"),
        ("http://localhost:8080/", "DIRECT"),
        ("http://a.localhost/", "DIRECT"),
        ("http://127.0.0.1/", "DIRECT"),
        ("http://10.0.0.1/", "DIRECT"),
        ("http://10.1.2.3/", "PROXY"),
        ("http://172.16.0.1/", "DIRECT"),
        ("http://172.32.0.1/", "PROXY"),
        ("http://192.168.1.1/", "DIRECT"),
        ("http://100.64.0.1/", "DIRECT"),
        ("http://255.255.255.255/", "DIRECT"),
        ("http://8.8.8.8/", "PROXY"),
        ("http://9.9.9.9/", "DIRECT"),
        ("http://[::1]/", "DIRECT"),
        ("http://[fe80::1]/", "DIRECT"),
        ("http://[fd00::1]/", "DIRECT"),
        ("http://[2620:fe::fe]/", "PROXY"),
    ];
    let urls: Vec<_> = cases.iter().map(|(url, _)| *url).collect();
    // A browser calls it with the host between the slashes.
    let page = format!(
        "<!DOCTYPE html><body><script>{script}\n\
         var answers = {urls:?}.map((url) => FindProxyForURL(url, /^[a-z]+:\\/\\/(\\[[^\\]]*\\]|[^\\/:]*)/.exec(url)[1]));\n\
         document.body.dataset.answers = answers.join();</script>"
    );
    let file = stage.folder.join("pac.html");
    fs::write(&file, page).expect("a file of its own");
    let page = load(&stage, &[], &format!("file://{}", file.display()));
    let answers = page.split("data-answers=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("answers");
    for ((url, expected), answer) in cases.iter().zip(answers.split(',')) {
        let expected = if *expected == "PROXY" { "PROXY proxy.example:3128" } else { "DIRECT" };
        assert_eq!(answer, expected, "{url}");
    }
    assert_eq!(answers.split(',').count(), cases.len());
}
