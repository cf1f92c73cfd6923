//! Every algorithm beside a model that is slow and obviously right, over random arrivals.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;
use proxy_ratelimit::{
    Algorithm, Decision, FixedWindow, Gcra, LeakyBucket, Quota, SlidingLog, SlidingWindow, Time, TokenBucket, Verdict,
};

/// How long after the last, in nanoseconds, and what it costs.
type Arrival = (u64, u64);

fn quota(rate: u64, period: u64, burst: u64) -> Quota {
    let nonzero = |number| NonZeroU64::new(number).expect("not zero");
    let quota = Quota::new(nonzero(rate), Duration::from_nanos(period)).expect("a quota");
    quota.with_burst(nonzero(burst))
}

/// Quotas of a size that arrivals can use up, with reduced rates of at most 16.
fn small_quota() -> impl Strategy<Value = Quota> {
    let round = (1..=16u64, prop_oneof![Just(1_000_000_000u64), Just(60_000_000_000), Just(1), Just(7)], 1..=20u64);
    round.prop_map(|(rate, period, burst)| quota(rate, period, burst))
}

/// Arrivals around a quota's interval and period, mostly of cost 1.
fn arrivals(quota: Quota) -> impl Strategy<Value = Vec<Arrival>> {
    let period = quota.period().as_nanos() as u64;
    let interval = period / quota.rate();
    let gap = prop_oneof![
        3 => Just(0),
        3 => 0..=interval * 2,
        1 => Just(interval),
        2 => 0..=period * 2,
        1 => Just(period),
        1 => period..=period.saturating_mul(1000),
    ];
    let cost = prop_oneof![6 => Just(1u64), 1 => 0..=quota.rate().max(quota.burst()) + 1];
    proptest::collection::vec((gap, cost), 1..200)
}

fn quota_and_arrivals() -> impl Strategy<Value = (Quota, Vec<Arrival>)> {
    small_quota().prop_flat_map(|quota| (Just(quota), arrivals(quota)))
}

/// What was allowed, and when.
fn run<A: Algorithm>(algorithm: &A, arrivals: &[Arrival]) -> Vec<(u64, u64, Decision)> {
    let mut state = algorithm.fresh(Time::ZERO);
    let mut now = 0u64;
    let step = |(gap, cost): &Arrival| {
        now = now.saturating_add(*gap);
        (now, *cost, algorithm.decide(&mut state, Time::from_nanos(now), *cost))
    };
    arrivals.iter().map(step).collect()
}

/// Every decision is the model's.
fn same<A: Algorithm>(algorithm: &A, arrivals: &[Arrival], mut model: impl FnMut(u64, u64) -> bool) {
    for (now, cost, decision) in run(algorithm, arrivals) {
        assert_eq!(decision.is_allowed(), model(now, cost), "at {now}, cost {cost}: {decision:?}");
    }
}

/// A refusal's time is neither too early nor too late.
fn retries_are_exact<A: Algorithm>(algorithm: &A, arrivals: &[Arrival]) {
    for count in 0..arrivals.len() {
        let replay = || {
            let mut state = algorithm.fresh(Time::ZERO);
            let mut now = 0;
            for (gap, cost) in &arrivals[..count] {
                now += gap;
                algorithm.decide(&mut state, Time::from_nanos(now), *cost);
            }
            (state, now + arrivals[count].0)
        };
        let cost = arrivals[count].1;
        let (mut state, now) = replay();
        let denied = algorithm.decide(&mut state, Time::from_nanos(now), cost);
        let Verdict::Denied { retry_after: Some(after) } = denied.verdict else { continue };
        let after = after.as_nanos() as u64;
        assert!(after > 0);
        assert!(!algorithm.decide(&mut state, Time::from_nanos(now + after - 1), cost).is_allowed(), "{after} is late");
        assert!(algorithm.decide(&mut state, Time::from_nanos(now + after), cost).is_allowed(), "{after} is early");
    }
}

