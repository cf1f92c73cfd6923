//! One target for some time.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::mutate::Mutator;
use crate::options::Options;
use crate::{Target, feedback};

/// No input takes a thousandth of it, deadlines included: they pass in no time.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the watching thread sees.
#[derive(Default)]
struct Progress {
    executions: AtomicU64,
    input: Mutex<Vec<u8>>,
}

/// Says how it went; `false` where something was found.
pub(crate) fn run(target: &'static Target, options: &Options) -> bool {
    let (progress, started) = (Arc::new(Progress::default()), SystemTime::now());
    let mutator = Mutator::new(seeds(target.name), target.generate, options.seed);
    let (sender, verdict) = mpsc::channel();
    let (worker, seconds) = (Arc::clone(&progress), options.seconds);
    // Not joined: a target that hangs is left behind.
    thread::spawn(move || sender.send(explore(target, mutator, Duration::from_secs(seconds), &worker)));
    match wait(&verdict, &progress) {
        Ok(behaviours) => {
            let executions = progress.executions.load(Ordering::Relaxed);
            let rate = executions as f64 / started.elapsed().unwrap_or_default().as_secs_f64();
            println!(
                "{}: {executions} executions, {rate:.0} per second, {behaviours} behaviours, nothing found",
                target.name
            );
            true
        }
        Err(problem) => {
            report(target.name, &progress.input.lock().unwrap_or_else(PoisonError::into_inner), &problem);
            false
        }
    }
}

/// Checks one input that was found before.
pub(crate) fn replay(target: &Target, file: &Path) -> bool {
    let verdict = std::fs::read(file).map_err(|error| error.to_string()).and_then(|input| (target.check)(&input));
    println!("{}: {}: {verdict:?}", target.name, file.display());
    verdict.is_ok()
}

/// Returns how many ways to behave were seen.
fn explore(target: &Target, mut mutator: Mutator, time: Duration, progress: &Progress) -> Result<usize, String> {
    let (started, mut behaviours) = (SystemTime::now(), HashSet::new());
    loop {
        for _ in 0..64 {
            let input = mutator.next();
            progress.input.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&input);
            let verdict = catch_unwind(AssertUnwindSafe(|| (target.check)(&input)));
            verdict.unwrap_or_else(|_| Err("it panicked".into()))?;
            if behaviours.insert(feedback::take()) {
                mutator.keep(input);
            }
            progress.executions.fetch_add(1, Ordering::Relaxed);
        }
        if started.elapsed().unwrap_or_default() >= time {
            return Ok(behaviours.len());
        }
    }
}

fn wait(verdict: &mpsc::Receiver<Result<usize, String>>, progress: &Progress) -> Result<usize, String> {
    let mut before = None;
    loop {
        match verdict.recv_timeout(PATIENCE) {
            Ok(verdict) => return verdict,
            Err(RecvTimeoutError::Disconnected) => return Err("its thread is gone".into()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = Some(progress.executions.load(Ordering::Relaxed));
        if now == before {
            return Err("it hangs".into());
        }
        before = now;
    }
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = folder().join("seeds").join(name);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("no seeds in {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

fn report(name: &str, input: &[u8], problem: &str) {
    // FNV-1a: the same finding is the same file.
    let hash = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let findings = folder().join("findings");
    let file = findings.join(format!("{name}-{hash:016x}"));
    let written = std::fs::create_dir_all(&findings).and_then(|()| std::fs::write(&file, input));
    println!("{name}: {problem}\n  input: {}\n  written to {}: {written:?}", input.escape_ascii(), file.display());
}
