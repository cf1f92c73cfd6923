//! Which requests get a line.

use std::ops::RangeInclusive;
use std::time::Duration;

use proxy_core::{Context, Outcome};

/// Which requests get a line. Those that failed do, whatever is set here.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Of 2^64; `None`: every request.
    share: Option<u64>,
    slow: Option<Duration>,
    always: Vec<RangeInclusive<u16>>,
    except: Vec<String>,
}

impl Wanted {
    /// A share that is no number logs everything rather than nothing.
    pub(super) fn sample(&mut self, share: f64) {
        self.share = (share < 1.0).then_some((share * u64::MAX as f64) as u64);
    }

    pub(super) fn slow(&mut self, slow: Duration) {
        self.slow = Some(slow);
    }

    pub(super) fn always(&mut self, statuses: RangeInclusive<u16>) {
        self.always.push(statuses);
    }

    pub(super) fn except(&mut self, path: String) {
        self.except.push(path);
    }

    pub(super) fn wants(&self, outcome: &Outcome, context: &Context, draw: impl FnOnce() -> u64) -> bool {
        if self.share.is_none() && self.except.is_empty() {
            return true;
        }
        let failed = outcome.error.is_some() || outcome.status.is_some_and(|status| status.is_server_error());
        failed
            || (!self.is_excepted(context) && (self.is_remarkable(outcome) || self.share.is_none_or(|it| draw() < it)))
    }

    fn is_remarkable(&self, outcome: &Outcome) -> bool {
        let status = outcome.status.map(|status| status.as_u16());
        let listed = status.is_some_and(|status| self.always.iter().any(|range| range.contains(&status)));
        listed || self.slow.is_some_and(|slow| outcome.timings.total >= slow)
    }

    fn is_excepted(&self, context: &Context) -> bool {
        let Some(head) = context.request().filter(|_| !self.except.is_empty()) else { return false };
        let path = head.path().as_bytes();
        self.except.iter().any(|except| match except.strip_suffix('*') {
            Some(start) => path.starts_with(start.as_bytes()),
            None => path == except.as_bytes(),
        })
    }
}