/// There is more when a decision says so, and not before.
fn more_comes_in_time<A: Algorithm>(algorithm: &A, arrivals: &[Arrival]) {
    let mut state = algorithm.fresh(Time::ZERO);
    let mut now = 0;
    for (gap, cost) in arrivals {
        now += gap;
        let decision = algorithm.decide(&mut state, Time::from_nanos(now), *cost);
        let Some(more_in) = Some(decision.more_in.as_nanos() as u64).filter(|more_in| *more_in > 0) else { continue };
        let more = decision.remaining + 1;
        let later = |nanos: u64, state: &mut A::State| {
            algorithm.settle(state, Time::from_nanos(now + nanos));
            algorithm.judge(state, Time::from_nanos(now + nanos), more).is_allowed()
        };
        assert!(!later(more_in - 1, &mut state), "{more} before {more_in} ns: {decision:?}");
        // On to that time: the state cannot be set back.
        assert!(later(more_in, &mut state), "{more} after {more_in} ns: {decision:?}");
        now += more_in;
    }
}

/// The sum of what was allowed in each stretch of time is at most `bound` of its length.
fn promise(seen: &[(u64, u64, Decision)], bound: impl Fn(u64) -> u128) {
    let allowed: Vec<_> = seen.iter().filter(|(.., decision)| decision.is_allowed()).collect();
    for (first, (start, ..)) in allowed.iter().enumerate() {
        let mut sum = 0u128;
        for (end, cost, _) in &allowed[first..] {
            sum += u128::from(*cost);
            assert!(sum <= bound(end - start), "{sum} within {} ns", end - start);
        }
    }
}

/// Burst + rate × time, rounded up.
fn bucket_bound(quota: Quota, nanos: u128) -> u128 {
    let gained = (nanos * u128::from(quota.rate())).div_ceil(quota.period().as_nanos());
    u128::from(quota.burst()) + gained
}

/// A bucket that counts in parts: a nanosecond brings `rate`, one token is `period`.
fn bucket_model(quota: Quota) -> impl FnMut(u64, u64) -> bool {
    let (rate, period) = (u128::from(quota.rate()), quota.period().as_nanos());
    let full = u128::from(quota.burst()) * period;
    let (mut level, mut last) = (full, 0);
    move |now, cost| {
        level = full.min(level + u128::from(now - last) * rate);
        last = now;
        let cost = u128::from(cost) * period;
        let allowed = cost <= level;
        level -= if allowed { cost } else { 0 };
        allowed
    }
}

fn log_model(quota: Quota) -> impl FnMut(u64, u64) -> bool {
    let mut all: Vec<(u64, u64)> = Vec::new();
    let period = quota.period().as_nanos() as u64;
    move |now, cost| {
        let used: u64 = all.iter().filter(|(at, _)| now - at < period).map(|(_, cost)| cost).sum();
        let allowed = used + cost <= quota.rate();
        all.extend(allowed.then_some((now, cost)));
        allowed
    }
}

fn fixed_model(quota: Quota) -> impl FnMut(u64, u64) -> bool {
    let mut windows: HashMap<u128, u64> = HashMap::new();
    move |now, cost| {
        let used = windows.entry(u128::from(now) / quota.period().as_nanos()).or_default();
        let allowed = *used + cost <= quota.rate();
        *used += if allowed { cost } else { 0 };
        allowed
    }
}

fn sliding_model(quota: Quota) -> impl FnMut(u64, u64) -> bool {
    let mut windows: HashMap<u128, u128> = HashMap::new();
    let period = quota.period().as_nanos();
    move |now, cost| {
        let (window, into) = (u128::from(now) / period, u128::from(now) % period);
        let before = window.checked_sub(1).and_then(|before| windows.get(&before)).copied().unwrap_or(0);
        let current = windows.entry(window).or_default();
        // Times the period, so that nothing is rounded.
        let used = (*current + u128::from(cost)) * period + before * (period - into);
        let allowed = used <= u128::from(quota.rate()) * period;
        *current += if allowed { u128::from(cost) } else { 0 };
        allowed
    }
}

