//! How often backends are asked, and what answers in a row mean.

use std::time::Duration;

use proxy_core::{Address, Backend};

/// How often backends are asked, and what answers in a row mean.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthSettings {
    /// From one question to the next while all is well. Default 5 s.
    pub interval: Duration,
    /// From one question to the next while a backend is not well, or its last answer was bad. Default: the
    /// interval, 1 s at most.
    pub fast_interval: Option<Duration>,
    /// Each interval is longer or shorter by up to this percentage, by chance, so that checks spread over
    /// time. Default 10.
    pub jitter_percent: u32,
    /// Until an answer counts as missing. Default 2 s.
    pub timeout: Duration,
    /// Good answers in a row until a backend is used again. Default 2.
    pub rise: u32,
    /// Bad answers in a row until it is not. Default 3.
    pub fall: u32,
    /// What a new backend is until it is checked. Default [`StartState::Up`].
    pub start: StartState,
    /// The port that is asked, where it is not the backend's own.
    pub port: Option<u16>,
    /// Makes the spread over time repeatable.
    pub seed: Option<u64>,
}

/// What a new backend is until it is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartState {
    /// It gets requests at once; `fall` bad answers take it out.
    #[default]
    Up,
    /// It gets none until the first answer, which decides alone.
    DownUntilChecked,
}

impl Default for HealthSettings {
    fn default() -> Self {
        HealthSettings {
            interval: Duration::from_secs(5),
            fast_interval: None,
            jitter_percent: 10,
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            start: StartState::Up,
            port: None,
            seed: None,
        }
    }
}

impl HealthSettings {
    pub(super) fn fast_interval(&self) -> Duration {
        let shorter = || self.interval.min(Duration::from_secs(1));
        self.fast_interval.unwrap_or_else(shorter)
    }

    /// What is asked in the backend's place: nothing of it shall count for the real one.
    pub(super) fn stand_in(&self, backend: &Backend) -> Backend {
        let builder = Backend::builder(self.address(backend.address())).id(backend.id());
        backend.labels().fold(builder, |builder, (name, value)| builder.label(name, value)).build()
    }

    fn address(&self, real: &Address) -> Address {
        match (self.port, real) {
            (Some(port), Address::Tcp(address)) => Address::Tcp((address.ip(), port).into()),
            (Some(port), Address::Name(name, _)) => Address::Name(name.clone(), port),
            _ => real.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_its_own_is_asked_at_the_same_host() {
        let check = |address: &str, port, expected: &str| {
            let settings = HealthSettings { port, ..HealthSettings::default() };
            let backend = Backend::builder(address.parse().unwrap()).id("it").label("zone", "a").build();
            let asked = settings.stand_in(&backend);
            assert_eq!(asked.address().to_string(), expected);
            assert_eq!((asked.id(), asked.label("zone")), ("it", Some("a")));
            assert_ne!(asked, backend);
        };
        check("127.0.0.1:80", None, "127.0.0.1:80");
        check("127.0.0.1:80", Some(81), "127.0.0.1:81");
        check("[::1]:80", Some(81), "[::1]:81");
        check("api.internal:80", Some(81), "api.internal:81");
        check("unix:/run/x", Some(81), "unix:/run/x");
    }
}
