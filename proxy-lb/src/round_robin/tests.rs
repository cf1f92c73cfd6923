use std::collections::HashMap;
use std::thread;

use proxy_core::{Backend, BackendSet, BackendState, SelectionContext, Selector};

use super::RoundRobin;

/// Backends `a`, `b`, … of these weights, and a selector that knows them.
fn setup(weights: &[u32]) -> (RoundRobin, BackendSet) {
    let selector = RoundRobin::new();
    let set = BackendSet::new(named("abcdefgh", weights));
    selector.on_change(&set.backends());
    (selector, set)
}

fn named(names: &str, weights: &[u32]) -> Vec<Backend> {
    let backend = |(name, weight): (char, &u32)| {
        let address = format!("{name}:1").parse().expect("an address");
        Backend::builder(address).id(&name.to_string()).weight(*weight).build()
    };
    names.chars().zip(weights).map(backend).collect()
}

fn choose(selector: &RoundRobin, set: &BackendSet, tried: &[Backend]) -> Option<Backend> {
    let context = SelectionContext::new(None, None);
    set.with_candidates(tried, |candidates| selector.select(candidates, &context))
}

/// The ids of so many choices in a row.
fn run(selector: &RoundRobin, set: &BackendSet, count: usize) -> String {
    (0..count).map(|_| choose(selector, set, &[]).expect("a candidate").id().to_owned()).collect()
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
        let (selector, set) = setup(weights);
        let ids = run(&selector, &set, 2 * expected.len());
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
    let (selector, set) = setup(&[4, 3, 2]);
    let ids = run(&selector, &set, 90);
    for start in 0..80 {
        let window = counts(&ids[start..start + 9]);
        assert_eq!((window[&'a'], window[&'b'], window[&'c']), (4, 3, 2), "from {start}");
    }
}

/// Weights without a common factor: no table of 131,069 entries is made, and the shares hold still.
#[test]
fn large_weights_are_exact_and_even() {
    let (selector, set) = setup(&[65_535, 65_534]);
    let ids = run(&selector, &set, 131_069);
    assert_eq!(counts(&ids), HashMap::from([('a', 65_535), ('b', 65_534)]));
    assert!(!ids.contains("aaa") && !ids.contains("bbb"), "in lumps");
}

#[test]
fn no_candidates_no_choice() {
    let (selector, set) = setup(&[]);
    assert_eq!(choose(&selector, &set, &[]), None);
    let (selector, set) = setup(&[1, 2]);
    assert_eq!(choose(&selector, &set, &set.backends()), None);
}

#[test]
fn a_backend_that_was_tried_is_not_chosen_again() {
    for weights in [&[1, 1, 1], &[5, 1, 1], &[65_535, 65_534, 1]] {
        let (selector, set) = setup(weights);
        let first = set.backends()[..1].to_vec();
        for _ in 0..100 {
            assert_ne!(choose(&selector, &set, &first).as_ref(), first.first(), "{weights:?}");
        }
    }
}

/// Retries once moved the counter of first tries on: with two backends, one of them dead, every
/// request began at the dead one.
#[test]
fn retries_do_not_disturb_the_order_of_first_tries() {
    let (selector, set) = setup(&[1, 1]);
    let dead = set.backends()[..1].to_vec();
    let mut ids = String::new();
    for _ in 0..4 {
        ids += &run(&selector, &set, 1);
        choose(&selector, &set, &dead);
    }
    assert_eq!(ids, "abab");
}

#[test]
fn those_that_are_left_share_by_weight() {
    let check = |weights: &[u32], expected: &[(char, usize)]| {
        let (selector, set) = setup(weights);
        run(&selector, &set, 3);
        set.set_state("a", BackendState::Unhealthy);
        let round = expected.iter().map(|(_, count)| count).sum::<usize>();
        let ids = run(&selector, &set, 10 * round);
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
    let (selector, set) = setup(&[1, 1]);
    assert_eq!(run(&selector, &set, 4), "abab");
    set.replace(named("bcd", &[1, 1, 2])).unwrap();
    // Between the two calls the selector has a table of other backends.
    assert!(run(&selector, &set, 20).chars().all(|id| "bcd".contains(id)));
    selector.on_change(&set.backends());
    assert_eq!(counts(&run(&selector, &set, 8)), HashMap::from([('b', 2), ('c', 2), ('d', 4)]));
    set.replace(named("ef", &[1, 2])).unwrap();
    selector.on_change(&set.backends());
    assert_eq!(counts(&run(&selector, &set, 9)), HashMap::from([('e', 3), ('f', 6)]));
}

#[test]
fn threads_share_one_order() {
    for weights in [&[1, 1, 1], &[3, 2, 1]] {
        let (selector, set) = setup(weights);
        let chosen: String = thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| run(&selector, &set, 1500)));
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let counts = counts(&chosen);
        for (name, weight) in "abc".chars().zip(weights) {
            assert_eq!(counts[&name], 6000 * *weight as usize / weights.iter().sum::<u32>() as usize);
        }
    }
}
