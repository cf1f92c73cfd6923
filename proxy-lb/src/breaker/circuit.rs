//! One circuit: closed, open, half open.

use std::time::Duration;

use proxy_core::Instant;

use super::BreakerSettings;

/// One circuit: closed, open, half open, and closed again.
#[derive(Debug)]
pub(super) struct Circuit {
    state: State,
    /// How long it is open, or would be next.
    term: Duration,
    first: Duration,
    longest: Duration,
    trials_at_a_time: u32,
    successes: u32,
    /// Counts openings, so that what began before one is no trial after it.
    round: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open(Instant),
    HalfOpen { running: u32, successes: u32 },
}

/// What an attempt was let through as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// The circuit was closed.
    Free,
    /// As a trial after this opening.
    Trial(u64),
}

impl Pass {
    pub(super) fn number(self) -> u64 {
        match self {
            Pass::Free => 0,
            Pass::Trial(round) => round,
        }
    }

    pub(super) fn from_number(number: u64) -> Self {
        if number == 0 { Pass::Free } else { Pass::Trial(number) }
    }
}

/// What became of the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    None,
    Opened(Instant),
    Closed,
}

impl Circuit {
    /// A closed one.
    pub(super) fn new(settings: &BreakerSettings) -> Self {
        Circuit {
            state: State::Closed,
            term: settings.open,
            first: settings.open,
            longest: settings.max_open.max(settings.open),
            trials_at_a_time: settings.half_open_requests.max(1),
            successes: settings.successes.max(1),
            round: 0,
        }
    }

    /// Whether it would let an attempt through.
    pub(super) fn permits(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open(until) => until <= now,
            State::HalfOpen { running, .. } => running < self.trials_at_a_time,
        }
    }

    /// Lets an attempt through, or not.
    pub(super) fn pass(&mut self, now: Instant) -> Option<Pass> {
        if !self.permits(now) {
            return None;
        }
        match &mut self.state {
            State::Closed => return Some(Pass::Free),
            State::Open(_) => self.state = State::HalfOpen { running: 1, successes: 0 },
            State::HalfOpen { running, .. } => *running += 1,
        }
        Some(Pass::Trial(self.round))
    }

    /// Opens it, if it is closed: one that is open already stays as it is.
    pub(super) fn open(&mut self, now: Instant) -> Turn {
        if self.state != State::Closed {
            return Turn::None;
        }
        self.open_again(now)
    }

    fn open_again(&mut self, now: Instant) -> Turn {
        let until = now + self.term;
        self.state = State::Open(until);
        self.term = (self.term * 2).min(self.longest);
        self.round += 1;
        Turn::Opened(until)
    }

    /// An attempt ended; `None` says nothing about the backend.
    pub(super) fn end(&mut self, pass: Pass, success: Option<bool>, now: Instant) -> Turn {
        let State::HalfOpen { running, successes } = &mut self.state else { return Turn::None };
        if pass != Pass::Trial(self.round) {
            return Turn::None;
        }
        *running -= 1;
        match success {
            None => Turn::None,
            Some(false) => self.open_again(now),
            Some(true) => {
                *successes += 1;
                if *successes < self.successes {
                    return Turn::None;
                }
                (self.state, self.term) = (State::Closed, self.first);
                Turn::Closed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn circuit() -> Circuit {
        let settings = BreakerSettings {
            open: 5 * S,
            max_open: 15 * S,
            half_open_requests: 2,
            successes: 2,
            ..BreakerSettings::default()
        };
        Circuit::new(&settings)
    }

    #[test]
    fn open_half_open_and_closed_again() {
        let (mut circuit, start) = (circuit(), Instant::now());
        assert_eq!(circuit.pass(start), Some(Pass::Free));
        assert_eq!(circuit.open(start), Turn::Opened(start + 5 * S));
        assert_eq!(circuit.open(start + S), Turn::None, "it is open");
        assert_eq!(circuit.pass(start + 4 * S), None);
        let now = start + 5 * S;
        let (one, two) = (circuit.pass(now).unwrap(), circuit.pass(now).unwrap());
        assert_eq!(circuit.pass(now), None, "two at a time");
        assert_eq!(circuit.end(Pass::Free, Some(false), now), Turn::None, "it began before");
        assert_eq!(circuit.end(one, Some(true), now), Turn::None);
        let three = circuit.pass(now).unwrap();
        assert_eq!(circuit.end(two, None, now), Turn::None, "an abandoned trial gives its place back");
        assert_eq!(circuit.end(three, Some(true), now), Turn::Closed);
        assert_eq!(circuit.pass(now), Some(Pass::Free));
    }

    #[test]
    fn a_failed_trial_opens_it_for_twice_as_long() {
        let (mut circuit, mut now) = (circuit(), Instant::now());
        circuit.open(now);
        now += 5 * S;
        for term in [10, 15, 15] {
            let (trial, other) = (circuit.pass(now).unwrap(), circuit.pass(now).unwrap());
            assert_eq!(circuit.end(trial, Some(false), now), Turn::Opened(now + term * S));
            assert_eq!(circuit.end(other, Some(true), now), Turn::None, "of a round that is over");
            now += term * S;
        }
        for _ in 0..2 {
            let trial = circuit.pass(now).unwrap();
            circuit.end(trial, Some(true), now);
        }
        assert_eq!(circuit.open(now), Turn::Opened(now + 5 * S), "the first term again");
    }
}
