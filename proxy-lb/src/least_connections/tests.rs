use std::collections::VecDeque;
use std::time::Duration;

use proxy_core::testing::Busy;
use proxy_core::{Backend, BackendState};

use super::LeastConnections;
use crate::dice::{Dice, part};
use crate::lab::{Lab, named};

fn lab(weights: &[u32]) -> Lab<LeastConnections> {
    Lab::new(LeastConnections::new(), weights)
}

/// The load of each backend, in the rule's own words.
fn loads(backends: &[Backend]) -> Vec<f64> {
    let load = |backend: &Backend| match backend.in_flight() {
        0 => 0.0,
        busy => (busy + 1) as f64 / f64::from(backend.share()),
    };
    backends.iter().map(load).collect()
}

#[test]
fn the_idle_take_turns() {
    assert_eq!(lab(&[1, 1, 1]).ids(6), "abcabc");
    assert_eq!(lab(&[1, 5, 1]).ids(6), "abcabc", "an idle one comes first whatever its weight");
    let lab = lab(&[1; 100]);
    assert_eq!(lab.counts(1000, &[]), [10; 100]);
}

#[test]
fn the_least_loaded_for_its_share_is_chosen() {
    let check = |weights: &[u32], busy: &[usize], expected: &str| {
        let lab = lab(weights);
        let _busy = lab.busy(busy);
        lab.tell();
        assert_eq!(lab.ids(1), expected, "{weights:?} {busy:?}");
    };
    check(&[1, 1, 1], &[2, 1, 2], "b");
    check(&[1, 1, 1], &[1, 1, 0], "c");
    check(&[1, 3], &[1, 3], "b");
    check(&[1, 3], &[1, 6], "a");
    check(&[4, 1, 1], &[7, 1, 2], "a");
    check(&[4, 1, 1], &[8, 1, 2], "b");
}

/// Whatever begins and ends in whatever order, every choice is a least loaded backend: of few, of many
/// in groups, and of many with weights.
#[test]
fn every_choice_is_exact_with_one_thread() {
    let mixed: Vec<_> = (0..300).map(|index| 1 + index % 7).collect();
    for weights in [&[1, 1, 1][..], &[1; 300], &mixed] {
        let (lab, dice) = (lab(weights), Dice::seeded(1));
        let backends = lab.backends();
        let mut running = VecDeque::new();
        for _ in 0..3000 {
            let least = loads(&backends).into_iter().fold(f64::MAX, f64::min);
            let chosen = lab.choose(&[], None).expect("a candidate");
            let index = backends.iter().position(|backend| *backend == chosen).expect("of the set");
            assert_eq!(loads(&backends)[index], least, "{chosen:?}");
            running.push_back((chosen.clone(), Busy::with(&chosen)));
            while running.len() > part(dice.next(), 2 * weights.len()) + 1 {
                let any = part(dice.next(), running.len());
                lab.end(running.swap_remove_back(any).expect("within"), Duration::from_millis(1));
            }
        }
    }
}

/// With all of them busy, requests in flight settle in proportion to weights.
#[test]
fn requests_in_flight_follow_the_weights() {
    let weights: Vec<_> = (0..60).map(|index| 1 + index % 3).collect();
    let lab = lab(&weights);
    let _held: Vec<_> = (0..6000).map(|_| lab.begin()).collect();
    for backend in lab.backends() {
        let fair = 50 * backend.weight() as usize;
        assert!(backend.in_flight().abs_diff(fair) <= 3, "{backend:?}: {}", backend.in_flight());
    }
}

/// What the selector is not asked about makes notes too low, never wrong for long.
#[test]
fn requests_that_came_another_way_are_seen() {
    let lab = lab(&[1; 100]);
    let held = lab.busy(&[[0; 10], [3; 10]].concat().repeat(5));
    let ids: Vec<_> = (0..200).map(|_| lab.begin().0.in_flight()).collect();
    assert!(ids[4..].iter().all(|in_flight| *in_flight <= 1), "{ids:?}");
    drop(held); // and nobody says so
    let counts = lab.counts(300, &[]);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn two_threads_leave_nothing_behind_and_nobody_out() {
    for count in [3, 100] {
        let counts = lab(&vec![1; count]).two_threads(50 * count);
        assert_eq!(counts.iter().sum::<usize>(), 100 * count);
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    }
}

#[test]
fn one_that_left_drains_or_was_tried_is_not_chosen() {
    let lab = lab(&[1; 3]);
    assert!(lab.counts(60, &lab.backends()[..1])[0] == 0);
    lab.set().set_state("a", BackendState::Draining);
    lab.tell();
    lab.backends()[1].set_weight(0);
    lab.refresh();
    assert_eq!(lab.counts(60, &[]), [0, 0, 60]);
    lab.set().replace(named("de", &[1, 1])).unwrap();
    assert!(lab.ids(20).chars().all(|id| "de".contains(id)), "not told yet");
    lab.tell();
    assert!(lab.ids(20).chars().all(|id| "de".contains(id)));
}

#[test]
fn nobody_nothing() {
    lab(&[]).check_empty();
}
