//! Something to balance: three backends in this process, and a certificate to be reached with over TLS.

use std::fmt::Write as _;
use std::future::IntoFuture;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use examples::{Authority, Origin};
use http::StatusCode;
use proxy_config::{Config, ConfigErrors, Server};
use proxy_core::serve;

const NAMES: [&str; 3] = ["one", "two", "three"];

/// From the port of plain clients to that of those with TLS: 8080 and 8443.
const TLS: u16 = 363;

/// The backends, which listen already.
pub(crate) struct Demo {
    authority: Authority,
    /// Its certificate and its key.
    files: (PathBuf, PathBuf),
    sockets: [TcpListener; 3],
    addresses: [SocketAddr; 3],
    /// Files to be served; the authority's folder goes with it, and so does this one in there.
    folder: PathBuf,
    /// The access log; it goes when the demo does.
    log: PathBuf,
}

impl Demo {
    /// Opens a socket for each backend, on ports that are free.
    pub(crate) fn bind() -> io::Result<Self> {
        let bind = || TcpListener::bind("127.0.0.1:0");
        let sockets = [bind()?, bind()?, bind()?];
        let [one, two, three] = &sockets;
        let addresses = [one.local_addr()?, two.local_addr()?, three.local_addr()?];
        let log = std::env::temp_dir().join(format!("full_lb-{}-{}.log", std::process::id(), addresses[0].port()));
        let authority = Authority::new("full_lb-demo")?;
        let files = authority.issue("demo", &["localhost", "127.0.0.1"])?;
        let folder = files.0.with_file_name("files");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("hello.txt"), "a file\n")?;
        Ok(Demo { authority, files, folder, sockets, addresses, log })
    }

    /// The configuration of a load balancer over the three.
    pub(crate) fn config(&self, listen: SocketAddr, admin: SocketAddr) -> Result<Config, ConfigErrors> {
        let ([one, two, three], log) = (self.addresses, self.log.to_string_lossy());
        let mut secure = listen;
        // The system chooses both, or neither.
        secure.set_port(if listen.port() == 0 { 0 } else { listen.port().wrapping_add(TLS) });
        let (certificate, key) = &self.files;
        let folder = &self.folder;
        let raw = SocketAddr::new(listen.ip(), 0);
        let text = format!(
            r#"{{
                "admin": {{ "listen": "{admin}" }},
                "access_log": {{ "format": "json", "path": {log:?} }},
                "listeners": {{ "web": {{
                    "listen": ["{listen}"],
                    "http": {{
                        "filters": ["request_id"],
                        "routes": [
                            {{ "match": {{ "headers": {{ "x-canary": "1" }} }}, "upstream": "canary" }},
                            {{ "match": {{ "path_prefix": "/files/" }}, "upstream": "files" }},
                            {{ "match": {{ "path": "/limited" }}, "upstream": "all", "filters": [
                                {{ "rate_limit": {{ "algorithm": "token_bucket", "key": "client_ip", "rate": "2/s", "burst": 3 }} }}
                            ] }},
                            {{ "upstream": "all" }}
                        ]
                    }}
                }}, "web-tls": {{
                    "listen": ["{secure}"],
                    "tls": {{ "certificates": [{{ "cert": {certificate:?}, "key": {key:?} }}] }},
                    "http": {{ "filters": ["request_id", "hsts"], "upstream": "all" }}
                }},
                "raw": {{ "listen": ["{raw}"], "tcp": {{ "upstream": "all" }} }} }},
                "upstreams": {{
                    "all": {{
                        "backends": ["{one}", "{two}", "{three}"],
                        "health_check": {{ "http": {{ "path": "/healthz" }}, "interval": "1s" }},
                        "outlier_detection": {{ "consecutive_failures": 5, "eject": "10s" }},
                        "slow_start": "5s"
                    }},
                    "canary": {{ "backends": ["{three}"] }},
                    "files": {{ "files": {{ "root": {folder:?}, "strip_prefix": "/files/", "listing": true }} }}
                }}
            }}"#
        );
        text.parse()
    }

    /// Starts the backends. They run until the runtime ends.
    pub(crate) fn serve(&self) -> io::Result<()> {
        for (name, socket) in NAMES.into_iter().zip(&self.sockets) {
            let listener = proxy_core::TcpListener::from_std(socket.try_clone()?)?;
            let origin = Origin { name, status: StatusCode::OK };
            let proxy = origin.proxy().map_err(io::Error::other)?;
            tokio::spawn(serve(listener, proxy).into_future());
        }
        Ok(())
    }

    /// What to try.
    pub(crate) fn tour(&self, server: &Server) -> String {
        let addresses = server.addresses();
        let url = |scheme: &str, name: &str| {
            let found = addresses.iter().find(|(other, _)| other == name);
            found.map_or_else(String::new, |(_, at)| format!("{scheme}://{at}"))
        };
        let (front, raw, secure) = (url("http", "web"), url("http", "raw"), url("https", "web-tls"));
        let ca = self.authority.ca();
        let ca = ca.display();
        let mut text = format!("A load balancer over three backends in this process.\n\n  {front}\n  {secure}\n");
        for (name, address) in NAMES.into_iter().zip(self.addresses) {
            let _ = writeln!(text, "    -> {name:<6} http://{address}");
        }
        let admin = server.admin_address().map_or_else(String::new, |address| format!("http://{address}"));
        let (log, [one, ..]) = (self.log.display(), self.addresses);
        let _ = write!(
            text,
            "
Try in another terminal:

  for i in 1 2 3 4 5 6; do curl -s {front}/ | head -1; done  # each backend in turn
  curl -s {front}/                                     # what a backend is told about you
  curl -si {front}/                                    # the answer carries an x-request-id
  curl -s -H 'x-canary: 1' {front}/                    # a route of its own: always `three`
  for i in 1 2 3 4 5; do curl -si {front}/limited; done  # three at once, then 429 and when to come back
  for i in 1 2 3; do curl -s {raw}/ | head -1; done    # raw TCP, whatever is spoken: each connection another backend
  curl -si {front}/files/hello.txt                     # a file, sent by the kernel; try -r 0-4, -I, -z, /files/
  curl -si --cacert {ca} {secure}/  # over TLS
  wrk -c64 -d5 {front}/                                # load

  {admin}/                                       # the dashboard, for a browser
  cargo run --release --example lb_top                 # the same in a terminal
  curl -s {admin}/metrics | grep proxy_requests_total  # what Prometheus sees
  curl -s {admin}/api/v1/upstreams/all/backends        # the backends, their health and what they did
  curl -s -X PATCH -H 'content-type: application/json' -d '{{\"state\":\"draining\"}}' \\
    {admin}/api/v1/upstreams/all/backends/{one}        # no more requests for `one`; \"healthy\" takes it back
  tail -f {log}                                        # a line of JSON for each request

The backends are asked for /healthz every second; RUST_LOG=debug says more. To see them killed, stopped and brought back:

  cargo run --release --example lb_lab

Ctrl-C lets running requests finish; a second one ends at once.
A configuration of your own: cargo run --release --example full_lb -- examples/lb.json
"
        );
        text
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.log);
    }
}
