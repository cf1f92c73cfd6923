//! Why the program ends.

use std::fmt;

use proxy_config::ServerError;

/// Why the program ends, as its user reads it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit_code: u8,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn of_config(message: impl fmt::Display) -> Self {
        Failure { exit_code: 2, message: message.to_string() }
    }

    pub(crate) fn at_run_time(message: impl fmt::Display) -> Self {
        Failure { exit_code: 1, message: message.to_string() }
    }

    /// With `advice` where another program has the address.
    pub(crate) fn of_server(error: &ServerError, advice: &str) -> Self {
        match error.is_address_taken() {
            true => Failure::at_run_time(format!("{error}\n{advice}")),
            false => Failure::at_run_time(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
