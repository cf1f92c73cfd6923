use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn backend(id: &str) -> Backend {
    Backend::new(id.parse().unwrap())
}

fn set(ids: &[&str]) -> BackendSet {
    BackendSet::new(ids.iter().map(|id| backend(id)))
}

#[track_caller]
fn check_ids(set: &BackendSet, members: &[&str], candidates: &[&str]) {
    let ids = |backends: &[Backend]| backends.iter().map(|backend| backend.id().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&set.backends()), members);
    assert_eq!(set.with(|snapshot| ids(snapshot.eligible())), candidates);
}

fn unhealthy(source: HealthSource) -> Verdict {
    Verdict::new(source, BackendState::Unhealthy, "it does not answer")
}

#[test]
fn a_replaced_set_keeps_the_handles_of_unchanged_backends() {
    let set = set(&["a:1", "b:1"]);
    let before = set.backends();
    set.report(&before[1], unhealthy(HealthSource::Check));
    set.replace([Backend::builder("b:1".parse().unwrap()).weight(7).build(), backend("c:1")]).unwrap();
    let after = set.backends();
    assert_eq!(before[1], after[0]);
    assert_ne!(before[0], after[1]);
    assert_eq!((after[0].weight(), after[0].state()), (7, BackendState::Unhealthy));
    check_ids(&set, &["b:1", "c:1"], &["c:1"]);
    let moved = Backend::builder("x:9".parse().unwrap()).id("b:1").build();
    assert_ne!(set.insert(moved), after[0], "another address is another server");
    check_ids(&set, &["b:1", "c:1"], &["b:1", "c:1"]);
}

#[test]
fn bad_lists_leave_the_set_as_it_was() {
    let set = set(&["a:1", "b:1"]);
    assert_eq!(set.replace([]), Err(SetError::Empty));
    assert_eq!(set.replace([backend("c:1"), backend("c:1")]), Err(SetError::Duplicate("c:1".into())));
    check_ids(&set, &["a:1", "b:1"], &["a:1", "b:1"]);
    assert_eq!(BackendSet::new([backend("a:1"), backend("a:1")]).backends().len(), 1);
}

#[test]
fn backends_come_and_go_one_by_one() {
    let set = set(&["a:1"]);
    let b = set.insert(backend("b:1"));
    assert_eq!(set.insert(backend("b:1")), b);
    check_ids(&set, &["a:1", "b:1"], &["a:1", "b:1"]);
    assert_eq!(set.remove("b:1"), Some(b.clone()));
    assert_eq!(set.remove("b:1"), None);
    assert!(!set.report(&b, unhealthy(HealthSource::Check)), "it is not in the set");
    check_ids(&set, &["a:1"], &["a:1"]);
    set.remove("a:1");
    check_ids(&set, &[], &[]);
}

#[test]
fn only_healthy_backends_with_weight_are_candidates() {
    let set = set(&["a:1", "b:1", "c:1"]);
    assert!(set.set_state("b:1", BackendState::Draining));
    assert!(!set.set_state("x:1", BackendState::Draining));
    set.with(|snapshot| {
        let candidates = snapshot.candidates();
        let ids: Vec<_> = candidates.iter().map(Backend::id).collect();
        assert_eq!(ids, ["a:1", "c:1"]);
        let draining = candidates.by_id("b:1").unwrap();
        assert!(!candidates.contains(draining));
        assert!(candidates.contains(candidates.at(1).unwrap()));
        assert!(!candidates.contains(&backend("a:1")), "another handle is another backend");
    });
}

#[test]
fn verdicts_of_several_sources_are_kept_apart() {
    let set = set(&["a:1", "b:1"]);
    let a = set.get("a:1").unwrap();
    set.report(&a, unhealthy(HealthSource::Check));
    set.set_state("a:1", BackendState::Maintenance);
    set.set_state("a:1", BackendState::Healthy);
    let status = set.statuses()[0].1.clone();
    assert_eq!(status.to_string(), "unhealthy (check: it does not answer)");
    assert_eq!(status, a.status());
    set.report(&a, Verdict::new(HealthSource::Check, BackendState::Healthy, "2 good answers"));
    assert_eq!(set.statuses()[0].1.to_string(), "healthy (check: 2 good answers)");
}

/// Eligible in another order than the set's.
struct Backwards;

impl Eligibility for Backwards {
    fn eligible(&self, backends: &[Backend]) -> Vec<Backend> {
        backends.iter().rev().filter(|backend| backend.is_usable()).cloned().collect()
    }
}

#[test]
fn who_is_eligible_is_known_in_any_order() {
    let set = BackendSet::with_eligibility(["a:1", "b:1", "c:1"].map(backend), Backwards);
    set.set_state("b:1", BackendState::Maintenance);
    check_ids(&set, &["a:1", "b:1", "c:1"], &["c:1", "a:1"]);
    let contained = set
        .with_candidates(&[], |candidates| set.backends().iter().map(|b| candidates.contains(b)).collect::<Vec<_>>());
    assert_eq!(contained, [true, false, true]);
}

#[tokio::test]
async fn followers_hear_of_every_change() {
    let set = set(&["a:1", "b:1"]);
    let [a, b] = &set.backends()[..] else { panic!("not two") };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let watch = set.watch(move |event| log.lock().unwrap().push(event.clone()));
    let broken = set.watch(|_| panic!("a broken plugin"));
    let mut changes = set.changes();
    set.report_all([(a.clone(), unhealthy(HealthSource::Check)), (b.clone(), unhealthy(HealthSource::Outlier))]);
    changes.changed().await;
    set.report(a, unhealthy(HealthSource::Outlier)); // no other state
    let c = set.insert(backend("c:1"));
    set.remove("a:1");
    let healthy = BackendState::Healthy;
    let expected = [
        SetEvent::Changed(a.clone(), healthy),
        SetEvent::Changed(b.clone(), healthy),
        SetEvent::Joined(c),
        SetEvent::Left(a.clone()),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
    drop((watch, broken));
    set.remove("b:1");
    assert_eq!(seen.lock().unwrap().len(), 4);
}

/// Changes from many threads are all made, and readers never see a torn set.
#[test]
fn changes_from_many_threads_are_all_made() {
    let set = set(&["first:1"]);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 1..=4 {
            let (set, done) = (set.clone(), &done);
            scope.spawn(move || {
                for round in 0..50 {
                    set.insert(backend(&format!("t{thread}r{round}:1")));
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        while done.load(Ordering::SeqCst) < 4 {
            set.with_candidates(&[], |candidates| {
                assert!(candidates.iter().all(|backend| candidates.by_id(backend.id()) == Some(backend)));
            });
        }
    });
    assert_eq!(set.backends().len(), 201);
}
