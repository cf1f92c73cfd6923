//! A set of backends in memory and a selector that is told of it, for tests.

use std::thread;
use std::time::Duration;

use http::StatusCode;
use proxy_core::testing::{Busy, attempt};
use proxy_core::{AttemptResult, Backend, BackendSet, Eligibility, RequestHead, SelectionContext, Selector, Usable};

pub(crate) struct Lab<S> {
    selector: S,
    set: BackendSet,
}

/// Backends named `a`, `b`, …, or `0`, `1`, … where there are more than letters.
pub(crate) fn named(names: &str, weights: &[u32]) -> Vec<Backend> {
    let name = |index: usize| names.chars().nth(index).map_or_else(|| index.to_string(), |name| name.to_string());
    let backend = |(index, weight): (usize, &u32)| {
        let address = format!("{}:1", name(index)).parse().or_else(|_| format!("n{index}:1").parse());
        Backend::builder(address.expect("an address")).id(&name(index)).weight(*weight).build()
    };
    weights.iter().enumerate().map(backend).collect()
}

impl<S: Selector> Lab<S> {
    pub(crate) fn new(selector: S, weights: &[u32]) -> Self {
        let names = if weights.len() > 26 { "" } else { "abcdefghijklmnopqrstuvwxyz" };
        Lab::with(selector, named(names, weights), Usable)
    }

    pub(crate) fn with(selector: S, backends: Vec<Backend>, eligibility: impl Eligibility) -> Self {
        let lab = Lab { selector, set: BackendSet::with_eligibility(backends, eligibility) };
        lab.tell();
        lab
    }

    pub(crate) fn selector(&self) -> &S {
        &self.selector
    }

    pub(crate) fn set(&self) -> &BackendSet {
        &self.set
    }

    pub(crate) fn backends(&self) -> Vec<Backend> {
        self.set.backends()
    }

    /// Tells the selector of the candidates, as a cluster does after every change.
    pub(crate) fn tell(&self) {
        let candidates: Vec<_> = self.set.with_candidates(&[], |candidates| candidates.iter().cloned().collect());
        self.selector.on_change(&candidates);
    }

    /// Weights or ramps have changed.
    pub(crate) fn refresh(&self) {
        self.set.refresh();
        self.tell();
    }

    pub(crate) fn replace(&self, names: &str, weights: &[u32]) {
        self.set.replace(named(names, weights)).unwrap();
        self.tell();
    }

    pub(crate) fn choose(&self, tried: &[Backend], head: Option<&RequestHead>) -> Option<Backend> {
        let context = SelectionContext::new(Some([127, 0, 0, 1].into()), head).after(tried);
        self.choose_in(tried, &context)
    }

    pub(crate) fn choose_in(&self, tried: &[Backend], context: &SelectionContext<'_>) -> Option<Backend> {
        self.set.with_candidates(tried, |candidates| match candidates.is_empty() {
            true => None,
            false => self.selector.select(candidates, context),
        })
    }

    /// The ids of so many choices in a row.
    pub(crate) fn ids(&self, count: usize) -> String {
        (0..count).map(|_| self.choose(&[], None).expect("a candidate").id().to_owned()).collect()
    }

    /// How often each backend of the set is chosen.
    pub(crate) fn counts(&self, choices: usize, tried: &[Backend]) -> Vec<usize> {
        let backends = self.backends();
        let mut counts = vec![0; backends.len()];
        for _ in 0..choices {
            let chosen = self.choose(tried, None).expect("a candidate");
            counts[backends.iter().position(|backend| *backend == chosen).expect("of the set")] += 1;
        }
        counts
    }

    /// A choice that is followed by an attempt.
    pub(crate) fn begin(&self) -> (Backend, Busy) {
        let chosen = self.choose(&[], None).expect("a candidate");
        let busy = Busy::with(&chosen);
        (chosen, busy)
    }

    /// The attempt ends well.
    pub(crate) fn end(&self, (backend, busy): (Backend, Busy), took: Duration) {
        let outcome = attempt(AttemptResult::Response(StatusCode::OK), took);
        self.selector.on_outcome(&backend, &outcome);
        drop(busy);
    }

    /// So many attempts in flight at each backend, which the selector was not asked about.
    pub(crate) fn busy(&self, counts: &[usize]) -> Vec<Busy> {
        let backends = self.backends();
        let pairs = backends.iter().zip(counts);
        pairs.flat_map(|(backend, count)| (0..*count).map(move |_| Busy::with(backend))).collect()
    }

    /// Two threads, each with so many attempts one after another, and every count right in the end.
    pub(crate) fn two_threads(&self, attempts: usize) -> Vec<usize> {
        let run =
            || (0..attempts).map(|_| self.begin()).inspect(|_| thread::yield_now()).map(|it| self.finish(it)).collect();
        let ids: Vec<String> = thread::scope(|scope| {
            let threads = [(); 2].map(|()| scope.spawn(run));
            threads.into_iter().flat_map(|thread| -> Vec<String> { thread.join().expect("no panic") }).collect()
        });
        let backends = self.backends();
        assert!(backends.iter().all(|backend| backend.in_flight() == 0));
        backends.iter().map(|backend| ids.iter().filter(|id| *id == backend.id()).count()).collect()
    }

    fn finish(&self, attempt: (Backend, Busy)) -> String {
        let id = attempt.0.id().to_owned();
        self.end(attempt, Duration::from_millis(1));
        id
    }

    /// Without candidates a selector, which is never asked then, still must not panic.
    pub(crate) fn check_empty(&self) {
        let context = SelectionContext::new(None, None);
        let chosen = self.set.with_candidates(&self.backends(), |none| self.selector.select(none, &context));
        assert_eq!(chosen, None);
    }
}

/// What chi-square stays below in 999,999 of a million cases with so many degrees of freedom (Wilson and
/// Hilferty's approximation, which errs upwards by under 1 %). Seeds are fixed: a test passes or it does not.
pub(crate) fn chi_square_bound(freedom: usize) -> f64 {
    let (k, normal) = (freedom.max(1) as f64, 4.753);
    k * (1.0 - 2.0 / (9.0 * k) + normal * (2.0 / (9.0 * k)).sqrt()).powi(3) + 3.0
}
