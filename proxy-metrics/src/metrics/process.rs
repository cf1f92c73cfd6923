//! What the system says of this process. Elsewhere than on Linux, nothing.

use std::fs;

use crate::catalogue::{CPU, MAX_FDS, OPEN_FDS, RESIDENT, STARTED, THREADS, VIRTUAL};
use crate::sample::Samples;

/// What `/proc` counts time in: `USER_HZ`, 100 on every architecture that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn sample(samples: &mut Samples) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text)) {
        samples.number(&CPU, &[], stat.cpu / TICKS_PER_SECOND);
        samples.number(&THREADS, &[], stat.threads);
        samples.number(&VIRTUAL, &[], stat.virtual_bytes);
        samples.number(&RESIDENT, &[], stat.resident_pages * rustix::param::page_size() as f64);
        if let Some(booted) = booted() {
            samples.number(&STARTED, &[], booted + stat.started / TICKS_PER_SECOND);
        }
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // The directory that is being read is one of them.
        samples.number(&OPEN_FDS, &[], entries.count().saturating_sub(1) as f64);
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        samples.number(&MAX_FDS, &[], most as f64);
    }
}

/// What is of use in `/proc/self/stat`; times in ticks.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: f64,
    threads: f64,
    started: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    /// Fields are counted behind the name of the program, which may hold spaces and parentheses.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // The first field here is number 3 of proc(5).
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Stat {
            cpu: field(14)? + field(15)?,
            threads: field(20)?,
            started: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the system was started, in seconds since 1970.
fn booted() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_passed_over() {
        let text =
            "7 (a) b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 12345 1000000 77 18446744073709551615";
        let stat = Stat { cpu: 300.0, threads: 4.0, started: 12345.0, virtual_bytes: 1e6, resident_pages: 77.0 };
        assert_eq!(Stat::parse(text), Some(stat));
        for bad in ["", "7 (a", "7 (a) S", "7 (a) S 1 2 x"] {
            assert_eq!(Stat::parse(bad), None, "{bad}");
        }
    }
}
