//! What active checks cost: 10,000 backends, asked by TCP every two seconds.
//!
//! ```sh
//! cargo bench -p proxy-lb --bench checks
//! ```
//!
//! The backends are 127.1.0.0 to 127.1.39.15, behind one listener on the loopback device. What is printed is the
//! processor time of the one thread that checks, the kernel's work for its side of each connection included.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use proxy_core::{Backend, BackendSet, BackendState, Instant};
use proxy_lb::{Check, CheckFailure, HealthChecker, HealthSettings, StartState, TcpCheck};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};

const BACKENDS: u16 = 10_000;
const INTERVAL: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(10);

fn main() -> io::Result<()> {
    // `cargo test --benches` only wants to know that it builds and starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let port = listen()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(port));
    Ok(())
}

/// Accepts for every address of the loopback device, and for no other device.
fn listen() -> io::Result<u16> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind_device(Some(b"lo"))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    socket.listen(4096)?;
    let listener = TcpListener::from(socket);
    let port = listener.local_addr()?.port();
    listener.set_nonblocking(true)?;
    std::thread::spawn(move || accept(&listener));
    Ok(port)
}

/// In batches: waking the other side's thread for each connection would be this side's time.
fn accept(listener: &TcpListener) {
    loop {
        while let Ok(accepted) = listener.accept() {
            drop(accepted);
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

async fn measure(port: u16) {
    let asked = Arc::new(AtomicU64::new(0));
    let set = BackendSet::new((0..BACKENDS).map(|number| {
        let [high, low] = number.to_be_bytes();
        Backend::new(SocketAddr::from(([127, 1, high, low], port)).into())
    }));
    let mut settings = HealthSettings::default();
    settings.interval = INTERVAL;
    settings.start = StartState::DownUntilChecked;
    let check = Counting(TcpCheck::new(), Arc::clone(&asked));
    let checking = tokio::spawn(HealthChecker::new(set.clone(), check, settings).run());

    tokio::time::sleep(WARM_UP).await;
    let (before, cpu, clock) = (asked.load(Ordering::Relaxed), cpu_time(), Instant::now());
    tokio::time::sleep(MEASURED).await;
    let (count, cpu, wall) = (asked.load(Ordering::Relaxed) - before, cpu_time() - cpu, clock.elapsed());
    checking.abort();

    let healthy = set.backends().iter().filter(|backend| backend.state() == BackendState::Healthy).count();
    println!(
        "{BACKENDS} TCP checks every {INTERVAL:?}: {:.0} a second, {healthy} backends healthy, {:.1} % of one core, \
         {:.1} µs a check",
        count as f64 / wall.as_secs_f64(),
        100.0 * cpu.as_secs_f64() / wall.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / count as f64,
    );
}

/// Of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

struct Counting(TcpCheck, Arc<AtomicU64>);

#[async_trait]
impl Check for Counting {
    async fn check(&self, backend: &Backend) -> Result<(), CheckFailure> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.check(backend).await
    }
}
