//! Limits through real sockets: wrk against `full_lb`, and two of them that count together in a real Redis.
//! Skipped where the programs are missing, unless `PROXY_REQUIRE_PEERS` is set.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use proxy_config::{Config, Server};
use proxy_ratelimit::{
    Answered, Decision, FixedWindow, Gcra, LeakyBucket, OnFailure, Quota, RedisLimiter, RedisSettings, Remote,
    SharedAlgorithm, SlidingWindow, Time, TokenBucket, Verdict,
};
use rustix::process::{Pid, Signal, kill_process};
use tests::{FullLb, free_address, have};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// One after the other: each measures a rate, on a machine of few cores.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A redis-server of our own; killed when it is dropped.
struct Redis {
    process: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Redis {
    /// On a port that the system gave out a moment ago.
    fn start() -> Self {
        Redis::start_at(free_address())
    }

    fn start_at(address: SocketAddr) -> Self {
        let folder = std::env::temp_dir().join(format!("proxy-redis-{}-{}", std::process::id(), address));
        std::fs::create_dir_all(&folder).expect("a folder of its own");
        let process = Command::new("redis-server")
            .args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string(), "--dir"])
            .arg(&folder)
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let redis = Redis { process, address, folder };
        redis.wait_until_it_answers();
        redis
    }

    fn wait_until_it_answers(&self) {
        let started = Instant::now();
        while !self.answers() {
            assert!(started.elapsed() < Duration::from_secs(20), "redis-server does not answer");
            std::thread::yield_now();
        }
    }

    fn answers(&self) -> bool {
        let mut reply = [0; 7];
        let Ok(mut stream) = TcpStream::connect(self.address) else { return false };
        let asked = stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut reply));
        asked.is_ok() && reply == *b"+PONG\r\n"
    }

    /// As `kill -9` does.
    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it is our own process");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Answers everything; killed when it is dropped.
struct Origin(Child);

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `full_lb` on two workers before an origin, each a process of its own.
struct Running {
    lb: FullLb,
    _origin: Origin,
}

impl Running {
    /// With these filters.
    fn start(filters: &str) -> Self {
        let origin = free_address();
        let process = Command::new(env!("CARGO_BIN_EXE_origin")).args(["ok", &origin.to_string()]).spawn();
        let process = Origin(process.expect("the origin starts"));
        let lb = FullLb::start(env!("CARGO_BIN_EXE_full_lb"), |address| config(address, filters, origin));
        let running = Running { lb, _origin: process };
        // From another client than those that are counted.
        while another_client(9, 1, running.address()) != [200] {}
        running
    }

    fn address(&self) -> SocketAddr {
        self.lb.address()
    }

    fn stop(self) {
        self.lb.stop();
    }
}

fn config(address: SocketAddr, filters: &str, origin: SocketAddr) -> String {
    format!(
        r#"{{ "workers": 2,
             "listeners": {{ "web": {{ "listen": ["{address}"], "http": {{ "filters": [{filters}], "upstream": "api" }} }} }},
             "upstreams": {{ "api": {{ "backends": ["{origin}"] }} }} }}"#
    )
}

fn token_bucket(more: &str) -> String {
    format!(
        r#"{{ "rate_limit": {{ "algorithm": "token_bucket", "key": "client_ip", "rate": "100/s", "burst": 200{more} }} }}"#
    )
}

fn wrk(address: SocketAddr, seconds: u32) -> Child {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c8", &format!("-d{seconds}s"), "--latency", &format!("http://{address}/")]);
    command.stdout(Stdio::piped()).spawn().expect("wrk runs")
}

/// What wrk saw.
#[derive(Debug)]
struct Load {
    total: f64,
    refused: f64,
    seconds: f64,
    p99: Duration,
}

