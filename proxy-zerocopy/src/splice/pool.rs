use std::{cell::RefCell, io, os::fd::OwnedFd};

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

/// 256 KiB: a quarter of what an unprivileged process may ask for (`/proc/sys/fs/pipe-max-size`).
/// It costs ring slots, not memory: pages belong to it only while bytes are inside.
pub(super) const CAPACITY: usize = 256 * 1024;

/// Below this a buffer is faster. A user past `/proc/sys/fs/pipe-user-pages-soft` gets pipes of
/// two pages, which would cost a pair of system calls per 8 KiB.
const MIN_CAPACITY: usize = 64 * 1024;

/// Free pipes a thread keeps, two descriptors each. Pipes are held only while bytes are in flight,
/// so few are in use at once.
const MAX_FREE: usize = 32;

thread_local! {
    static FREE: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
}

/// The descriptors of an empty pipe.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) read: OwnedFd,
    pub(super) write: OwnedFd,
}

impl Ends {
    /// One from the thread's pool, or a new one.
    pub(super) fn take() -> io::Result<Self> {
        match FREE.with_borrow_mut(Vec::pop) {
            Some(ends) => Ok(ends),
            None => Self::open(),
        }
    }

    /// Gives an empty pipe back; closes it where the pool is full.
    pub(super) fn give_back(self) {
        // An ending thread has lost its pool already; then the pipe is simply closed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < MAX_FREE {
                free.push(self);
            }
        });
    }

    fn open() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let granted = fcntl_setpipe_size(&write, CAPACITY).or_else(|_| fcntl_getpipe_size(&write))?;
        if granted < MIN_CAPACITY {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(Self { read, write })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_bounded() {
        let many: Vec<_> = (0..2 * MAX_FREE).filter_map(|_| Ends::open().ok()).collect();
        assert!(many.len() > MAX_FREE);
        many.into_iter().for_each(Ends::give_back);
        assert_eq!(FREE.with_borrow(Vec::len), MAX_FREE);
    }
}
