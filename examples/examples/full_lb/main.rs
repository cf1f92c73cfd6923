//! A load balancer, whole: a JSON configuration, hot reload, graceful shutdown, a demo to start with.
//!
//! # Run
//!
//! ```sh
//! cargo run --release --example full_lb                               # a demo with three backends
//! cargo run --release --example full_lb -- examples/lb.json           # a configuration of your own
//! cargo run --release --example full_lb -- examples/lb.json --check   # is it valid?
//! cargo run --release --example full_lb -- --print-schema             # for editors: JSON Schema
//! RUST_LOG=debug cargo run --release --example full_lb                # says more
//! ```
//!
//! # What you will see
//!
//! The demo prints what to try: `curl http://127.0.0.1:8080/` is answered by `one`, `two`, `three`, in
//! turn. `--check` prints `ok`, or every mistake with its place, and exits with 2. Ctrl-C (or SIGTERM)
//! lets running requests finish; a second one ends at once. Write another configuration into the file while it
//! runs, or send SIGHUP: the log says what changed, and no request is lost; a bad file changes nothing. SIGUSR1 opens
//! the access log anew, once its file has been moved away.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use proxy_config::{Config, Server, ServerError};

mod demo;
mod failure;
mod follow;
mod inspect;
mod process;

use demo::Demo;
use failure::Failure;
use follow::Followed;
use inspect::{check, print};

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
    /// Where the demo listens
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
        Some(file) => run_file(file),
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

fn run_file(file: &Path) -> Result<(), Failure> {
    let config = Config::load(file).map_err(Failure::of_config)?;
    run(&config, Some(file), || {
        app(&config).map_err(|error| {
            let advice =
                format!("choose another address there, in {}; `ss -ltnp` says who has this one", file.display());
            Failure::of_server(&error, &advice)
        })
    })
}

fn run_demo(listen: SocketAddr, admin: SocketAddr) -> Result<(), Failure> {
    let demo = Demo::bind().map_err(Failure::at_run_time)?;
    let config = demo.config(listen, admin).map_err(Failure::of_config)?;
    run(&config, None, || {
        let advice = "choose other addresses: cargo run --release --example full_lb -- --listen 127.0.0.1:8081 --admin 127.0.0.1:9901";
        let server = app(&config).map_err(|error| Failure::of_server(&error, advice))?;
        demo.serve().map_err(Failure::at_run_time)?;
        println!("{}", demo.tour(&server));
        Ok(server)
    })
}

fn app(config: &Config) -> Result<Server, ServerError> {
    Server::start(config)
}

fn run(config: &Config, file: Option<&Path>, start: impl FnOnce() -> Result<Server, Failure>) -> Result<(), Failure> {
    let runtime = process::runtime(config.worker_count()).map_err(Failure::at_run_time)?;
    let ended = runtime.block_on(async {
        let stop = process::signals(1).map_err(Failure::at_run_time)?;
        let stop_at_once = process::signals(2).map_err(Failure::at_run_time)?;
        let rotations = follow::rotated().map_err(Failure::at_run_time)?;
        let followed = file.map(Followed::new).transpose().map_err(Failure::at_run_time)?;
        let server = start()?;
        for (listener, address) in server.addresses() {
            tracing::info!(listener, %address, "listening");
        }
        if let Some(address) = server.admin_address() {
            tracing::info!(%address, "administration");
        }
        let serve = async {
            tokio::select! {
                () = stop => {}
                () = follow::run(followed, &server) => {}
                () = follow::rotations(rotations, &server) => {}
            }
            tracing::info!("stopping; another signal ends at once");
            server.drain().await;
        };
        tokio::select! {
            () = serve => Ok(()),
            () = stop_at_once => Err(Failure::at_run_time("stopped before all requests had finished")),
        }
    });
    runtime.shutdown_background();
    ended
}

#[cfg(test)]
mod tests;