proptest! {
    #[test]
    fn a_token_bucket_is_exact((quota, arrivals) in quota_and_arrivals()) {
        let bucket = TokenBucket::new(quota);
        same(&bucket, &arrivals, bucket_model(quota));
        promise(&run(&bucket, &arrivals), |nanos| bucket_bound(quota, nanos.into()));
        retries_are_exact(&bucket, &arrivals);
        more_comes_in_time(&bucket, &arrivals);
    }

    #[test]
    fn gcra_is_the_token_bucket((quota, arrivals) in quota_and_arrivals()) {
        let gcra = Gcra::new(quota);
        same(&gcra, &arrivals, bucket_model(quota));
        let rest = |seen: Vec<(u64, u64, Decision)>| seen.iter().map(|(.., it)| it.remaining).collect::<Vec<_>>();
        prop_assert_eq!(rest(run(&gcra, &arrivals)), rest(run(&TokenBucket::new(quota), &arrivals)));
        retries_are_exact(&gcra, &arrivals);
        more_comes_in_time(&gcra, &arrivals);
    }

    #[test]
    fn a_log_is_exact((quota, arrivals) in quota_and_arrivals()) {
        let log = SlidingLog::new(quota);
        same(&log, &arrivals, log_model(quota));
        let period = quota.period().as_nanos() as u64;
        promise(&run(&log, &arrivals), |nanos| match nanos < period {
            true => quota.rate().into(),
            false => u128::MAX,
        });
        retries_are_exact(&log, &arrivals);
        more_comes_in_time(&log, &arrivals);
    }

    #[test]
    fn a_fixed_window_is_exact((quota, arrivals) in quota_and_arrivals()) {
        let window = FixedWindow::new(quota);
        same(&window, &arrivals, fixed_model(quota));
        let period = quota.period().as_nanos() as u64;
        promise(&run(&window, &arrivals), |nanos| match nanos < period {
            true => u128::from(quota.rate()) * 2,
            false => u128::MAX,
        });
        retries_are_exact(&window, &arrivals);
        more_comes_in_time(&window, &arrivals);
    }

    #[test]
    fn a_sliding_window_weighs_two_buckets((quota, arrivals) in quota_and_arrivals()) {
        let window = SlidingWindow::new(quota);
        same(&window, &arrivals, sliding_model(quota));
        // Never more than the fixed window.
        let mut fixed = HashMap::new();
        for (now, cost, decision) in run(&window, &arrivals) {
            let used: &mut u64 = fixed.entry(u128::from(now) / quota.period().as_nanos()).or_default();
            *used += if decision.is_allowed() { cost } else { 0 };
            prop_assert!(*used <= quota.rate());
        }
        retries_are_exact(&window, &arrivals);
        more_comes_in_time(&window, &arrivals);
    }

    #[test]
    fn a_leaky_bucket_is_even((quota, arrivals) in quota_and_arrivals()) {
        let (rate, period) = (u128::from(quota.rate()), quota.period().as_nanos());
        // In parts of 1/rate nanoseconds: when the last one that was let in leaves the way free.
        let mut free = 0u128;
        for (now, cost, decision) in run(&LeakyBucket::new(quota), &arrivals) {
            let now = u128::from(now) * rate;
            let leaves = free.max(now);
            let waits = leaves - now <= u128::from(quota.burst()) * period && cost <= quota.burst();
            prop_assert_eq!(decision.is_allowed(), waits, "{:?}", decision);
            if waits {
                prop_assert_eq!(decision.delay().as_nanos(), (leaves - now).div_ceil(rate));
                free = leaves + u128::from(cost) * period;
            }
        }
        retries_are_exact(&LeakyBucket::new(quota), &arrivals);
    }

    #[test]
    fn several_limits_are_all_or_nothing(
        (first, arrivals) in quota_and_arrivals(), second in small_quota(), third in small_quota(),
    ) {
        let mut models = [bucket_state(first), bucket_state(second)];
        let mut log = log_model_checked(third);
        let limits = ([TokenBucket::new(first), TokenBucket::new(second)], SlidingLog::new(third));
        for (now, cost, decision) in run(&limits, &arrivals) {
            let fits = models.iter_mut().all(|model| { model.fill(now); model.has(cost) }) & log(now, cost, false);
            prop_assert_eq!(decision.is_allowed(), fits, "{:?}", decision);
            if fits {
                models.iter_mut().for_each(|model| model.take(cost));
                log(now, cost, true);
            }
        }
    }

    /// Any quota, any time, any cost: no panic, no overflow, and never more than promised.
    #[test]
    fn nothing_overflows(
        rate in large(), period in large(), burst in large(),
        arrivals in proptest::collection::vec((large(), large()), 1..50),
    ) {
        let quota = quota(rate, period, burst);
        let bound = |nanos: u64| bucket_bound_saturating(quota, nanos);
        promise(&run(&TokenBucket::new(quota), &arrivals), bound);
        promise(&run(&Gcra::new(quota), &arrivals), |nanos| bound(nanos.saturating_add(1)));
        for (now, cost, decision) in run(&LeakyBucket::new(quota), &arrivals) {
            prop_assert!(decision.delay() <= Duration::from_nanos(u64::MAX), "{now} {cost}");
        }
        promise(&run(&FixedWindow::new(quota), &arrivals), |nanos| window_bound(quota, nanos));
        promise(&run(&SlidingWindow::new(quota), &arrivals), |nanos| window_bound(quota, nanos));
        promise(&run(&SlidingLog::new(quota), &arrivals), |nanos| window_bound(quota, nanos));
    }

    /// Time that goes backwards adds nothing, and a pause as long as the quota needs mends everything.
    #[test]
    fn a_clock_set_back_neither_gives_nor_blocks(
        quota in small_quota(), steps in proptest::collection::vec((any::<bool>(), 0..3_000_000_000u64), 1..100),
    ) {
        set_back(&TokenBucket::new(quota), quota, &steps);
        set_back(&Gcra::new(quota), quota, &steps);
        set_back(&FixedWindow::new(quota), quota, &steps);
        set_back(&SlidingWindow::new(quota), quota, &steps);
        set_back(&SlidingLog::new(quota), quota, &steps);
        set_back(&LeakyBucket::new(quota), quota, &steps);
    }
}

