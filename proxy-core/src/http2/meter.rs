//! What a client's frames cost, seen as they pass.
//!
//! The codec does not tell of frames that change nothing: pings, settings, priorities, empty data. Each costs
//! some work and an answer, and none has a limit there.

use std::time::Duration;

use super::budget::Budget;
use crate::clock::Instant;

/// Bytes before the first frame (RFC 9113 §3.4).
const PREFACE: usize = 24;
const HEAD: usize = 9;
/// A request earns as many idle frames as a client may want around it: window updates, a priority, a ping.
const PER_REQUEST: u32 = 8;
/// So many bytes of a body earn one: a client acknowledges what it gets by window updates.
const BYTES: usize = 512;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Follows frame heads through a client's bytes.
#[derive(Debug)]
pub(super) struct Meter {
    head: [u8; HEAD],
    /// How much of a head is here.
    filled: usize,
    /// What comes before the next head.
    skip: usize,
    /// A field block has begun and not ended.
    in_block: bool,
    /// So has the frame at hand, which is one of it.
    in_fields: bool,
    budget: Budget,
}

impl Meter {
    pub(super) fn new(max_idle_frames: u32, now: Instant) -> Self {
        let pace = Duration::from_secs(30) / max_idle_frames.max(1);
        let budget = Budget::new(max_idle_frames, pace, now);
        Meter { head: [0; HEAD], filled: 0, skip: PREFACE, in_block: false, in_fields: false, budget }
    }

    /// Bytes came; `false` where they are a flood.
    pub(super) fn received(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            self.in_fields &= self.skip > 0;
            if bytes.is_empty() {
                return true;
            }
            let taken = bytes.len().min(HEAD - self.filled);
            self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEAD && !self.begin() {
                return false;
            }
        }
    }

    fn begin(&mut self) -> bool {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.filled = 0;
        self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let is_fields = matches!(kind, HEADERS | CONTINUATION);
        self.in_fields = is_fields;
        if is_fields {
            self.in_block = flags & END_HEADERS == 0;
        }
        match kind {
            HEADERS => self.budget.earn(PER_REQUEST),
            DATA if self.skip > 0 => self.budget.earn((self.skip / BYTES) as u32),
            DATA if flags & END_STREAM != 0 => {}
            _ => return self.budget.spend(Instant::now),
        }
        true
    }

    /// Bytes were sent.
    pub(super) fn sent(&mut self, count: usize) {
        self.budget.earn((count / BYTES) as u32);
    }

    /// Whether a field block has begun and is not here yet.
    pub(super) fn is_within_fields(&self) -> bool {
        self.in_block || self.in_fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = (payload as u32).to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD + payload, 7);
        frame
    }

    fn meter(budget: u32) -> Meter {
        let mut meter = Meter::new(budget, Instant::now());
        assert!(meter.received(&[0; PREFACE]));
        meter
    }

    #[test]
    fn frames_are_followed_however_their_bytes_arrive() {
        let bytes: Vec<u8> =
            [frame(4, 0, 6), frame(HEADERS, 0, 20), frame(CONTINUATION, 4, 0), frame(6, 0, 8)].concat();
        for step in 1..bytes.len() {
            let mut meter = meter(3);
            let mut within = Vec::new();
            for piece in bytes.chunks(step) {
                assert!(meter.received(piece), "{step}");
                within.push(meter.is_within_fields());
            }
            assert!(!meter.is_within_fields(), "{step}: {within:?}");
        }
    }

    #[test]
    fn a_field_block_is_open_until_its_last_frame_is_here() {
        let mut meter = meter(10);
        assert!(meter.received(&frame(HEADERS, 0, 20)[..15]) && meter.is_within_fields());
        assert!(meter.received(&[0; 14]) && meter.is_within_fields());
        let last = frame(CONTINUATION, END_HEADERS, 10);
        assert!(meter.received(&last[..12]) && meter.is_within_fields());
        assert!(meter.received(&last[12..]) && !meter.is_within_fields());
    }

    #[test]
    fn frames_that_bring_nothing_are_counted() {
        let check = |kind, flags, payload, flood| {
            let mut meter = meter(100);
            let many = frame(kind, flags, payload).repeat(101);
            assert_eq!(!meter.received(&many), flood, "{kind} {flags} {payload}");
        };
        check(DATA, 0, 0, true);
        check(DATA, END_STREAM, 0, false);
        check(DATA, 0, 10, false);
        check(HEADERS, END_HEADERS, 5, false);
        for kind in [2, 3, 4, 6, 8, 9, 77] {
            check(kind, 0, 5, true);
        }
    }

    #[test]
    fn work_earns_frames() {
        let mut meter = meter(10);
        for _ in 0..1000 {
            assert!(meter.received(&frame(8, 0, 4)));
            meter.sent(BYTES);
        }
        for _ in 0..1000 {
            assert!(meter.received(&[frame(HEADERS, END_HEADERS, 9), frame(6, 0, 8).repeat(8)].concat()));
        }
    }
}
