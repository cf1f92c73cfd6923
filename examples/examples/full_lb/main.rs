//! A load balancer, whole: a JSON configuration, hot reload, graceful shutdown, a demo to start with.
//!
//! # Run
//!
//! ```sh
//! cargo run --release --example full_lb                               # a demo with three backends
//! cargo run --release --example full_lb -- examples/lb.json           # a configuration of your own
//! cargo run --release --example full_lb -- examples/lb.json --check   # is it valid?
//! cargo run --release --example full_lb -- --print-schema             # for editors: JSON Schema
//! # another program, without losing a connection: the second takes over from the first
//! cargo run --release --example full_lb -- examples/lb.json --upgrade-socket /tmp/lb.sock
//! cargo run --release --example full_lb -- examples/lb.json --upgrade-socket /tmp/lb.sock --upgrade
//! RUST_LOG=debug cargo run --release --example full_lb                # says more
//! ```
//!
//! # What you will see
//!
//! The demo prints what to try: `curl http://127.0.0.1:8080/` is answered by `one`, `two`, `three`, in
//! turn; it speaks TLS as well, with a certificate that it makes at its start. `--check` prints `ok`, or every mistake
//! with its place, certificates that are not good among them, and exits with 2. Ctrl-C (or SIGTERM)
//! lets running requests finish; a second one ends at once. Write another configuration into the file while it
//! runs, or send SIGHUP: the log says what changed, and no request is lost; a bad file changes nothing. SIGUSR1 opens
//! the access log anew, once its file has been moved away. SIGUSR2 starts what is installed now under the same name, with
//! `--upgrade`. `examples/full_lb.service` is for systemd.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use proxy_config::{Config, Inherited, Server, ServerError};

mod demo;
mod failure;
mod follow;
mod inspect;
mod process;
mod run;
mod systemd;
mod takeover;

use failure::Failure;
use inspect::{check, print};
use run::{run_demo, run_file};
use takeover::Takeover;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A load balancer. Without a configuration it runs a demo over three backends of its own.
#[derive(Parser)]
#[command(name = "full_lb")]
struct Args {
    /// The configuration to run, a JSON file
    config: Option<PathBuf>,
    /// Only say whether the configuration is valid: exits with 0 if it is, with 2 if not
    #[arg(long, requires = "config")]
    check: bool,
    /// Only print the JSON Schema of configurations, for editors
    #[arg(long, conflicts_with = "config")]
    print_schema: bool,
    /// Where a new process may ask this one for its sockets: a Unix socket, made by the first process
    #[arg(long, value_name = "PATH", requires = "config")]
    upgrade_socket: Option<PathBuf>,
    /// Take over from the process that is at that socket; it drains and ends once this one serves
    #[arg(long, requires = "upgrade_socket")]
    upgrade: bool,
    /// Where the demo listens; for TLS at the port that is 363 higher
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", conflicts_with = "config")]
    listen: SocketAddr,
    /// Where the demo shows metrics and takes backends out of service
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900", conflicts_with = "config")]
    admin: SocketAddr,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // `--help` arrives here too, with exit code 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    process::log_to_stderr();
    let ended = match &args.config {
        Some(file) if args.check => check(file),
        Some(file) => run_file(file, Takeover { socket: args.upgrade_socket, upgrade: args.upgrade }),
        None if args.print_schema => print(&Config::json_schema()),
        None => run_demo(args.listen, args.admin),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit_code)
        }
    }
}

fn app(config: &Config, inherited: &Inherited) -> Result<Server, ServerError> {
    let server = Server::start_with(config, inherited)?;
    server.set_logging(process::Level);
    Ok(server)
}

#[cfg(test)]
mod tests;
