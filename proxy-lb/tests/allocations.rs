//! A choice allocates nothing, nor does learning how it ended, whatever the selector and the number of backends.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use proxy_core::testing::{Busy, attempt};
use proxy_core::{AttemptResult, Backend, BackendSet, RequestHead, SelectionContext, Selector};
use proxy_lb::{
    BoundedLoad, HashKey, LeastConnections, Maglev, PeakEwma, PowerOfTwo, Rendezvous, RingHash, RoundRobin,
    SourceIpHash, Sticky, WeightedRandom,
};

fn selectors() -> Vec<(&'static str, Box<dyn Selector>)> {
    let header = || HashKey::Header("x-key".into());
    let learnt = Sticky::learnt("seen", 100).expect("a token");
    let inserted = Sticky::inserted("lb", b"secret").expect("a token");
    vec![
        ("round robin", Box::new(RoundRobin::new())),
        ("random", Box::new(WeightedRandom::new())),
        ("least connections", Box::new(LeastConnections::new())),
        ("power of two", Box::new(PowerOfTwo::new())),
        ("peak EWMA", Box::new(PeakEwma::new())),
        ("ring", Box::new(RingHash::new(header()))),
        ("ketama", Box::new(RingHash::ketama(HashKey::Cookie("lb".into())))),
        ("Maglev", Box::new(Maglev::new(HashKey::Query("user".into())))),
        ("rendezvous", Box::new(Rendezvous::new(HashKey::Path))),
        ("source IP", Box::new(SourceIpHash::new())),
        ("bounded", Box::new(BoundedLoad::new(Maglev::new(header())).percent(101))),
        ("sticky, inserted", Box::new(inserted.selector(RoundRobin::new()))),
        ("sticky, learnt", Box::new(learnt.selector(RoundRobin::new()))),
    ]
}

fn head() -> RequestHead {
    let mut head = RequestHead::new(Method::GET, "/some/path?user=7").expect("a target");
    // No value that was sealed, but one of the length.
    let cookie = format!("a=b; lb={}; seen=1", "0".repeat(96));
    let fields = [("x-key", "some key"), ("cookie", &cookie)];
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).expect("a value");
        head.headers_mut().append(HeaderName::from_static(name), value);
    }
    head
}

#[test]
fn a_choice_allocates_nothing() {
    let head = head();
    let context = SelectionContext::new(Some([10, 0, 0, 1].into()), Some(&head));
    let outcome = attempt(AttemptResult::Response(StatusCode::OK), Duration::from_millis(1));
    for (name, selector) in selectors() {
        for (count, weighted) in [(1, false), (3, false), (3, true), (1000, false), (1000, true)] {
            let backend = |index: u32| {
                let weight = if weighted { 1 + index % 3 } else { 1 };
                Backend::builder(format!("b{index}:1").parse().expect("an address")).weight(weight).build()
            };
            let set = BackendSet::new((0..count).map(backend));
            let _busy: Vec<_> = set.backends().iter().step_by(2).map(Busy::with).collect();
            selector.on_change(&set.backends());
            // Whole, and with a third of them tried.
            for tried in [vec![], set.backends().into_iter().skip(1).step_by(3).collect()] {
                let allocated = set.with_candidates(&tried, |candidates| {
                    allocation_counter::measure(|| {
                        for _ in 0..200 {
                            let chosen = selector.select(candidates, &context).expect("a candidate");
                            selector.on_outcome(&chosen, &outcome);
                        }
                    })
                });
                assert_eq!(allocated.count_total, 0, "{name}, {count} backends, {} tried", tried.len());
            }
        }
    }
}
