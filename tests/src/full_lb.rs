//! The example `full_lb` in a process of its own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::free_address;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A `full_lb` that runs until this is dropped.
#[derive(Debug)]
pub struct FullLb {
    process: Child,
    address: SocketAddr,
    file: PathBuf,
}

impl FullLb {
    /// Starts `program`, which is `env!("CARGO_BIN_EXE_full_lb")`, and waits until it listens. What it serves,
    /// `config` says, given the address to listen on.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(program: &str, config: impl FnOnce(SocketAddr) -> String) -> Self {
        FullLb::start_with(program, |_| {}, config)
    }

    /// The same with more said to the process, such as variables.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_with(
        program: &str,
        say: impl FnOnce(&mut Command),
        config: impl FnOnce(SocketAddr) -> String,
    ) -> Self {
        let address = free_address();
        let file = std::env::temp_dir().join(format!("full_lb-{}-{}.json", std::process::id(), address));
        fs::write(&file, config(address)).expect("a file of its own");
        let mut command = command(program, &file);
        say(&mut command);
        let process = command.spawn().expect("it starts");
        let mut lb = FullLb { process, address, file };
        lb.wait_until_it_listens();
        lb
    }

    /// Starts a process that takes over from this one, and waits until this one has ended.
    ///
    /// # Panics
    /// If the new process ends, or the old one ends otherwise than well.
    pub fn upgrade(&mut self, program: &str) {
        let new = self.start_next(program);
        let mut old = std::mem::replace(&mut self.process, new);
        let started = Instant::now();
        let status = loop {
            let ended = self.process.try_wait().expect("it is our own process");
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "the old process goes on: {ended:?}");
            match old.try_wait().expect("it is our own process") {
                Some(status) => break status,
                None => std::thread::yield_now(),
            }
        };
        assert!(status.success(), "{status}");
    }

    /// Starts a process that asks this one for its sockets.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_next(&self, program: &str) -> Child {
        command(program, &self.file).arg("--upgrade").spawn().expect("it starts")
    }

    /// Whether it runs.
    ///
    /// # Panics
    /// If that cannot be found out.
    pub fn runs(&mut self) -> bool {
        self.process.try_wait().expect("it is our own process").is_none()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Puts another configuration into its file, as editors do it: by renaming.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn rewrite(&self, config: &str) {
        let new = self.file.with_extension("new");
        fs::write(&new, config).expect("a file of its own");
        fs::rename(new, &self.file).expect("a file of its own");
    }

    /// Tells it to read its file.
    ///
    /// # Panics
    /// If it does not run.
    pub fn hang_up(&self) {
        kill_process(Pid::from_child(&self.process), Signal::HUP).expect("it is our own process");
    }

    /// Stops it as an operator does: by SIGTERM.
    ///
    /// # Panics
    /// If it does not end well.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).expect("it is our own process");
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }

    fn wait_until_it_listens(&mut self) {
        let started = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.process.try_wait().expect("it is our own process");
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "full_lb does not listen: {ended:?}");
            std::thread::yield_now();
        }
    }
}

fn command(program: &str, file: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(file).arg("--upgrade-socket").arg(file.with_extension("sock")).env("RUST_LOG", "error");
    command
}

impl Drop for FullLb {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.file);
        let _ = fs::remove_file(self.file.with_extension("sock"));
    }
}
