use std::time::Duration;

use http::StatusCode;
use proxy_core::testing::{Busy, attempt};
use proxy_core::{Attempt, AttemptResult, Backend, ErrorKind, Selector};

use super::PeakEwma;
use crate::lab::{Lab, chi_square_bound};

const OK: AttemptResult = AttemptResult::Response(StatusCode::OK);

fn lab(weights: &[u32]) -> Lab<PeakEwma> {
    Lab::new(PeakEwma::seeded(1), weights)
}

impl Lab<PeakEwma> {
    fn took(&self, index: usize, result: AttemptResult, millis: u64) {
        self.ended(index, &attempt(result, Duration::from_millis(millis)));
    }

    fn ended(&self, index: usize, attempt: &Attempt) {
        self.selector().on_outcome(&self.backends()[index], attempt);
    }
}

#[tokio::test(start_paused = true)]
async fn the_quicker_of_two_is_taken_until_it_is_busy() {
    let lab = lab(&[1, 1]);
    lab.took(0, OK, 10);
    lab.took(1, OK, 45);
    assert_eq!(lab.ids(100), "a".repeat(100));
    let mut busy: Vec<Busy> = Vec::new();
    for expected in ["a", "a", "a", "a", "b"] {
        assert_eq!(lab.ids(1), expected, "{} in flight", busy.len());
        busy.push(Busy::with(&lab.backends()[0]));
    }
}

#[tokio::test(start_paused = true)]
async fn weights_count() {
    let lab = lab(&[1, 6]);
    lab.took(0, OK, 10);
    lab.took(1, OK, 45);
    // 10 ms for a share of 1 are more than 45 ms for one of 6.
    assert_eq!(lab.counts(500, &[]), [0, 500]);
}

#[tokio::test(start_paused = true)]
async fn what_was_slow_is_forgotten() {
    let lab = lab(&[1, 1]);
    lab.took(0, OK, 10);
    lab.took(1, OK, 4000);
    for _ in 0..60 {
        assert_eq!(lab.ids(1), "a");
        tokio::time::advance(Duration::from_secs(1)).await;
        lab.took(0, OK, 10);
    }
    // Six decay times: 4 s have faded to under 10 ms.
    tokio::time::advance(Duration::from_secs(1)).await;
    lab.took(0, OK, 10);
    assert_eq!(lab.ids(1), "b");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_one_gets_one_request_to_show() {
    let lab = lab(&[1, 1]);
    lab.took(0, OK, 10);
    assert_eq!(lab.ids(1), "b");
    let _probe = Busy::with(&lab.backends()[1]);
    assert_eq!(lab.ids(20), "a".repeat(20));
}

#[tokio::test(start_paused = true)]
async fn how_an_attempt_ended_counts() {
    let other = Duration::from_millis(500);
    let check = |result: AttemptResult, took: u64, expected: &str| {
        let lab = lab(&[1, 1]);
        lab.took(0, OK, 10);
        lab.took(1, OK, 500);
        lab.took(0, result, took);
        assert_eq!(lab.ids(1), expected, "{result:?} after {took} ms, against {other:?}");
    };
    check(OK, 600, "b");
    check(AttemptResult::Response(StatusCode::NOT_FOUND), 1, "a");
    check(AttemptResult::Response(StatusCode::INTERNAL_SERVER_ERROR), 1, "a");
    check(AttemptResult::Response(StatusCode::SERVICE_UNAVAILABLE), 1, "b");
    check(AttemptResult::Failed(ErrorKind::ConnectRefused), 1, "b"); // refusing quickly draws nothing
    check(AttemptResult::Failed(ErrorKind::ClientGone), 1, "a");
    check(AttemptResult::Failed(ErrorKind::PoolTimeout), 9000, "a"); // our own limit
    check(AttemptResult::Abandoned, 100, "a");
    check(AttemptResult::Abandoned, 9000, "b"); // it would have taken longer still
}

#[tokio::test(start_paused = true)]
async fn equals_share_and_a_backend_keeps_its_average_over_changes() {
    let lab = lab(&[1, 1, 1, 1]);
    (0..4).for_each(|index| lab.took(index, OK, 10));
    let deviation: f64 = lab.counts(40_000, &[]).iter().map(|n| (*n as f64 - 1e4).powi(2) / 1e4).sum();
    assert!(deviation <= chi_square_bound(3), "{deviation}");
    lab.took(0, OK, 1000);
    lab.backends()[3].set_weight(0); // drains
    lab.refresh();
    let counts = lab.counts(300, &[]);
    assert_eq!((counts[0], counts[3]), (0, 0), "{counts:?}");
    let tried: Vec<Backend> = lab.backends()[1..].to_vec();
    assert_eq!(lab.counts(10, &tried)[0], 10);
}

#[tokio::test(start_paused = true)]
async fn two_threads_leave_nothing_behind() {
    let counts = lab(&[1, 1, 1]).two_threads(500);
    assert_eq!(counts.iter().sum::<usize>(), 1000);
}

#[test]
fn nobody_nothing() {
    lab(&[]).check_empty();
}
