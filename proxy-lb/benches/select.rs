//! What a choice costs: nanoseconds per pick, the clone of the handle included, by the number of backends; or
//! instructions, as valgrind counts them.
//!
//! Run: `cargo bench -p proxy-lb --bench select`, or `cargo bench -p proxy-lb --bench select -- --instructions`

use std::env;
use std::fs;
use std::hint::black_box;
use std::net::IpAddr;
use std::process::{Command, Stdio};

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
    let arguments: Vec<_> = env::args().collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let heads: Vec<_> = (0..HEADS).map(head).collect();
    let contexts: Vec<_> = (0..REQUESTS).map(|index| context(index, &heads[index % HEADS])).collect();
    match &arguments[..] {
        [_, counted, selector, size] if counted == COUNTED => {
            let (_, weighted, make) = SELECTORS[selector.parse::<usize>().expect("an index")];
            let size = size.parse().expect("a number");
            measure(&*make(), weighted, size, |selector, candidates| {
                counted_picks(selector, candidates, &contexts[..COUNTED_PICKS]);
                0.0
            });
        }
        _ if has("--instructions") => table("instructions per pick", instructions),
        // `cargo test --all-targets` runs this too, and wants no figures.
        _ if has("--bench") => table("ns per pick", |index, size| {
            let (_, weighted, make) = SELECTORS[index];
            measure(&*make(), weighted, size, |selector, candidates| {
                (0..ROUNDS).map(|_| round(selector, candidates, &contexts)).fold(f64::MAX, f64::min)
            })
        }),
        _ => {}
    }
}

/// A line for each selector, as soon as it is known.
fn table(what: &str, cell: impl Fn(usize, usize) -> f64) {
    println!("{what:<27}{:>9}{:>9}{:>9}{:>9} backends", SIZES[0], SIZES[1], SIZES[2], SIZES[3]);
    for (index, (name, ..)) in SELECTORS.iter().enumerate() {
        let cells = SIZES.map(|size| format!("{:9.0}", cell(index, size)));
        println!("{name:<27}{}", cells.concat());
    }
}

/// This program again, under valgrind, which counts what happens within `counted_picks`.
fn instructions(selector: usize, size: usize) -> f64 {
    let file = env::temp_dir().join(format!("select-{}.callgrind", std::process::id()));
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_picks*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(env::current_exe().expect("a program has a path"))
        .args([COUNTED, &selector.to_string(), &size.to_string()])
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "valgrind is not installed, or failed");
    let profile = fs::read_to_string(&file).expect("valgrind wrote its profile");
    let _ = fs::remove_file(&file);
    let count = profile.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<f64>().ok());
    count.expect("a profile has totals") / COUNTED_PICKS as f64
}

/// How this program is told to be the one that is counted.
const COUNTED: &str = "--counted";
const COUNTED_PICKS: usize = 1000;

/// A function of its own: valgrind finds it by its name.
#[inline(never)]
fn counted_picks(selector: &dyn Selector, candidates: &Candidates<'_>, contexts: &[SelectionContext<'_>]) {
    for context in contexts {
        black_box(selector.select(candidates, black_box(context)));
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

/// What `figure` finds of a selector over so many backends. Of times that is the quickest of some rounds: the others
/// had to share the machine.
fn measure(
    selector: &dyn Selector,
    weighted: bool,
    size: usize,
    figure: impl Fn(&dyn Selector, &Candidates<'_>) -> f64,
) -> f64 {
    let backend = |index: usize| {
        let weight = if weighted { 1 + index as u32 % 3 } else { 1 };
        Backend::builder(format!("b{index}:1").parse().expect("an address")).weight(weight).build()
    };
    let set = BackendSet::new((0..size).map(backend));
    let backends = set.backends();
    // Up to three requests each, so that there is something to compare.
    let _busy: Vec<_> = (0..3 * size).map(|index| Busy::with(&backends[index * 7919 % size])).collect();
    selector.on_change(&backends);
    set.with_candidates(&[], |candidates| figure(selector, candidates))
}

fn round(selector: &dyn Selector, candidates: &Candidates<'_>, contexts: &[SelectionContext<'_>]) -> f64 {
    let started = Instant::now();
    for context in contexts.iter().cycle().take(PICKS) {
        black_box(selector.select(candidates, black_box(context)));
    }
    started.elapsed().as_secs_f64() * 1e9 / PICKS as f64
}
