//! A limit that finds itself.

use std::time::Duration;

/// Finds how many requests may run at a time by watching how long they take.
///
/// Little's law: in a steady state, running = rate × time taken. Up to what the server can do, more
/// running means a higher rate and the same time. Beyond, the rate stays and the time grows: requests
/// wait in the server's queues. So the time tells where the limit is:
///
/// ```text
/// rate   |      ________        time |           /
///        |    /                      |          /
///        |  /                        | ________/
///        |/________________          |_________________
///            limit  running               limit  running
/// ```
///
/// Source: *Gradient* of Netflix' concurrency-limits (*Performance under load*, 2018). The shortest
/// time is what the server needs, the latest one is compared with it: limit ← limit × shortest/latest +
/// room for a queue of √limit, smoothed, and only while the limit is used. A request that failed for
/// overload takes a tenth off. Now and then the limit is halved for a moment, and the shortest time
/// is found anew: the server may have become slower or faster. (*Gradient2* averages instead, and
/// drifts upwards under steady overload.)
///
/// Pure: it is told what happened, and keeps no time.
///
/// ```
/// use std::time::Duration;
/// use proxy_ratelimit::{Gradient, GradientSettings, Sample};
///
/// let mut limit = Gradient::new(GradientSettings::default());
/// let before = limit.limit();
/// for _ in 0..100 {
///     limit.sample(Sample::Took(Duration::from_millis(10)), limit.limit());
/// }
/// assert!(limit.limit() > before);
/// ```
#[derive(Clone, Debug)]
pub struct Gradient {
    settings: GradientSettings,
    limit: f64,
    /// The shortest time since the last probe, in seconds.
    shortest: Option<f64>,
    /// Samples since the last probe.
    samples: u32,
    /// Samples that still tell of the time before the probe.
    stale: usize,
}

/// The bounds of a [`Gradient`], and how it moves.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct GradientSettings {
    /// The lowest limit, at least 1. Default: 4.
    pub floor: usize,
    /// The highest limit. Default: 1000.
    pub ceiling: usize,
    /// Where it starts. Default: 20.
    pub initial: usize,
    /// How much longer than the shortest time is as good as that. Default: 1.5.
    pub tolerance: f64,
    /// How much of each step is taken, from 0 to 1. Default: 0.2.
    pub smoothing: f64,
    /// After how many samples the shortest time is found anew. Default: 10,000.
    pub window: u32,
}

impl Default for GradientSettings {
    // Tolerance and smoothing are Netflix'.
    fn default() -> Self {
        GradientSettings { floor: 4, ceiling: 1000, initial: 20, tolerance: 1.5, smoothing: 0.2, window: 10_000 }
    }
}

/// What happened to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sample {
    /// Its answer took so long to begin.
    Took(Duration),
    /// The server was overloaded: it refused, or did not answer in time.
    Overloaded,
}

impl Gradient {
    /// Starts at the initial limit.
    pub fn new(settings: GradientSettings) -> Self {
        let limit = settings.initial as f64;
        let mut gradient = Gradient { settings, limit, shortest: None, samples: 0, stale: 0 };
        gradient.limit = gradient.bounded(limit);
        gradient
    }

    /// How many may run.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Takes in what happened to a request while `in_flight` ran. Returns the new limit.
    pub fn sample(&mut self, sample: Sample, in_flight: usize) -> usize {
        match sample {
            Sample::Overloaded => self.limit = self.bounded(self.limit * 0.9),
            Sample::Took(time) => self.took(time.as_secs_f64().max(1e-6), in_flight),
        }
        self.limit()
    }

    fn took(&mut self, latest: f64, in_flight: usize) {
        if self.stale > 0 {
            self.stale -= 1;
            return;
        }
        self.samples = self.samples.saturating_add(1);
        if self.samples > self.settings.window {
            self.probe(in_flight);
            return;
        }
        let shortest = self.shortest.map_or(latest, |shortest| shortest.min(latest));
        self.shortest = Some(shortest);
        // A limit that nobody comes near says nothing.
        if (in_flight as f64) < self.limit / 2.0 {
            return;
        }
        let gradient = (self.settings.tolerance * shortest / latest).clamp(0.5, 1.0);
        let next = self.limit * gradient + self.limit.sqrt();
        let smoothing = self.settings.smoothing.clamp(0.0, 1.0);
        self.limit = self.bounded(self.limit * (1.0 - smoothing) + next * smoothing);
    }

    /// Empties the server's queues, to see how long it takes without.
    fn probe(&mut self, in_flight: usize) {
        self.limit = self.bounded(self.limit / 2.0);
        self.shortest = None;
        self.samples = 0;
        self.stale = in_flight;
    }

    fn bounded(&self, limit: f64) -> f64 {
        let floor = self.settings.floor.max(1) as f64;
        limit.clamp(floor, (self.settings.ceiling as f64).max(floor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that runs `capacity` at a time in so many milliseconds, and lets the rest wait.
    fn serve(limit: &mut Gradient, capacity: usize, millis: f64, requests: usize) -> usize {
        for _ in 0..requests {
            let running = limit.limit();
            let queued = running.max(capacity) as f64 / capacity as f64;
            limit.sample(Sample::Took(Duration::from_secs_f64(millis / 1000.0 * queued)), running);
        }
        limit.limit()
    }

    fn settles_at(capacity: usize, settings: GradientSettings) -> usize {
        serve(&mut Gradient::new(settings), capacity, 10.0, 5000)
    }

    #[test]
    fn it_settles_near_what_the_server_can_do() {
        for capacity in [20, 100, 400] {
            let settled = settles_at(capacity, GradientSettings::default());
            assert!(settled >= capacity && settled <= capacity * 3, "{settled} for {capacity}");
        }
    }

    #[test]
    fn it_finds_a_server_that_changes() {
        let mut limit = Gradient::new(GradientSettings { window: 1000, ..GradientSettings::default() });
        for (capacity, millis) in [(100, 10.0), (30, 40.0), (200, 5.0)] {
            let settled = serve(&mut limit, capacity, millis, 10_500);
            // The last probe may have been a moment ago.
            assert!(settled >= capacity / 2 && settled <= capacity * 3, "{settled} for {capacity}");
        }
    }

    #[test]
    fn floor_and_ceiling_hold() {
        let settings = GradientSettings { floor: 10, ceiling: 50, ..GradientSettings::default() };
        assert_eq!(settles_at(1000, settings), 50);
        let mut limit = Gradient::new(settings);
        for _ in 0..1000 {
            limit.sample(Sample::Overloaded, 10);
        }
        assert_eq!(limit.limit(), 10);
        let odd = GradientSettings { floor: 0, ceiling: 0, initial: 0, window: 0, smoothing: 9.0, ..settings };
        assert_eq!(settles_at(1000, odd), 1);
    }

    #[test]
    fn an_idle_server_teaches_nothing_and_a_slow_one_lowers_the_limit() {
        let mut limit = Gradient::new(GradientSettings::default());
        for _ in 0..100 {
            limit.sample(Sample::Took(Duration::from_millis(10)), 1);
        }
        assert_eq!(limit.limit(), 20);
        for _ in 0..20 {
            limit.sample(Sample::Took(Duration::from_millis(200)), 20);
        }
        assert!(limit.limit() < 20, "{}", limit.limit());
    }
}
