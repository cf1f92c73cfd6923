//! A choice that a breaker agrees with.

use super::Cluster;
use crate::breaker::BreakerPermit;
use crate::clock::Instant;
use crate::pool::Pool;
use crate::{Backend, Breaker, Context, ErrorKind, RequestHead, Result, Selector};

/// Choices that lose a race with other requests, until the request is refused.
const RACES: u32 = 3;

/// A backend, and what its breaker wants back.
pub(super) type Choice = (Backend, Option<BreakerPermit>);

impl<S: Selector, P: Pool> Cluster<S, P> {
    /// A backend that may be tried now: `chosen`, or what the selector chooses.
    pub(super) fn choose(
        &self,
        chosen: Option<&Backend>,
        head: Option<&RequestHead>,
        ctx: &Context,
        tried: &[Backend],
        now: Instant,
    ) -> Result<Choice> {
        if let Some(backend) = chosen {
            return self.admit(backend, ctx.attempts + 1, now);
        }
        match &self.core.breaker {
            None => Ok((self.pick(head, ctx, tried, now)?, None)),
            Some(breaker) => self.choose_admitted(&**breaker, head, ctx, tried, now),
        }
    }

    fn admit(&self, backend: &Backend, number: u32, now: Instant) -> Result<Choice> {
        let Some(breaker) = &self.core.breaker else { return Ok((backend.clone(), None)) };
        let permit = breaker.admit(backend, number, now).ok_or(ErrorKind::CircuitOpen)?;
        Ok((backend.clone(), Some(permit)))
    }

    fn choose_admitted(
        &self,
        breaker: &dyn Breaker,
        head: Option<&RequestHead>,
        ctx: &Context,
        tried: &[Backend],
        now: Instant,
    ) -> Result<Choice> {
        let number = ctx.attempts + 1;
        let chosen = self.pick(head, ctx, tried, now)?;
        if let Some(permit) = breaker.admit(&chosen, number, now) {
            return Ok((chosen, Some(permit)));
        }
        let mut refused = tried.to_vec();
        self.core.set.with(|snapshot| {
            let all = snapshot.candidates().iter();
            refused.extend(all.filter(|backend| !breaker.permits(backend, number, now)).cloned());
        });
        refused.push(chosen);
        for _ in 0..RACES {
            let chosen = self.pick(head, ctx, &refused, now)?;
            if refused.contains(&chosen) {
                break;
            }
            if let Some(permit) = breaker.admit(&chosen, number, now) {
                return Ok((chosen, Some(permit)));
            }
            refused.push(chosen);
        }
        Err(ErrorKind::CircuitOpen.into())
    }
}