fn large() -> impl Strategy<Value = u64> {
    prop_oneof![1..=10u64, Just(1_000_000_000), Just(1001), 1..=u64::MAX, Just(u64::MAX), Just(1 << 59)]
}

fn bucket_bound_saturating(quota: Quota, nanos: u64) -> u128 {
    let gained = (u128::from(nanos) * u128::from(quota.rate())).div_ceil(quota.period().as_nanos());
    u128::from(quota.burst()) + gained
}

/// Twice the count for each stretch as long as a period, or begun.
fn window_bound(quota: Quota, nanos: u64) -> u128 {
    (u128::from(nanos) / quota.period().as_nanos() + 2) * u128::from(quota.rate())
}

fn set_back<A: Algorithm>(algorithm: &A, quota: Quota, steps: &[(bool, u64)]) {
    let mut state = algorithm.fresh(Time::from_nanos(1 << 40));
    let (mut now, mut forward, mut allowed) = (1u64 << 40, 0u64, 0u128);
    for (back, step) in steps {
        now = if *back { now - step } else { now + step };
        forward += if *back { 0 } else { *step };
        allowed += u128::from(algorithm.decide(&mut state, Time::from_nanos(now), 1).is_allowed());
    }
    // A leaky bucket lets one through beside those that wait.
    let bound = bucket_bound(quota, forward.into()).max(window_bound(quota, forward)) + 1;
    assert!(allowed <= bound, "{allowed} of {bound}");
    let period = quota.period().as_nanos() as u64;
    let recovered = now + 3 * (period + period * quota.burst());
    assert!(algorithm.decide(&mut state, Time::from_nanos(recovered), 1).is_allowed());
    assert!(algorithm.debt(&state, Time::from_nanos(u64::MAX)) == 0);
}

/// The model of a bucket, in steps.
struct Bucket {
    quota: Quota,
    level: u128,
    last: u64,
}

fn bucket_state(quota: Quota) -> Bucket {
    Bucket { quota, level: u128::from(quota.burst()) * quota.period().as_nanos(), last: 0 }
}

impl Bucket {
    fn fill(&mut self, now: u64) {
        let full = u128::from(self.quota.burst()) * self.quota.period().as_nanos();
        self.level = full.min(self.level + u128::from(now - self.last) * u128::from(self.quota.rate()));
        self.last = now;
    }

    fn has(&self, cost: u64) -> bool {
        u128::from(cost) * self.quota.period().as_nanos() <= self.level
    }

    fn take(&mut self, cost: u64) {
        self.level -= u128::from(cost) * self.quota.period().as_nanos();
    }
}

fn log_model_checked(quota: Quota) -> impl FnMut(u64, u64, bool) -> bool {
    let mut all: Vec<(u64, u64)> = Vec::new();
    let period = quota.period().as_nanos() as u64;
    move |now, cost, take| {
        let used: u64 = all.iter().filter(|(at, _)| now - at < period).map(|(_, cost)| cost).sum();
        let fits = used + cost <= quota.rate();
        all.extend((fits && take).then_some((now, cost)));
        fits
    }
}
