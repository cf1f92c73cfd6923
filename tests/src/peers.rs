//! Programs that are not ours.

use std::net::{SocketAddr, TcpListener};

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

fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// An address nobody listens on. Another process may take it before it is used, which is unlikely.
///
/// # Panics
/// If there is no free port.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}
