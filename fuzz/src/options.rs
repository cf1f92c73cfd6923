//! The command line.

use std::path::PathBuf;

use crate::TARGETS;

pub(crate) struct Options {
    /// How long each target runs.
    pub(crate) seconds: u64,
    /// Where the generator starts.
    pub(crate) seed: u64,
    /// The one input to look at again.
    pub(crate) input: Option<PathBuf>,
    targets: Vec<String>,
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options { seconds: 10, seed: 1, input: None, targets: Vec::new() };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--seed" => options.seed = value()?.parse().map_err(|_| "--seed takes a number")?,
                "--input" => options.input = Some(value()?.into()),
                name if TARGETS.iter().any(|target| target.name == name) => options.targets.push(argument),
                text => options.seconds = text.parse().map_err(|_| format!("neither seconds nor a target: {text}"))?,
            }
        }
        match options.input.is_some() && options.targets.is_empty() {
            true => Err("--input needs its target".into()),
            false => Ok(options),
        }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.targets.is_empty() || self.targets.iter().any(|target| target == name)
    }
}