impl Load {
    fn of(wrk: Child) -> Self {
        let output = wrk.wait_with_output().expect("wrk ends by itself");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("Socket errors"), "{text}");
        let line = |what: &str| text.lines().find(|line| line.contains(what)).unwrap_or("").trim().to_owned();
        let number = |text: &str| text.trim().parse::<f64>().unwrap_or(0.0);
        let requests = line("requests in");
        let (total, rest) = requests.split_once(" requests in ").unwrap_or_else(|| panic!("{text}"));
        let refused = line("Non-2xx").rsplit(':').next().map_or(0.0, number);
        let seconds = number(rest.split('s').next().unwrap_or(""));
        // Other lines end with shares, such as 68.99%.
        let p99 = text.lines().find_map(|line| line.trim().strip_prefix("99%")).unwrap_or_else(|| panic!("{text}"));
        Load { total: number(total), refused, seconds, p99: duration(p99.trim()) }
    }

    fn passed(&self) -> f64 {
        self.total - self.refused
    }

    /// What a bucket of 100/s and 200 lets pass in that time, give or take `tolerance`.
    #[track_caller]
    fn check(passed: f64, seconds: f64, tolerance: f64) {
        let expected = 200.0 + 100.0 * seconds;
        println!("{passed} passed in {seconds} s, expected {expected}");
        assert!((passed / expected - 1.0).abs() <= tolerance, "{passed} passed in {seconds} s, expected {expected}");
    }
}

/// `1.23ms`, `45.00us`, `1.10s`.
fn duration(text: &str) -> Duration {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text.trim_end_matches(unit).parse().unwrap_or(f64::MAX);
    match unit {
        "us" => Duration::from_secs_f64(number / 1e6),
        "ms" => Duration::from_secs_f64(number / 1e3),
        _ => Duration::from_secs_f64(number),
    }
}

/// The status of one request from this address.
async fn request_from(source: Ipv4Addr, to: SocketAddr) -> std::io::Result<u16> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let mut stream = socket.connect(to).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line"))
}

/// The statuses of so many requests from another client, one after the other.
fn another_client(last: u8, count: usize, to: SocketAddr) -> Vec<u16> {
    Runtime::new().expect("a runtime").block_on(async {
        let mut statuses = Vec::new();
        for _ in 0..count {
            statuses.push(request_from(Ipv4Addr::new(127, 0, 0, last), to).await.expect("the server answers"));
        }
        statuses
    })
}

#[test]
fn a_client_gets_its_rate_and_another_is_not_affected() {
    if !have(&["wrk"]) {
        return;
    }
    let _alone = alone();
    let server = Running::start(&token_bucket(""));
    let load = wrk(server.address(), 10);
    // Under the load, and within what this client may: none of these may be refused.
    assert_eq!(another_client(2, 200, server.address()), [200; 200]);
    let load = Load::of(load);
    assert!(load.refused > 0.0, "{load:?}");
    Load::check(load.passed(), load.seconds, 0.02);
    assert_eq!(another_client(2, 100, server.address()), [200; 100]);
    server.stop();
}

