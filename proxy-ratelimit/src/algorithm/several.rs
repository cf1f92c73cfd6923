//! Several limits at once, all or nothing.

use super::Algorithm;
use crate::{Decision, Quota, Time};

impl<A: Algorithm, const N: usize> Algorithm for [A; N] {
    const LIMITS: usize = N * A::LIMITS;
    type State = [A::State; N];

    fn fresh(&self, now: Time) -> Self::State {
        std::array::from_fn(|index| self[index].fresh(now))
    }

    fn settle(&self, state: &mut Self::State, now: Time) {
        self.iter().zip(state).for_each(|(limit, state)| limit.settle(state, now));
    }

    fn judge(&self, state: &Self::State, now: Time, cost: u64) -> Decision {
        let each = self.iter().zip(state).enumerate();
        let each = each.map(|(index, (limit, state))| {
            let decision = limit.judge(state, now, cost);
            decision.of_limit(index * A::LIMITS + decision.limit)
        });
        each.reduce(Decision::and).unwrap_or(Decision::UNLIMITED)
    }

    fn spend(&self, state: &mut Self::State, now: Time, cost: u64) {
        self.iter().zip(state).for_each(|(limit, state)| limit.spend(state, now, cost));
    }

    fn debt(&self, state: &Self::State, now: Time) -> u64 {
        self.iter().zip(state).map(|(limit, state)| limit.debt(state, now)).max().unwrap_or(0)
    }

    fn quotas(&self) -> Vec<Quota> {
        self.iter().flat_map(A::quotas).collect()
    }
}

impl<A: Algorithm, B: Algorithm> Algorithm for (A, B) {
    const LIMITS: usize = A::LIMITS + B::LIMITS;
    type State = (A::State, B::State);

    fn fresh(&self, now: Time) -> Self::State {
        (self.0.fresh(now), self.1.fresh(now))
    }

    fn settle(&self, state: &mut Self::State, now: Time) {
        self.0.settle(&mut state.0, now);
        self.1.settle(&mut state.1, now);
    }

    fn judge(&self, state: &Self::State, now: Time, cost: u64) -> Decision {
        let second = self.1.judge(&state.1, now, cost);
        self.0.judge(&state.0, now, cost).and(second.of_limit(A::LIMITS + second.limit))
    }

    fn spend(&self, state: &mut Self::State, now: Time, cost: u64) {
        self.0.spend(&mut state.0, now, cost);
        self.1.spend(&mut state.1, now, cost);
    }

    fn debt(&self, state: &Self::State, now: Time) -> u64 {
        self.0.debt(&state.0, now).max(self.1.debt(&state.1, now))
    }

    fn quotas(&self) -> Vec<Quota> {
        let mut quotas = self.0.quotas();
        quotas.extend(self.1.quotas());
        quotas
    }
}
