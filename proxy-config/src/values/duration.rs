//! Durations: `"250ms"`, `"5s"`, `"1m"`, `"2h"`.

use std::time::Duration;

use super::number_and_unit;
use crate::decode::{Cursor, quote};

/// What an error asks for.
const WHAT: &str = r#"a duration such as "250ms", "5s", "1m" or "2h""#;

/// A year. Timers add durations to the clock, and `Instant + Duration` panics when it overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A duration that may be zero.
pub(crate) fn duration(cursor: Cursor<'_>) -> Option<Duration> {
    cursor.like("^[0-9]+(ms|s|m|h)$").parsed(WHAT, parse)
}

/// A duration for which zero makes no sense.
pub(crate) fn positive_duration(cursor: Cursor<'_>) -> Option<Duration> {
    match duration(cursor.like("^0*[1-9][0-9]*(ms|s|m|h)$"))? {
        Duration::ZERO => cursor.fail("must be longer than zero"),
        longer => Some(longer),
    }
}

fn parse(text: &str) -> Result<Duration, String> {
    let malformed = || format!("expected {WHAT}, found {}", quote(text));
    let (number, unit) = number_and_unit(text).ok_or_else(malformed)?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(malformed()),
    };
    let duration = number.checked_mul(unit).map(Duration::from_millis);
    duration.filter(|duration| *duration <= LONGEST).ok_or_else(|| format!("{} is longer than a year", quote(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit() {
        let check = |text, millis| assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        check("0s", 0);
        check("250ms", 250);
        check("5s", 5_000);
        check("1m", 60_000);
        check("2h", 7_200_000);
        check("007s", 7_000);
        check("8760h", 365 * 24 * 3_600_000);
    }

    #[test]
    fn nothing_else() {
        for text in ["", "5", "s", "5 s", " 5s", "5s ", "-5s", "+5s", "1.5s", "1e3s", "5S", "5sec", "5d", "1m30s", "٥s"]
        {
            assert_eq!(parse(text), Err(format!("expected {WHAT}, found {text:?}")), "{text}");
        }
        for text in ["8761h", "31536000001ms", "18446744073709551615h"] {
            assert_eq!(parse(text), Err(format!("{text:?} is longer than a year")));
        }
        assert!(parse("18446744073709551616s").is_err(), "the number itself overflows");
    }
}
