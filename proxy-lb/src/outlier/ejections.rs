//! Who is out, for how long, and how many may be.

use std::collections::HashMap;
use std::time::Duration;

use proxy_core::{Backend, Instant};

use super::OutlierSettings;

/// Who is out, for how long, and how many may be.
#[derive(Debug)]
pub(super) struct Ejections {
    base: Duration,
    longest: Duration,
    max_percent: usize,
    records: HashMap<Backend, Record>,
}

/// A backend that is out, or was lately.
#[derive(Debug)]
struct Record {
    /// How often, less the steps taken back.
    times: u32,
    until: Option<Instant>,
    /// It returned within the present interval.
    fresh: bool,
}

impl Ejections {
    pub(super) fn new(settings: &OutlierSettings) -> Self {
        Ejections {
            base: settings.eject,
            longest: settings.max_eject.max(settings.eject),
            max_percent: settings.max_ejected_percent as usize,
            records: HashMap::new(),
        }
    }

    /// Ejects a backend of a set of so many, unless it is out or too many are; says for how long.
    pub(super) fn eject(&mut self, backend: &Backend, members: usize, now: Instant) -> Option<Duration> {
        let out = self.records.values().filter(|record| record.until.is_some()).count();
        let is_out = self.records.get(backend).is_some_and(|record| record.until.is_some());
        if is_out || out >= self.allowed(members) {
            return None;
        }
        let record = self.records.entry(backend.clone()).or_insert(Record { times: 0, until: None, fresh: false });
        record.times += 1;
        let time = self.base.saturating_mul(record.times).min(self.longest);
        record.until = Some(now + time);
        Some(time)
    }

    /// One of several always, but never the only one.
    fn allowed(&self, members: usize) -> usize {
        match members * self.max_percent / 100 {
            _ if members <= 1 || self.max_percent == 0 => 0,
            share => share.max(1),
        }
    }

    /// When the next of them returns.
    pub(super) fn next_return(&self) -> Option<Instant> {
        self.records.values().filter_map(|record| record.until).min()
    }

    /// Lets those return whose time is over.
    pub(super) fn release(&mut self, now: Instant) -> Vec<Backend> {
        let over = self.records.iter_mut().filter(|(_, record)| record.until.is_some_and(|until| until <= now));
        over.map(|(backend, record)| {
            (record.until, record.fresh) = (None, true);
            backend.clone()
        })
        .collect()
    }

    /// An interval went by: who was in all the time is one step nearer to innocence.
    pub(super) fn forgive(&mut self) {
        for record in self.records.values_mut().filter(|record| record.until.is_none()) {
            record.times -= u32::from(!record.fresh);
            record.fresh = false;
        }
        self.records.retain(|_, record| record.times > 0 || record.until.is_some());
    }

    /// Forgets the backends that left.
    pub(super) fn retain(&mut self, members: &[Backend]) {
        if !self.records.is_empty() {
            self.records.retain(|backend, _| members.contains(backend));
        }
    }

    /// All that are out.
    pub(super) fn all(&self) -> Vec<Backend> {
        let out = self.records.iter().filter(|(_, record)| record.until.is_some());
        out.map(|(backend, _)| backend.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn backends(count: usize) -> Vec<Backend> {
        (0..count).map(|index| Backend::new(format!("b{index}:1").parse().unwrap())).collect()
    }

    fn ejections(max_percent: u32) -> Ejections {
        let settings = OutlierSettings {
            eject: 30 * S,
            max_eject: 80 * S,
            max_ejected_percent: max_percent,
            ..OutlierSettings::default()
        };
        Ejections::new(&settings)
    }

    #[test]
    fn each_ejection_is_longer_until_time_forgives() {
        let (mut ejections, backends, mut now) = (ejections(100), backends(2), Instant::now());
        let a = &backends[0];
        for expected in [30, 60, 80, 80] {
            assert_eq!(ejections.eject(a, 2, now), Some(expected * S));
            assert_eq!(ejections.eject(a, 2, now), None, "it is out");
            assert_eq!(ejections.next_return(), Some(now + expected * S));
            now += expected * S - S;
            assert!(ejections.release(now).is_empty());
            ejections.forgive(); // it is out: that does not count
            now += S;
            assert_eq!(ejections.release(now), std::slice::from_ref(a));
        }
        (0..4).for_each(|_| ejections.forgive());
        assert_eq!(ejections.eject(a, 2, now), Some(60 * S));
        ejections.release(now + 60 * S);
        (0..5).for_each(|_| ejections.forgive());
        assert!(ejections.records.is_empty());
        assert_eq!(ejections.eject(a, 2, now), Some(30 * S));
    }

    #[test]
    fn only_so_many_are_out_at_a_time() {
        for (members, percent, expected) in
            [(1, 100, 0), (2, 10, 1), (2, 100, 2), (10, 0, 0), (10, 10, 1), (10, 50, 5), (10, 59, 5), (10, 100, 10)]
        {
            let (mut ejections, backends) = (ejections(percent), backends(members));
            let now = Instant::now();
            let out = backends.iter().filter(|backend| ejections.eject(backend, members, now).is_some());
            assert_eq!(out.count(), expected, "{members} members, {percent} %");
        }
    }

    #[test]
    fn who_left_is_forgotten() {
        let (mut ejections, backends) = (ejections(50), backends(2));
        assert!(ejections.eject(&backends[0], 2, Instant::now()).is_some());
        ejections.retain(&backends[1..]);
        assert!(ejections.all().is_empty());
        assert!(ejections.eject(&backends[1], 2, Instant::now()).is_some());
    }
}
