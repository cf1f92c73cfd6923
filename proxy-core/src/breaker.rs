//! Whether an attempt may begin at a backend.

use std::sync::Arc;

use crate::clock::Instant;
use crate::{Attempt, Backend};

/// Whether an attempt may begin at a backend: the seam of circuit breakers and of limits per backend.
///
/// It is asked once a backend was chosen. Where it refuses, another one is chosen; where it refuses all,
/// the request is answered with 503 (`circuit_open`). It must neither wait nor allocate.
pub trait Breaker: Send + Sync + 'static {
    /// Lets the attempt begin, or refuses it. Each attempt that begins ends with one call of
    /// [`on_end`](Self::on_end), which gets the permit back. `number` counts the attempts of the request;
    /// from 2 on they are retries.
    fn admit(&self, backend: &Backend, number: u32, now: Instant) -> Option<BreakerPermit>;

    /// Whether [`admit`](Self::admit) would let an attempt begin, as far as can be told without beginning it.
    fn permits(&self, backend: &Backend, number: u32, now: Instant) -> bool {
        let _ = (backend, number, now);
        true
    }

    /// An attempt that was let through ended.
    fn on_end(&self, backend: &Backend, permit: BreakerPermit, attempt: &Attempt) {
        let _ = (backend, permit, attempt);
    }
}

/// What a breaker gives to an attempt and gets back: a number that means something to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPermit(u64);

impl BreakerPermit {
    /// A permit with this number.
    pub fn new(number: u64) -> Self {
        BreakerPermit(number)
    }

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl<B: Breaker + ?Sized> Breaker for Arc<B> {
    fn admit(&self, backend: &Backend, number: u32, now: Instant) -> Option<BreakerPermit> {
        (**self).admit(backend, number, now)
    }

    fn permits(&self, backend: &Backend, number: u32, now: Instant) -> bool {
        (**self).permits(backend, number, now)
    }

    fn on_end(&self, backend: &Backend, permit: BreakerPermit, attempt: &Attempt) {
        (**self).on_end(backend, permit, attempt);
    }
}
