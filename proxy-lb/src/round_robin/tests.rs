use std::collections::HashMap;
use std::thread;

use proxy_core::BackendState;

use super::RoundRobin;
use crate::lab::{Lab, named};

fn setup(weights: &[u32]) -> Lab<RoundRobin> {
    Lab::new(RoundRobin::new(), weights)
}

fn counts(ids: &str) -> HashMap<char, usize> {
    ids.chars().fold(HashMap::new(), |mut counts, id| {
        *counts.entry(id).or_default() += 1;
        counts
    })
}

#[test]
fn each_in_turn_as_often_as_its_weight_says() {
    let check = |weights: &[u32], expected: &str| {
        let lab = setup(weights);
        let ids = lab.ids(2 * expected.len());
        assert_eq!(ids, expected.repeat(2), "{weights:?}");
    };
    check(&[1], "a");
    check(&[1, 1, 1], "abc");
    check(&[7, 7], "ab");
    check(&[5, 1, 1], "aabacaa");
    check(&[100, 200], "bab");
    check(&[2, 0, 1], "aca");
    check(&[1, 2, 3, 4], "dcbdacdbcd");
}

#[test]
fn every_window_of_one_round_is_exact() {
    let lab = setup(&[4, 3, 2]);
    let ids = lab.ids(90);
    for start in 0..80 {
        let window = counts(&ids[start..start + 9]);
        assert_eq!((window[&'a'], window[&'b'], window[&'c']), (4, 3, 2), "from {start}");
    }
}

/// Weights without a common factor: no table of 131,069 entries is made, and the shares hold still.
#[test]
fn large_weights_are_exact_and_even() {
    let lab = setup(&[65_535, 65_534]);
    let ids = lab.ids(131_069);
    assert_eq!(counts(&ids), HashMap::from([('a', 65_535), ('b', 65_534)]));
    assert!(!ids.contains("aaa") && !ids.contains("bbb"), "in lumps");
}

#[test]
fn no_candidates_no_choice() {
    let lab = setup(&[]);
    assert_eq!(lab.choose(&[], None), None);
    let lab = setup(&[1, 2]);
    assert_eq!(lab.choose(&lab.backends(), None), None);
}

#[test]
fn a_backend_that_was_tried_is_not_chosen_again() {
    for weights in [&[1, 1, 1], &[5, 1, 1], &[65_535, 65_534, 1]] {
        let lab = setup(weights);
        let first = lab.backends()[..1].to_vec();
        for _ in 0..100 {
            assert_ne!(lab.choose(&first, None).as_ref(), first.first(), "{weights:?}");
        }
    }
}

/// Retries once moved the counter of first tries on: with two backends, one of them dead, every
/// request began at the dead one.
#[test]
fn retries_do_not_disturb_the_order_of_first_tries() {
    let lab = setup(&[1, 1]);
    let dead = lab.backends()[..1].to_vec();
    let mut ids = String::new();
    for _ in 0..4 {
        ids += &lab.ids(1);
        lab.choose(&dead, None);
    }
    assert_eq!(ids, "abab");
}

#[test]
fn those_that_are_left_share_by_weight() {
    let check = |weights: &[u32], expected: &[(char, usize)]| {
        let lab = setup(weights);
        lab.ids(3);
        lab.set().set_state("a", BackendState::Unhealthy);
        let round = expected.iter().map(|(_, count)| count).sum::<usize>();
        let ids = lab.ids(10 * round);
        for start in 0..9 * round {
            let window = counts(&ids[start..start + round]);
            assert_eq!(window, expected.iter().copied().collect(), "{weights:?} from {start}");
        }
    };
    check(&[1, 1, 1], &[('b', 1), ('c', 1)]);
    check(&[5, 1, 1], &[('b', 1), ('c', 1)]);
    check(&[1, 5, 3], &[('b', 5), ('c', 3)]);
}

#[test]
fn a_changed_set_is_followed() {
    let lab = setup(&[1, 1]);
    assert_eq!(lab.ids(4), "abab");
    lab.set().replace(named("bcd", &[1, 1, 2])).unwrap();
    // Between the two calls the selector has a table of other backends.
    assert!(lab.ids(20).chars().all(|id| "bcd".contains(id)));
    lab.tell();
    assert_eq!(counts(&lab.ids(8)), HashMap::from([('b', 2), ('c', 2), ('d', 4)]));
    lab.replace("ef", &[1, 2]);
    assert_eq!(counts(&lab.ids(9)), HashMap::from([('e', 3), ('f', 6)]));
}

#[test]
fn weights_and_ramps_change_while_requests_run() {
    let lab = setup(&[1, 1, 1]);
    let check = |expected: &[(char, usize)]| {
        lab.refresh();
        let round = expected.iter().map(|(_, count)| count).sum();
        assert_eq!(counts(&lab.ids(round)), expected.iter().copied().collect());
    };
    lab.backends()[0].set_weight(4);
    check(&[('a', 4), ('b', 1), ('c', 1)]);
    lab.backends()[1].set_ramp(64); // a quarter: it warms up
    check(&[('a', 16), ('b', 1), ('c', 4)]);
    lab.backends()[2].set_ramp(1);
    check(&[('a', 1024), ('b', 64), ('c', 1)]);
    lab.backends()[2].set_weight(0); // it drains
    check(&[('a', 16), ('b', 1)]);
    lab.backends()[1].set_weight(4);
    lab.backends()[1].set_ramp(256);
    check(&[('a', 1), ('b', 1)]);
}

#[test]
fn threads_share_one_order() {
    for weights in [&[1, 1, 1], &[3, 2, 1]] {
        let lab = setup(weights);
        let chosen: String = thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| lab.ids(1500)));
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let counts = counts(&chosen);
        for (name, weight) in "abc".chars().zip(weights) {
            assert_eq!(counts[&name], 6000 * *weight as usize / weights.iter().sum::<u32>() as usize);
        }
    }
}
