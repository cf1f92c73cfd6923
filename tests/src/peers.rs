//! Programs that are not ours.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

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

/// An address nobody listens on. Another process may take it before it is used, which is unlikely.
///
/// # Panics
/// If there is no free port.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}
