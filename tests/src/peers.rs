//! Programs that are not ours.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicU8, Ordering};

/// Whether these programs are there; `false` says on standard error that the test is skipped.
///
/// # Panics
/// If one is missing and `PROXY_REQUIRE_PEERS` is set.
pub fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !exists(program)).collect();
    let required = std::env::var_os("PROXY_REQUIRE_PEERS").is_some();
    assert!(missing.is_empty() || !required, "not installed: {missing:?}");
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} not installed");
    }
    missing.is_empty()
}

/// Debian's Python, whose modules are Debian packages.
pub const PYTHON: &str = "/usr/bin/python3";

/// Whether Python has this module; `false` says on standard error that the test is skipped.
///
/// # Panics
/// If it has not, and `PROXY_REQUIRE_PEERS` is set.
pub fn have_module(module: &str) -> bool {
    let mut command = Command::new(PYTHON);
    command.args(["-c", &format!("import {module}")]).stdout(Stdio::null()).stderr(Stdio::null());
    let found = command.status().is_ok_and(|status| status.success());
    let required = std::env::var_os("PROXY_REQUIRE_PEERS").is_some();
    assert!(found || !required, "not installed: python3-{module}");
    if !found {
        eprintln!("skipped: python3-{module} not installed");
    }
    found
}

fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// An address nobody listens on.
///
/// On Linux each has an address of the loopback network of its own, so that no client's port can be the same by chance.
///
/// # Panics
/// If there is no free port.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((loopback(), 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

#[cfg(target_os = "linux")]
fn loopback() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    // From 1 to 254: neither the network nor its broadcast.
    let last = NEXT.fetch_add(1, Ordering::Relaxed) % 254 + 1;
    Ipv4Addr::new(127, high | 0x80, low, last)
}

#[cfg(not(target_os = "linux"))]
fn loopback() -> Ipv4Addr {
    Ipv4Addr::LOCALHOST
}
