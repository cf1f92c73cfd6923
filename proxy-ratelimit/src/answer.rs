//! What a refused client is told, and what the others are.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::{Decision, Quota, Verdict};

/// When a response says how much is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Announce {
    /// When the request is refused.
    #[default]
    Refused,
    /// Always. It costs each request the formatting of two fields.
    Always,
    /// Never.
    Never,
}

/// The fields of an answer.
///
/// `RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-11. A bucket
/// is told as what it gives: as many as its burst, in the time it takes to fill. The effective window
/// `t` ends when there is more, which is never later than what `Retry-After` says (§6).
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) announce: Announce,
    pub(crate) legacy: bool,
    policy: HeaderValue,
    /// The name of each policy, as a structured string.
    names: Vec<String>,
    quotas: Vec<Quota>,
}

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

impl Answer {
    pub(crate) fn new(name: &str, quotas: Vec<Quota>) -> Self {
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.:/".contains(c) { c } else { '_' }).collect();
        let numbered = |number| match number {
            1 => format!("\"{name}\""),
            number => format!("\"{name}-{number}\""),
        };
        let names: Vec<_> = (1..=quotas.len()).map(numbered).collect();
        let policies: Vec<_> = names.iter().zip(&quotas).map(|(name, quota)| policy(name, quota)).collect();
        let policy = HeaderValue::try_from(policies.join(", ")).unwrap_or(HeaderValue::from_static("\"limit\""));
        Answer {
            status: StatusCode::TOO_MANY_REQUESTS,
            announce: Announce::default(),
            legacy: false,
            policy,
            names,
            quotas,
        }
    }

    pub(crate) fn renamed(&self, name: &str, quotas: Vec<Quota>) -> Self {
        Answer { status: self.status, announce: self.announce, legacy: self.legacy, ..Answer::new(name, quotas) }
    }

    /// Hands out the fields of a response.
    pub(crate) fn fields(&self, decision: &Decision, mut put: impl FnMut(HeaderName, HeaderValue)) {
        if let Verdict::Denied { retry_after: Some(after) } = decision.verdict {
            put(header::RETRY_AFTER, seconds(after).max(1).into());
        }
        let refused = !decision.is_allowed();
        if self.announce == Announce::Never || (self.announce == Announce::Refused && !refused) {
            return;
        }
        let (Some(name), Some(quota)) = (self.names.get(decision.limit), self.quotas.get(decision.limit)) else {
            return;
        };
        let (remaining, more_in) = (decision.remaining, seconds(decision.more_in));
        if let Ok(value) = HeaderValue::try_from(format!("{name};r={};t={more_in}", integer(remaining))) {
            put(RATE_LIMIT_POLICY, self.policy.clone());
            put(RATE_LIMIT, value);
        }
        if self.legacy {
            put(X_LIMIT, quota.burst().into());
            put(X_REMAINING, remaining.into());
            put(X_RESET, more_in.into());
        }
    }
}

/// `"name";q=100;w=60`. The window is in whole seconds; a shorter one is not said.
fn policy(name: &str, quota: &Quota) -> String {
    let mut policy = format!("{name};q={}", integer(quota.burst()));
    let window = Duration::from_nanos(quota.refill_nanos());
    if window.as_secs() > 0 {
        let _ = write!(policy, ";w={}", integer(seconds(window)));
    }
    policy
}

/// Structured integers have 15 digits (RFC 9651 §3.3.1).
fn integer(number: u64) -> u64 {
    number.min(999_999_999_999_999)
}

/// Rounded up: who comes back then is let in.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(answer: &Answer, decision: &Decision) -> String {
        let mut lines = String::new();
        answer.fields(decision, |name, value| {
            lines += &format!("{name}: {}\n", value.to_str().unwrap());
        });
        lines
    }

    #[test]
    fn the_fields_of_the_draft() {
        let quotas = vec!["100/s".parse().unwrap(), "1000/h".parse().unwrap()];
        let mut answer = Answer::new("per client\"", quotas);
        let denied = Verdict::Denied { retry_after: Some(Duration::from_millis(1001)) };
        let denied = Decision::new(denied, 0, Duration::from_millis(900)).of_limit(1);
        let expected = "retry-after: 2\n\
            ratelimit-policy: \"per_client_\";q=100;w=1, \"per_client_-2\";q=1000;w=3600\n\
            ratelimit: \"per_client_-2\";r=0;t=1\n";
        assert_eq!(lines(&answer, &denied), expected);
        let allowed = Decision::new(Verdict::Allowed, 99, Duration::from_millis(10));
        assert_eq!(lines(&answer, &allowed), "");
        (answer.announce, answer.legacy) = (Announce::Always, true);
        let expected = "ratelimit-policy: \"per_client_\";q=100;w=1, \"per_client_-2\";q=1000;w=3600\n\
            ratelimit: \"per_client_\";r=99;t=1\n\
            x-ratelimit-limit: 100\nx-ratelimit-remaining: 99\nx-ratelimit-reset: 1\n";
        assert_eq!(lines(&answer, &allowed), expected);
    }

    #[test]
    fn a_refusal_for_good_promises_nothing() {
        let mut answer = Answer::new("a", vec!["1/s".parse().unwrap()]);
        answer.announce = Announce::Never;
        let never = Decision::new(Verdict::Denied { retry_after: None }, 0, Duration::ZERO);
        assert_eq!(lines(&answer, &never), "");
    }
}
