use std::net::SocketAddr;
use std::path::PathBuf;

use clap::CommandFactory;
use examples::exchange;
use tokio::sync::oneshot;

use super::demo::Demo;
use super::*;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `client` against the demo, which stops afterwards.
async fn with_demo<F: Future<Output = ()>>(client: impl FnOnce(SocketAddr) -> F) {
    with_listener("web", client).await;
}

async fn with_listener<F: Future<Output = ()>>(name: &str, client: impl FnOnce(SocketAddr) -> F) {
    let demo = Demo::bind().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let config = demo.config(any, any).unwrap();
    let server = app(&config, &Inherited::none()).unwrap();
    demo.serve().unwrap();
    let (_, address) = server.addresses().into_iter().find(|(other, _)| other == name).unwrap();
    let (tour, admin) = (demo.tour(&server), server.admin_address().unwrap());
    assert!(tour.contains(&format!("http://{address}/")) && tour.contains(&format!("http://{admin}/metrics ")));
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(async { drop(stopped.await) }));
    client(address).await;
    drop(stop);
    serving.await.unwrap();
}

async fn get(address: SocketAddr, path: &str, fields: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n{fields}\r\n");
    exchange(address, &request).await.unwrap()
}

#[tokio::test]
async fn the_demo_reaches_three_backends_in_turn() {
    with_demo(async |address| {
        for name in ["one", "two", "three", "one", "two", "three"] {
            let answer = get(address, "/", "").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.to_lowercase().contains("\r\nx-request-id: "), "{answer}");
            assert!(answer.contains(&format!("\r\n\r\n{name}: GET /\n")), "{answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_demo_serves_files() {
    with_demo(async |address| {
        let answer = get(address, "/files/hello.txt", "Range: bytes=2-\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 206") && answer.ends_with("\r\n\r\nfile\n"), "{answer}");
        assert!(get(address, "/files/", "").await.contains("<a href=\"./hello.txt\">hello.txt</a>"));
    })
    .await;
}

#[tokio::test]
async fn the_demo_shows_what_a_backend_is_sent() {
    with_demo(async |address| {
        let answer = get(address, "/", "x-canary: 1\r\n").await.to_lowercase();
        for line in
            ["three: get /\n", "host: demo\n", "x-canary: 1\n", "x-forwarded-for: 127.0.0.1\n", "x-request-id: "]
        {
            assert!(answer.contains(line), "{line:?} in {answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_demo_relays_raw_connections() {
    with_listener("raw", async |address| {
        let answers = [get(address, "/", "").await, get(address, "/", "").await];
        let names = answers.map(|answer| answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned());
        assert!(names.iter().all(|name| name.contains(": GET /\n")) && names[0] != names[1], "{names:?}");
    })
    .await;
}

#[tokio::test]
async fn the_demo_limits_one_path() {
    with_demo(async |address| {
        let mut answers = Vec::new();
        // Two a second come back meanwhile; no machine is that slow.
        while answers.len() < 100 && !answers.last().is_some_and(|last: &String| last.starts_with("HTTP/1.1 429")) {
            answers.push(get(address, "/limited", "").await);
        }
        assert!(answers.len() > 3, "{answers:?}");
        let refused = answers.last().unwrap().to_lowercase();
        assert!(refused.starts_with("http/1.1 429") && refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
        assert!(get(address, "/", "").await.starts_with("HTTP/1.1 200"));
    })
    .await;
}

#[test]
fn the_configuration_beside_the_examples_is_valid() {
    check(&folder().join("lb.json")).unwrap();
}

/// The example of the documentation names a certificate that is not there.
#[test]
fn check_lists_files_that_are_no_good() {
    let failure = check(&folder().join("../proxy-config/tests/data/lb.example.json")).unwrap_err();
    assert_eq!(failure.exit_code, 2);
    let missing = ": listeners.web-tls.tls.certificates[0].cert: cert.pem: No such file or directory";
    assert!(failure.message.contains(missing), "{failure}");
}

#[test]
fn check_and_serving_refuse_a_bad_configuration_alike() {
    let file = std::env::temp_dir().join(format!("full_lb-{}.json", std::process::id()));
    let text = r#"{ "listeners": { "web": { "listen": ["127.0.0.1:0"], "http": { "upstream": "apii" } } },
        "upstreams": { "api": { "backends": ["127.0.0.1:9001"], "selektor": "random" } } }"#;
    std::fs::write(&file, text).unwrap();
    let failures = [check(&file), run_file(&file, Takeover::none())].map(Result::unwrap_err);
    std::fs::remove_file(&file).unwrap();
    for failure in failures {
        assert_eq!(failure.exit_code, 2);
        let unknown = r#"listeners.web.http.upstream: no upstream named "apii"; did you mean "api"?"#;
        assert!(failure.message.contains(unknown), "{failure}");
        assert!(failure.message.contains("upstreams.api.selektor: unknown key"), "{failure}");
    }
}

#[test]
fn a_taken_port_is_named_with_a_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let failure = run_demo(address, "127.0.0.1:0".parse().unwrap()).unwrap_err();
    assert_eq!(failure.exit_code, 1);
    let message = format!("listeners.web.listen[0]: cannot listen on {address}: Address already in use");
    assert!(failure.message.starts_with(&message), "{failure}");
    assert!(failure.message.contains("--listen 127.0.0.1:8081"), "{failure}");
}

#[test]
fn arguments() {
    Args::command().debug_assert();
    assert!(Args::try_parse_from(["full_lb", "--check"]).is_err());
    assert!(Args::try_parse_from(["full_lb", "lb.json", "--listen", "127.0.0.1:1"]).is_err());
    assert!(Args::try_parse_from(["full_lb", "lb.json", "--admin", "127.0.0.1:1"]).is_err());
    assert!(Args::try_parse_from(["full_lb", "--check", "lb.json"]).unwrap().check);
    assert!(Args::try_parse_from(["full_lb", "lb.json", "--upgrade"]).is_err());
    assert!(Args::try_parse_from(["full_lb", "lb.json", "--upgrade-socket", "s", "--upgrade"]).unwrap().upgrade);
    assert!(Args::try_parse_from(["full_lb", "--print-schema"]).unwrap().print_schema);
    assert!(Args::try_parse_from(["full_lb", "--print-schema", "lb.json"]).is_err());
}
