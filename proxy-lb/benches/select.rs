//! What a choice costs: nanoseconds per pick, the clone of the handle included, by the number of backends.
//!
//! Run: `cargo bench -p proxy-lb`

use std::hint::black_box;
use std::net::IpAddr;

use http::{HeaderName, HeaderValue, Method};
use proxy_core::testing::Busy;
use proxy_core::{Backend, BackendSet, Candidates, Instant, RequestHead, SelectionContext, Selector};
use proxy_lb::{
    BoundedLoad, HashKey, LeastConnections, Maglev, PeakEwma, PowerOfTwo, Rendezvous, RingHash, RoundRobin,
    SourceIpHash, Sticky, WeightedRandom,
};

const SIZES: [usize; 4] = [3, 100, 1000, 10_000];

/// As many different requests: more than branch predictors learn, and more places of a table than the
/// fastest caches hold.
const REQUESTS: usize = 16_384;

/// As many heads: a head was just read when a choice is made for it, so they lie in the fastest cache.
const HEADS: usize = 16;

const ROUNDS: usize = 15;

const PICKS: usize = 20_000;

const KEY: HashKey = HashKey::ClientIp;

fn header() -> HashKey {
    HashKey::Header("x-key".into())
}

type Make = fn() -> Box<dyn Selector>;

const SELECTORS: &[(&str, bool, Make)] = &[
    ("RoundRobin", false, || Box::new(RoundRobin::new())),
    ("RoundRobin, weights", true, || Box::new(RoundRobin::new())),
    ("WeightedRandom", true, || Box::new(WeightedRandom::seeded(1))),
    ("PowerOfTwo, weights", true, || Box::new(PowerOfTwo::seeded(1))),
    ("PeakEwma, weights", true, || Box::new(PeakEwma::seeded(1))),
    ("LeastConnections, weights", true, || Box::new(LeastConnections::new())),
    ("RingHash", false, || Box::new(RingHash::new(KEY))),
    ("RingHash::ketama", false, || Box::new(RingHash::ketama(KEY))),
    ("Maglev, weights", true, || Box::new(Maglev::new(KEY))),
    ("Maglev by a header", true, || Box::new(Maglev::new(header()))),
    ("Rendezvous, weights", true, || Box::new(Rendezvous::new(KEY))),
    ("SourceIpHash", false, || Box::new(SourceIpHash::new())),
    ("BoundedLoad<Maglev>", false, || Box::new(BoundedLoad::new(Maglev::new(KEY)))),
    ("Sticky::inserted, foreign", false, || {
        let sticky = Sticky::inserted("lb", b"secret").expect("a token");
        Box::new(sticky.selector(RoundRobin::new()))
    }),
];

fn main() {
    // `cargo test --all-targets` runs this too, and wants no figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let heads: Vec<_> = (0..HEADS).map(head).collect();
    let contexts: Vec<_> = (0..REQUESTS).map(|index| context(index, &heads[index % HEADS])).collect();
    println!("ns per pick{:>25}{:>9}{:>9}{:>9} backends", SIZES[0], SIZES[1], SIZES[2], SIZES[3]);
    for (name, weighted, make) in SELECTORS {
        let cells = SIZES.map(|size| format!("{:9.0}", measure(&*make(), *weighted, size, &contexts)));
        println!("{name:<27}{}", cells.concat());
    }
}

fn head(index: usize) -> RequestHead {
    let mut head = RequestHead::new(Method::GET, "/").expect("a target");
    let cookie = format!("lb={:096x}", index as u128 * 0x9e37_79b9_7f4a_7c15);
    for (name, value) in [("x-key", format!("some key {index}")), ("cookie", cookie)] {
        let value = HeaderValue::try_from(value).expect("a value");
        head.headers_mut().append(HeaderName::from_static(name), value);
    }
    head
}

fn context(index: usize, head: &RequestHead) -> SelectionContext<'_> {
    let address = IpAddr::from((index as u32).wrapping_mul(2_654_435_761).to_be_bytes());
    SelectionContext::new(Some(address), Some(head))
}

/// The quickest of some rounds: others had to share the machine.
fn measure(selector: &dyn Selector, weighted: bool, size: usize, contexts: &[SelectionContext<'_>]) -> f64 {
    let backend = |index: usize| {
        let weight = if weighted { 1 + index as u32 % 3 } else { 1 };
        Backend::builder(format!("b{index}:1").parse().expect("an address")).weight(weight).build()
    };
    let set = BackendSet::new((0..size).map(backend));
    let backends = set.backends();
    // Up to three requests each, so that there is something to compare.
    let _busy: Vec<_> = (0..3 * size).map(|index| Busy::with(&backends[index * 7919 % size])).collect();
    selector.on_change(&backends);
    set.with_candidates(&[], |candidates| {
        (0..ROUNDS).map(|_| round(selector, candidates, contexts)).fold(f64::MAX, f64::min)
    })
}

fn round(selector: &dyn Selector, candidates: &Candidates<'_>, contexts: &[SelectionContext<'_>]) -> f64 {
    let started = Instant::now();
    for context in contexts.iter().cycle().take(PICKS) {
        black_box(selector.select(candidates, black_box(context)));
    }
    started.elapsed().as_secs_f64() * 1e9 / PICKS as f64
}
