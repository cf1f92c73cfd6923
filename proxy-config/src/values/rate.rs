//! Rates: `"100/s"`, `"1000/m"`, `"5000/h"`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::number_and_unit;
use crate::decode::{Cursor, quote};

/// So many events in so much time, such as `"100/s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// The events.
    pub count: NonZeroU32,
    /// The time: one second, one minute or one hour.
    pub per: Duration,
}

/// What an error asks for.
const WHAT: &str = r#"a rate such as "100/s", "1000/m" or "5000/h""#;

pub(crate) fn rate(cursor: Cursor<'_>) -> Option<Rate> {
    cursor.like("^[0-9]+/(s|m|h)$").parsed(WHAT, parse)
}

fn parse(text: &str) -> Result<Rate, String> {
    let malformed = || format!("expected {WHAT}, found {}", quote(text));
    let (number, unit) = number_and_unit(text).ok_or_else(malformed)?;
    let seconds = match unit {
        "/s" => 1,
        "/m" => 60,
        "/h" => 3_600,
        _ => return Err(malformed()),
    };
    let count = u32::try_from(number).map_err(|_| format!("{} is more than {} at once", quote(text), u32::MAX))?;
    let count = NonZeroU32::new(count).ok_or("must be more than zero")?;
    Ok(Rate { count, per: Duration::from_secs(seconds) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit() {
        let check = |text, count, seconds| {
            let rate = parse(text).unwrap();
            assert_eq!((rate.count.get(), rate.per), (count, Duration::from_secs(seconds)), "{text}");
        };
        check("100/s", 100, 1);
        check("1000/m", 1000, 60);
        check("4294967295/h", u32::MAX, 3600);
    }

    #[test]
    fn nothing_else() {
        for text in ["", "100", "/s", "100 / s", "1.5/s", "-1/s", "100/S", "100/2s", "100/d", "100s"] {
            assert_eq!(parse(text), Err(format!("expected {WHAT}, found {text:?}")), "{text}");
        }
        assert_eq!(parse("0/s"), Err("must be more than zero".to_owned()));
        assert_eq!(parse("4294967296/s"), Err(r#""4294967296/s" is more than 4294967295 at once"#.to_owned()));
    }
}
