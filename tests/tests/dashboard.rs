//! The dashboard in a real browser, before a `full_lb` under load. Skipped where there is no Chromium, unless
//! `PROXY_REQUIRE_PEERS` is set. To look at it oneself:
//!
//! ```sh
//! SCREENSHOTS=/tmp cargo test -p tests --test dashboard
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tests::{FullLb, free_address, have};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

const PATIENCE: Duration = Duration::from_secs(60);

/// An origin in a process of its own.
struct Origin(Child, SocketAddr);

impl Origin {
    fn start(name: &str) -> Self {
        let address = free_address();
        let process = Command::new(env!("CARGO_BIN_EXE_origin")).args([name, &address.to_string()]).spawn();
        Origin(process.expect("it starts"), address)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A browser and its profile; gone when it is dropped, also before it listens.
struct Chromium {
    process: Child,
    profile: PathBuf,
}

/// A browser with one page, driven by its DevTools protocol.
struct Browser {
    _process: Chromium,
    page: WebSocketStream<TcpStream>,
    calls: u64,
    /// What the page did meanwhile.
    events: Vec<Value>,
}

impl Browser {
    async fn start() -> Self {
        let profile = std::env::temp_dir().join(format!("dashboard-{}", std::process::id()));
        let mut command = Command::new("chromium");
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-default-apps"]);
        command.arg(format!("--user-data-dir={}", profile.display()));
        command.args(["--remote-debugging-port=0", "about:blank"]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("chromium starts");
        let process = Chromium { process, profile };
        let page = tokio::time::timeout(PATIENCE, Self::page(&process.profile)).await.expect("chromium listens");
        let mut browser = Browser { _process: process, page, calls: 0, events: Vec::new() };
        for domain in ["Page", "Runtime", "Network", "Log", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser
    }

    async fn page(profile: &Path) -> WebSocketStream<TcpStream> {
        let address = loop {
            // Where it listens; in a second line, a path.
            let told = std::fs::read_to_string(profile.join("DevToolsActivePort")).unwrap_or_default();
            match told.lines().next().and_then(|port| port.parse().ok()) {
                Some(port) => break SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        loop {
            let targets: Value = serde_json::from_str(&get(address, "/json").await).unwrap_or_default();
            let page = targets.as_array().and_then(|all| all.iter().find(|target| target["type"] == "page").cloned());
            if let Some(url) = page.as_ref().and_then(|page| page["webSocketDebuggerUrl"].as_str()) {
                let stream = TcpStream::connect(address).await.expect("it listens");
                return client_async(url, stream).await.expect("it speaks WebSocket").0;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let call = json!({ "id": self.calls, "method": method, "params": parameters }).to_string();
        self.page.send(Message::text(call)).await.expect("it listens");
        loop {
            let message = self.page.next().await.expect("it is open").expect("it is open");
            let Ok(text) = message.to_text() else { continue };
            let Ok(mut said) = serde_json::from_str::<Value>(text) else { continue };
            match said["id"] == json!(self.calls) {
                true => return said["result"].take(),
                false => self.events.push(said),
            }
        }
    }

    /// The value of an expression, or of what it promises.
    async fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", parameters).await;
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression holds.
    async fn until(&mut self, expression: &str) {
        let milliseconds = PATIENCE.as_millis();
        let watch = format!(
            "new Promise((done) => {{ const end = Date.now() + {milliseconds};
               const look = () => {expression} ? done(true) : Date.now() > end ? done(false) : setTimeout(look, 50); look(); }})"
        );
        if self.value(&watch).await != json!(true) {
            let shown = self.value("document.body.innerText").await;
            panic!("{expression} never holds of {shown}");
        }
    }

    /// Shows the page at this size; keeps a picture where that is asked for.
    async fn show(&mut self, name: &str, width: u32, height: u32, theme: &str) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
        let choose = format!(
            "{{ const theme = document.getElementById('theme'); theme.value = '{theme}'; theme.dispatchEvent(new Event('change')); }}"
        );
        self.value(&choose).await;
        // What has changed is laid out and painted, and no colour is on its way to another.
        let settled = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(async () => {
            await Promise.all(document.getAnimations().map((it) => it.finished.catch(() => 0))); done(true); })))";
        self.value(settled).await;
        let Some(folder) = std::env::var_os("SCREENSHOTS") else { return };
        let picture = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": true })).await;
        let picture = BASE64_STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("a picture");
        std::fs::write(PathBuf::from(folder).join(format!("{name}.png")), picture).expect("a folder");
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// The body of the answer; empty where there is none.
async fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, path).await.unwrap_or_default()
}

async fn exchange(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    // Chromium keeps the connection open all the same.
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// Text that is too faint to read, by WCAG 2.2 §1.4.3.
const FAINT: &str = r#"
(() => {
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (color) => numbers(color).slice(0, 3).map((it) => it / 255).map((it) => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4)
    .reduce((sum, it, index) => sum + it * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (node) => { for (; node; node = node.parentElement) { const color = getComputedStyle(node).backgroundColor; if ((numbers(color)[3] ?? 1) > 0) return color; } return "rgb(255, 255, 255)"; };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || node.disabled || !node.checkVisibility() || node.closest(".sr, .skip, option")) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push(`${node.tagName} ${node.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(faint)];
})()"#;

/// What a screen reader would call by its kind only.
fn nameless(tree: &Value) -> Vec<String> {
    const NAMED: [&str; 9] =
        ["button", "textbox", "searchbox", "spinbutton", "combobox", "image", "table", "region", "heading"];
    let nodes = tree["nodes"].as_array().into_iter().flatten().filter(|node| node["ignored"] != json!(true));
    let wrong = nodes.filter(|node| {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        NAMED.contains(&role) && node["name"]["value"].as_str().unwrap_or_default().trim().is_empty()
    });
    wrong.map(ToString::to_string).collect()
}

/// Errors of scripts and of the console, and requests to other hosts.
fn complaints(events: &[Value], admin: SocketAddr) -> Vec<String> {
    let own = format!("http://{admin}/");
    let wrong = events.iter().filter(|event| match event["method"].as_str() {
        Some("Runtime.exceptionThrown") => true,
        Some("Runtime.consoleAPICalled") => true,
        Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
        Some("Network.requestWillBeSent") => {
            let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
            !url.starts_with(&own) && !url.starts_with("data:")
        }
        _ => false,
    });
    wrong.map(ToString::to_string).collect()
}

const DRAINED: &str = "document.querySelector('[data-backend]')";

#[tokio::test]
async fn the_dashboard_shows_traffic_and_drains_a_backend_by_a_click() {
    if !have(&["chromium"]) {
        return;
    }
    let (one, two, admin) = (Origin::start("one"), Origin::start("two"), free_address());
    let server = FullLb::start(env!("CARGO_BIN_EXE_full_lb"), |address| {
        format!(
            r#"{{ "workers": 1, "admin": {{ "listen": "{admin}" }},
                 "listeners": {{ "web": {{ "listen": ["{address}"], "http": {{ "upstream": "api", "filters": [
                     {{ "rate_limit": {{ "name": "per-client", "algorithm": "gcra", "rate": "1000000/s", "key": "client_ip" }} }} ] }} }} }},
                 "upstreams": {{ "api": {{ "backends": ["{}", "{}"] }} }} }}"#,
            one.1, two.1
        )
    });
    let front = server.address();
    let load = tokio::spawn(async move {
        loop {
            get(front, "/").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let mut browser = Browser::start().await;
    browser.call("Page.navigate", json!({ "url": format!("http://{admin}/") })).await;
    browser.until("document.getElementById('readiness')?.textContent === 'ready'").await;
    browser.until("document.querySelectorAll('[data-backend]').length === 2").await;
    browser.until("Number(document.querySelector('#tiles dd')?.firstChild.data) > 0").await;
    browser.until("document.querySelector('#limits td')?.textContent === 'per-client'").await;
    // The program's own log follows what is asked for.
    let ask = "fetch('/api/v1/log-level', { method: 'PUT', headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ level: 'warn' }) }).then((answer) => answer.json()).then((told) => told.level)";
    assert_eq!(browser.value(ask).await, json!("warn"));
    // The plot moves.
    let drawn = "document.getElementById('rate').toDataURL()";
    let before = browser.value(drawn).await;
    browser.until(&format!("{drawn} !== {before}")).await;

    for (name, width, height, theme) in [
        ("light", 1440, 1000, "light"),
        ("dark", 1440, 1000, "dark"),
        ("phone", 360, 800, "light"),
        ("wall", 2560, 1440, "dark"),
    ] {
        browser.show(name, width, height, theme).await;
        assert_eq!(browser.value(FAINT).await, json!([]), "{name}");
        let beyond = browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(beyond, json!(0), "{name}");
        let tree = browser.call("Accessibility.getFullAXTree", json!({})).await;
        assert_eq!(nameless(&tree), Vec::<String>::new(), "{name}");
    }

    browser.until(&format!("Number({DRAINED}.querySelector('.rate').textContent) > 0")).await;
    browser.value(&format!("{DRAINED}.querySelector('.act button').click()")).await;
    browser.until(&format!("{DRAINED}.querySelector('.state').textContent === 'draining'")).await;
    browser.until(&format!("{DRAINED}.querySelector('.rate').textContent === '0'")).await;
    browser
        .until("Number(document.querySelectorAll('[data-backend]')[1].querySelector('.rate').textContent) > 0")
        .await;
    let id = browser.value(&format!("{DRAINED}.dataset.backend")).await;
    let told: Value = serde_json::from_str(
        &get(admin, &format!("/api/v1/upstreams/api/backends/{}", id.as_str().expect("an id"))).await,
    )
    .expect("JSON");
    assert_eq!((&told["state"], &told["source"]), (&json!("draining"), &json!("operator")));
    browser.value(&format!("[...{DRAINED}.querySelectorAll('button')].at(-1).click()")).await;
    browser.until(&format!("{DRAINED}.querySelector('.state').textContent === 'healthy'")).await;
    assert_eq!(complaints(&browser.events, admin), Vec::<String>::new());
    load.abort();
    drop(browser);
    server.stop();
}