/// Two servers on one Redis under load for so long: what passed both together, and the loads.
fn two_servers(redis: &str, seconds: u32) -> (f64, Load, Load) {
    let filters = token_bucket(&format!(r#", "name": "both", "redis": {redis}"#));
    let (one, two) = (Running::start(&filters), Running::start(&filters));
    let loads = [wrk(one.address(), seconds), wrk(two.address(), seconds)];
    let [first, second] = loads.map(Load::of);
    one.stop();
    two.stop();
    (first.passed() + second.passed(), first, second)
}

#[test]
fn two_servers_on_one_redis_pass_one_rate() {
    if !have(&["wrk", "redis-server"]) {
        return;
    }
    let _alone = alone();
    let redis = Redis::start();
    // The deadline is not what is tried here, and the machine may be busy.
    let exact = format!(r#"{{ "url": "redis://{}", "deadline": "5s", "on_failure": "closed" }}"#, redis.address);
    let (passed, first, second) = two_servers(&exact, 10);
    assert!(first.passed() > 0.0 && second.passed() > 0.0, "{first:?} {second:?}");
    Load::check(passed, first.seconds.max(second.seconds), 0.03);
}

#[test]
fn two_servers_that_tell_redis_now_and_then_pass_nearly_one_rate() {
    if !have(&["wrk", "redis-server"]) {
        return;
    }
    let _alone = alone();
    let redis = Redis::start();
    let settings = format!(r#"{{ "url": "redis://{}", "deadline": "5s", "approximate": "50ms" }}"#, redis.address);
    let (passed, first, second) = two_servers(&settings, 10);
    // Both bursts at first, of which one is paid back; and at the end what the last interval let pass.
    Load::check(passed, first.seconds.max(second.seconds), 0.05);
}

/// Redis is killed while requests come in, and started again: `policy` decides in between.
fn killed_under_load(policy: &str) -> (Load, Load, Load) {
    let mut redis = Redis::start();
    // A machine with much else to do must not look like a Redis that is gone.
    let settings = format!(
        r#", "name": "kill", "redis": {{ "url": "redis://{}", "deadline": "1s", "on_failure": "{policy}" }}"#,
        redis.address
    );
    let server = Running::start(&token_bucket(&settings));
    let before = Load::of(wrk(server.address(), 1));
    let during = wrk(server.address(), 3);
    // The kill must fall into the load: so many more connections have been served by then.
    another_client(2, 50, server.address());
    redis.kill();
    let during = Load::of(during);
    let again = Redis::start_at(redis.address);
    // By itself, within the longest pause between two tries.
    let started = Instant::now();
    while again.keys() == 0 {
        another_client(3, 1, server.address());
        assert!(started.elapsed() < Duration::from_secs(20), "Redis is back and not used");
    }
    let after = Load::of(wrk(server.address(), 2));
    server.stop();
    (before, during, after)
}

impl Redis {
    fn keys(&self) -> u32 {
        let mut stream = TcpStream::connect(self.address).expect("Redis listens");
        stream.write_all(b"DBSIZE\r\n").expect("Redis reads");
        let mut reply = [0; 32];
        let count = stream.read(&mut reply).expect("Redis answers");
        let text = String::from_utf8_lossy(&reply[..count]).into_owned();
        text.trim().trim_start_matches(':').parse().expect("a number")
    }
}

#[test]
fn without_redis_each_policy_does_what_it_says() {
    if !have(&["wrk", "redis-server"]) {
        return;
    }
    let _alone = alone();
    for policy in ["open", "closed", "local"] {
        let (before, during, after) = killed_under_load(policy);
        println!("{policy}: before {before:?}, Redis killed {during:?}, and back {after:?}");
        assert!(before.refused > 0.0 && after.refused > 0.0, "{policy}: {before:?} {after:?}");
        // 300 before the kill, at most; and what the policy lets pass in the seconds after it.
        match policy {
            "open" => assert!(during.passed() > 2000.0, "{during:?}"),
            "closed" => assert!(during.passed() < 700.0, "{during:?}"),
            _ => assert!(during.passed() > 300.0 && during.passed() < 1300.0, "{during:?}"),
        }
        // After the first three failures nobody waits: the deadline bounds the others.
        assert!(during.p99 < Duration::from_millis(200), "{policy}: {during:?}");
    }
}

/// A Redis that hangs is worse than one that is gone: its kernel still takes what it is sent. Three requests wait
/// for the deadline, and afterwards one now and then.
#[test]
fn a_redis_that_hangs_costs_no_more_than_the_deadline() {
    if !have(&["wrk", "redis-server"]) {
        return;
    }
    let _alone = alone();
    let redis = Redis::start();
    let settings =
        format!(r#", "name": "hang", "redis": {{ "url": "redis://{}", "on_failure": "open" }}"#, redis.address);
    let server = Running::start(&token_bucket(&settings));
    redis.signal(Signal::STOP);
    let during = Load::of(wrk(server.address(), 3));
    redis.signal(Signal::CONT);
    println!("Redis stopped: {during:?}");
    assert!(during.refused == 0.0 && during.total > 1000.0, "{during:?}");
    assert!(during.p99 < Duration::from_millis(200), "{during:?}");
    // And back, by itself.
    let started = Instant::now();
    while redis.keys() == 0 {
        another_client(3, 1, server.address());
        assert!(started.elapsed() < Duration::from_secs(20), "Redis is back and not used");
    }
    server.stop();
}

/// What Redis counts is what the algorithm would count here.
#[tokio::test]
async fn every_algorithm_counts_in_redis() {
    if !have(&["redis-server"]) {
        return;
    }
    let redis = Redis::start();
    // Redis' clock is real: no window may end meanwhile.
    let three = std::num::NonZeroU64::new(3).expect("not zero");
    let quota = Quota::new(three, LONG).expect("a quota");
    count_to_three(&redis, "gcra", Gcra::new(quota)).await;
    count_to_three(&redis, "token_bucket", TokenBucket::new(quota)).await;
    count_to_three(&redis, "fixed_window", FixedWindow::new(quota)).await;
    count_to_three(&redis, "sliding_window", SlidingWindow::new(quota)).await;
    // One leaves at once; three wait an interval, two, and three.
    let leaky = limiter(&redis, "leaky", LeakyBucket::new("3/h".parse().unwrap()));
    let mut delays = Vec::new();
    for _ in 0..4 {
        delays.push(decide(&leaky, b"a", 1).await.delay().as_secs().div_ceil(60));
    }
    assert_eq!(delays, [0, 20, 40, 60]);
    assert!(!decide(&leaky, b"a", 1).await.is_allowed());
}

/// Windows of this length end in 2029, and then in 2031.
const LONG: Duration = Duration::from_secs(1000 * 24 * 3600);

fn limiter<A: SharedAlgorithm>(redis: &Redis, name: &str, algorithm: A) -> RedisLimiter {
    // The deadline is not what is tried here.
    let settings = RedisSettings::new(&format!("redis://{}", redis.address), name).deadline(Duration::from_secs(10));
    RedisLimiter::new(algorithm, &settings.on_failure(OnFailure::Closed)).expect("a URL")
}

async fn decide(limiter: &RedisLimiter, key: &[u8], cost: u64) -> Decision {
    match limiter.check(key, Time::now(), cost).await {
        Answered::Decided(decision) => decision,
        other => panic!("{other:?}"),
    }
}

async fn count_to_three<A: SharedAlgorithm>(redis: &Redis, name: &str, algorithm: A) {
    let limiters = [limiter(redis, name, algorithm.clone()), limiter(redis, name, algorithm)];
    // Longer than what is stored as it is, and with what would end a hash tag.
    let long = [&b"}{"[..], &[b'x'; 1000]].concat();
    for key in [&b"a"[..], b"", &long] {
        let first = decide(&limiters[0], key, 1).await;
        assert!(first.is_allowed() && first.remaining == 2, "{name}: {first:?}");
        let second = decide(&limiters[1], key, 2).await;
        assert!(second.is_allowed() && second.remaining == 0, "{name}: {second:?}");
        let refused = decide(&limiters[0], key, 1).await;
        let Verdict::Denied { retry_after: Some(after) } = refused.verdict else { panic!("{name}: {refused:?}") };
        assert!(after > Duration::ZERO && after <= LONG * 2, "{name}: {refused:?}");
        let never = decide(&limiters[0], key, 4).await;
        assert_eq!(never.verdict, Verdict::Denied { retry_after: None }, "{name}");
        // Free of charge.
        assert!(decide(&limiters[1], key, 0).await.is_allowed(), "{name}");
    }
}

#[test]
fn who_needs_redis_does_not_start_without_it() {
    let nobody = free_address();
    let bind = |policy: &str| {
        let redis = format!(r#", "redis": {{ "url": "redis://{nobody}", "on_failure": "{policy}" }}"#);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config: Config = config(any, &token_bucket(&redis), nobody).parse().expect("a configuration");
        let runtime = Runtime::new().expect("a runtime");
        runtime.block_on(async { Server::start(&config).map(drop).map_err(|error| error.to_string()) })
    };
    let refused = format!("listeners.web.http.filters[0]: Redis at {nobody} does not answer");
    assert_eq!(bind("closed"), Err(refused));
    assert_eq!(bind("open"), Ok(()));
    assert_eq!(bind("local"), Ok(()));
}
