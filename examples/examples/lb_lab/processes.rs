//! Origins in processes of their own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// An origin in a process of its own, which ends with it.
pub(crate) struct Process {
    name: String,
    address: SocketAddr,
    child: Child,
}

impl Process {
    /// On a port that is free, and kept for it when it is started again.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        Ok(Process { name: name.to_owned(), address, child: spawn(name, address)? })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.child = spawn(&self.name, self.address)?;
        Ok(())
    }

    /// As `kill -STOP` does: it hangs, and its kernel still accepts connections for it.
    pub(crate) fn stop(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    pub(crate) fn go_on(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }
}

fn spawn(name: &str, address: SocketAddr) -> io::Result<Child> {
    let program = std::env::current_exe()?;
    Command::new(program).args(["--origin", name, &address.to_string()]).stdin(Stdio::piped()).spawn()
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
