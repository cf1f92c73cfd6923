//! Parsers and whole connections against random bytes: `fuzz/run [SECONDS] [TARGET…] [--seed N]`.
//!
//! Inputs are the seeds in `fuzz/seeds/TARGET`, these mutated and spliced, and words of a grammar, all
//! out of a repeatable generator; what makes a target behave as nothing did before is kept and mutated
//! further. The first finding ends the run and is written to `fuzz/findings/TARGET-HASH`; look at it
//! again with `fuzz/run TARGET --input FILE`, and commit it as a seed once it is fixed.

use std::process::ExitCode;

mod answer;
mod answers;
mod campaign;
mod connection;
mod expect;
mod feedback;
mod forwarded;
mod frames;
mod generate;
mod heads;
mod mutate;
mod options;
mod origin;
mod peer;
mod socks;
mod starts;
mod strict;
mod trace;

use generate::Generate;
use options::Options;

/// Checks one input; the error says what is wrong.
type Check = fn(&[u8]) -> Result<(), String>;

/// Something to be fuzzed.
struct Target {
    name: &'static str,
    generate: Generate,
    check: Check,
}

static TARGETS: [Target; 12] = [
    Target { name: "request_head", generate: generate::request_head, check: heads::request },
    Target { name: "response_head", generate: generate::response_head, check: heads::response },
    Target { name: "chunked", generate: generate::chunked, check: heads::chunked },
    Target { name: "connection", generate: generate::requests, check: connection::check },
    Target { name: "http2", generate: frames::frames, check: frames::check },
    Target { name: "answer", generate: generate::responses, check: answer::check },
    Target { name: "proxy_header", generate: starts::grow_proxy_header, check: starts::proxy_header },
    Target { name: "client_hello", generate: starts::grow_client_hello, check: starts::client_hello },
    Target { name: "socks", generate: generate::socks, check: socks::handshake },
    Target { name: "destination", generate: generate::destination, check: socks::destination },
    Target { name: "trace_context", generate: trace::grow, check: trace::check },
    Target { name: "config", generate: generate::configuration, check: config },
];

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let clean = TARGETS.iter().filter(|target| options.wants(target.name)).all(|target| match &options.input {
        Some(file) => campaign::replay(target, file),
        None => campaign::run(target, &options),
    });
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Any text is a configuration or a list of errors.
fn config(bytes: &[u8]) -> Result<(), String> {
    match String::from_utf8_lossy(bytes).parse::<proxy_config::Config>() {
        Ok(config) => config.unsupported().iter().for_each(|part| feedback::note(part.to_string())),
        Err(errors) if errors.iter().next().is_none() => return Err("refused without an error".into()),
        // Without what was quoted from the input, and without the numbers of lines.
        Err(errors) => errors.iter().for_each(|error| feedback::note(shape_of(&error.to_string()))),
    }
    Ok(())
}

fn shape_of(message: &str) -> String {
    let quoted = message.split('"').step_by(2).map(|text| text.split('`').step_by(2).collect::<String>());
    quoted.flat_map(|text| text.chars().filter(|c| !c.is_ascii_digit()).collect::<Vec<_>>()).collect()
}
