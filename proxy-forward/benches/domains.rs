//! A look-up in a list of 100,000 domains, and what the list takes: `cargo bench -p proxy-forward --bench domains`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use proxy_forward::DomainList;

const COUNT: usize = 100_000;

fn domains(criterion: &mut Criterion) {
    let text: String = (0..COUNT).map(|number| format!("tracker-{number}.ads-{}.example\n", number % 977)).collect();
    let list = DomainList::parse(&text);
    println!("{} domains take {:.1} MiB", list.len(), list.memory() as f64 / f64::from(1 << 20));
    // Other names each time: the cache of the processor helps no more than it does in use.
    let names = |prefix: &str, domain: &str| -> Vec<String> {
        (0..4096).map(|number| format!("{prefix}tracker-{}.ads-{}.{domain}", number * 24, number * 24 % 977)).collect()
    };
    let mut group = criterion.benchmark_group("domains");
    for (name, names) in [
        ("listed", names("", "example")),
        ("below one that is listed", names("a.b.", "example")),
        ("not listed, five labels", names("a.b.", "invalid")),
    ] {
        let mut next = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                next = (next + 1) % names.len();
                list.contains(black_box(&names[next]))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, domains);
criterion_main!(benches);
