//! What can be said without serving.

use std::io::{self, Write as _};
use std::path::Path;

use proxy_config::Config;

use crate::Failure;

/// Whether the file is valid, its certificates are good, and this build can serve all of it.
pub(crate) fn check(file: &Path) -> Result<(), Failure> {
    let config = Config::load(file).map_err(Failure::of_config)?;
    let place = file.display();
    let missing = config.unsupported().iter().map(|part| format!("{place}:{}: {part}", part.position()));
    let wrong = config.check_files().into_iter().map(|error| format!("{place}: {error}"));
    let said: Vec<_> = missing.chain(wrong).collect();
    if said.is_empty() {
        println!("{place}: ok");
        return Ok(());
    }
    Err(Failure::of_config(said.join("\n")))
}

/// Whoever stops reading has read enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::at_run_time(error)),
        _ => Ok(()),
    }
}
