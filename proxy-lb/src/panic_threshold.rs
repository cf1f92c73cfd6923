//! Too few healthy backends: all of them are used.

use proxy_core::{Backend, BackendState, Eligibility, HealthSource};

/// When fewer backends are healthy than this percentage of the set, the unhealthy ones are used as well,
/// as Envoy's panic threshold has it: those that are left would be overrun, and where most fail at once, the
/// fault is more likely in the checks than in the backends.
///
/// Backends that are drained, in maintenance, without weight or not yet checked stay out. It goes around
/// another [`Eligibility`], which sees the unhealthy ones as they are.
///
/// ```
/// use proxy_core::{Cluster, Usable};
/// use proxy_lb::{PanicThreshold, RoundRobin};
///
/// let cluster = Cluster::builder(RoundRobin::new())
///     .backend("127.0.0.1:9001".parse()?)
///     .eligibility(PanicThreshold::new(50, Usable))
///     .build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PanicThreshold<E> {
    percent: usize,
    inner: E,
}

impl<E: Eligibility> PanicThreshold<E> {
    /// Below `percent` of healthy backends all are used; 0 turns it off, 1 is for when none is healthy.
    pub fn new(percent: u32, inner: E) -> Self {
        PanicThreshold { percent: percent as usize, inner }
    }
}

impl<E: Eligibility> Eligibility for PanicThreshold<E> {
    fn eligible(&self, backends: &[Backend]) -> Vec<Backend> {
        let usable = backends.iter().filter(|backend| backend.is_usable()).count();
        let in_need: Vec<_> = match usable * 100 < backends.len() * self.percent {
            true => backends.iter().filter(|backend| may_serve_in_need(backend)).cloned().collect(),
            false => Vec::new(),
        };
        // Nobody to add: the rule it goes around has more to say than this one.
        if in_need.len() > usable { in_need } else { self.inner.eligible(backends) }
    }
}

fn may_serve_in_need(backend: &Backend) -> bool {
    match backend.state() {
        _ if backend.weight() == 0 => false,
        BackendState::Healthy => true,
        BackendState::Unhealthy => backend.status().source() != HealthSource::Start,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::{BackendSet, Usable, Verdict};

    use super::*;

    /// One letter for each backend: healthy, unhealthy, maintenance, unchecked, zero weight. Returns the
    /// positions of the candidates.
    #[track_caller]
    fn check(percent: u32, states: &str, expected: &str) {
        let backends = states.chars().enumerate().map(|(index, state)| {
            let builder = Backend::builder("a:1".parse().unwrap()).id(&index.to_string());
            match state {
                'u' => builder.build(),
                'n' => builder.start(BackendState::Unhealthy, "not checked yet").build(),
                'z' => builder.weight(0).build(),
                _ => builder.build(),
            }
        });
        let set = BackendSet::with_eligibility(backends, PanicThreshold::new(percent, Usable));
        for (backend, state) in set.backends().iter().zip(states.chars()) {
            let state = match state {
                'u' => BackendState::Unhealthy,
                'm' => BackendState::Maintenance,
                _ => continue,
            };
            set.report(backend, Verdict::new(HealthSource::Check, state, "test"));
        }
        let ids = set.with_candidates(&[], |candidates| candidates.iter().map(Backend::id).collect::<String>());
        assert_eq!(ids, expected, "{percent} % of {states}");
    }

    #[test]
    fn below_the_threshold_the_unhealthy_serve_too() {
        check(50, "hhuu", "01");
        check(50, "huuu", "0123");
        check(50, "uuuu", "0123");
        check(0, "uuuu", "");
        check(1, "uuuu", "0123");
        check(1, "huuu", "0");
        check(100, "hhhu", "0123");
        check(50, "humnz", "01"); // neither drained, nor unchecked, nor without weight
        check(50, "nnnn", "");
        check(50, "hmmm", "0");
    }
}
