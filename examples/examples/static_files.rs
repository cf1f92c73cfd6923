//! The files of a folder, beside a backend: what a web server does before an application.
//!
//! # Run
//!
//! ```sh
//! cargo run --example static_files -- .      # or any other folder
//! ```
//!
//! # What you will see
//!
//! ```sh
//! curl -s  http://127.0.0.1:8080/static/                       # the folder, as a list of links
//! curl -si http://127.0.0.1:8080/static/README.md | head       # a file: its type, length, ETag and date
//! curl -si -r 0-99 http://127.0.0.1:8080/static/README.md      # its first 100 bytes: 206
//! curl -si --path-as-is http://127.0.0.1:8080/static/a/../../Cargo.toml  # not in the folder: the application's
//! curl -si http://127.0.0.1:8080/                              # the application's answer
//! ```
//!
//! Over plain HTTP/1 the kernel sends long files by itself (`sendfile`). A file `app.js.br`, `.zst` or
//! `.gz` beside `app.js` goes to clients that take it: `curl --compressed`.

use std::error::Error;

use examples::origin;
use http::StatusCode;
use proxy_core::{Cluster, Proxy, Route, TcpListener, Upstream, serve};
use proxy_files::Files;
use proxy_lb::RoundRobin;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
    let backend = origin("application", StatusCode::OK)?.to_string().parse()?;
    let application = Cluster::builder(RoundRobin::new()).backend(backend).build();
    println!("http://127.0.0.1:8080/static/ -> {folder}, the rest -> an application in this process");
    serve(listener, app(&folder, application)?).await;
    Ok(())
}

/// The folder under `/static/`, and the application everywhere else.
fn app(folder: &str, application: impl Upstream) -> Result<Proxy, Box<dyn Error>> {
    let files = Files::builder(folder).strip_prefix("/static/").precompressed(true).listing(true).build()?;
    let proxy = Proxy::builder()
        .upstream("files", files)
        .upstream("application", application)
        .route(Route::to("files").path_prefix("/static/")?)
        .route(Route::to("application"));
    Ok(proxy.build()?)
}

#[cfg(test)]
mod tests {
    use examples::exchange;
    use proxy_core::Listener;

    use super::*;

    #[tokio::test]
    async fn the_folder_is_served_beside_the_application() {
        let backend = origin("application", StatusCode::OK).unwrap().to_string().parse().unwrap();
        let application = Cluster::builder(RoundRobin::new()).backend(backend).build();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let app = app(env!("CARGO_MANIFEST_DIR"), application).unwrap();
        tokio::spawn(serve(listener, app).into_future());
        for (path, status, body) in [
            ("/static/examples/static_files.rs", "200 OK", "//! The files of a folder"),
            ("/static/", "200 OK", "<a href=\"./Cargo.toml\">Cargo.toml</a>"),
            ("/static/../Cargo.toml", "200 OK", "application: GET /static/../Cargo.toml"),
            ("/static/%2e%2e/static/..%2fCargo.toml", "200 OK", "application: GET /static/%2e%2e/"),
            ("/static/missing", "404 Not Found", ""),
            ("/anything", "200 OK", "application: GET /anything"),
        ] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            let answer = exchange(address, &request).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.contains(body), "{path}: {answer}");
        }
    }
}
