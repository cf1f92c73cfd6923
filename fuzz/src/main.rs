//! Parsers and whole connections against random bytes: `fuzz/run [SECONDS [TARGET…]]`.
//!
//! Inputs are seeds from `fuzz/seeds/TARGET`, mutated and spliced by a repeatable generator (set
//! `FUZZ_SEED` to choose another). A finding is written to `fuzz/findings` and ends the run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

mod connection;
mod heads;
mod mutate;
mod peer;
mod strict;

use mutate::Mutator;

/// Checks one input; the error says what is wrong.
type Check = fn(&[u8]) -> Result<(), String>;

const TARGETS: [(&str, Check); 5] = [
    ("request_head", heads::request),
    ("response_head", heads::response),
    ("chunked", heads::chunked),
    ("connection", connection::check),
    ("config", config),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(10);
    let chosen: Vec<String> = arguments.collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|target| target == name);
    let clean = TARGETS.iter().filter(|(name, _)| wanted(name)).all(|(name, check)| run(name, *check, seconds));
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one target for so long; `false` where it found something.
fn run(name: &str, check: Check, seconds: u64) -> bool {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut mutator = Mutator::new(seeds(&folder.join("seeds").join(name)), seed());
    let (started, mut executions) = (SystemTime::now(), 0_u64);
    while started.elapsed().unwrap_or_default() < Duration::from_secs(seconds) {
        for _ in 0..64 {
            let input = mutator.next();
            executions += 1;
            let verdict =
                catch_unwind(AssertUnwindSafe(|| check(&input))).unwrap_or_else(|_| Err("it panicked".into()));
            if let Err(problem) = verdict {
                report(folder, name, &input, &problem);
                return false;
            }
        }
    }
    println!("{name}: {executions} executions in {seconds} s, nothing found");
    true
}

fn seeds(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("no seeds in {}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

fn seed() -> u64 {
    std::env::var("FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn report(folder: &Path, name: &str, input: &[u8], problem: &str) {
    let findings = folder.join("findings");
    let file = findings.join(format!("{name}-{}", input.len()));
    let written = std::fs::create_dir_all(&findings).and_then(|()| std::fs::write(&file, input));
    println!("{name}: {problem}\n  input: {}\n  written to {}: {written:?}", input.escape_ascii(), file.display());
}

/// Any text is a configuration or a list of errors.
fn config(bytes: &[u8]) -> Result<(), String> {
    match String::from_utf8_lossy(bytes).parse::<proxy_config::Config>() {
        Ok(_) => Ok(()),
        Err(errors) if errors.iter().next().is_some() => Ok(()),
        Err(_) => Err("refused without an error".into()),
    }
}
