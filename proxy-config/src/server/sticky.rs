//! Sticky sessions, as the configuration describes them.

use proxy_lb::{InvalidCookieName, Sticky};

/// What `sticky.learn.capacity` is when absent: about 10 MB.
const CAPACITY: usize = 100_000;

pub(super) fn sticky(config: &crate::Sticky) -> Result<Sticky, InvalidCookieName> {
    match config {
        crate::Sticky::Cookie { name, secret, max_age } => {
            let sticky = Sticky::inserted(name, secret.as_str().as_bytes())?;
            Ok(match max_age {
                Some(age) => sticky.max_age(*age),
                None => sticky,
            })
        }
        crate::Sticky::Learn { cookie, capacity } => Sticky::learnt(cookie, capacity.unwrap_or(CAPACITY)),
    }
}
