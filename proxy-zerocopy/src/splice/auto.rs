use std::io;

use tokio::net::TcpStream;

use super::{copied::Copied, kernel::KernelPipe};

/// A kernel pipe where there is one, else a buffer.
#[derive(Debug)]
pub(super) enum Auto {
    Kernel(KernelPipe),
    Copied(Copied),
}

impl Auto {
    pub(super) fn take() -> Self {
        KernelPipe::take().map_or_else(|_| Self::Copied(Copied::take()), Self::Kernel)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Kernel(pipe) => pipe.len(),
            Self::Copied(buffer) => buffer.len(),
        }
    }

    pub(super) fn fill(&mut self, from: &TcpStream, max: usize) -> io::Result<usize> {
        match self {
            Self::Kernel(pipe) => pipe.fill(from, max),
            Self::Copied(buffer) => buffer.fill(from, max),
        }
    }

    pub(super) fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        match self {
            Self::Kernel(pipe) => pipe.drain(to),
            Self::Copied(buffer) => buffer.drain(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_preferred() {
        assert!(matches!(Auto::take(), Auto::Kernel(_)));
    }
}
