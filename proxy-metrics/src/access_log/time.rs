//! Points in time as text, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use super::number::{decimal, padded};

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// `2026-11-25T04:49:10.123Z` (RFC 3339).
pub(super) fn rfc3339(out: &mut Vec<u8>, time: SystemTime) {
    let Moment { year, month, day, second, millis } = Moment::of(time);
    padded::<4>(out, year);
    out.push(b'-');
    padded::<2>(out, month);
    out.push(b'-');
    padded::<2>(out, day);
    out.push(b'T');
    clock(out, second);
    out.push(b'.');
    padded::<3>(out, millis);
    out.push(b'Z');
}

/// `25/Nov/2026:04:49:10 +0000`, as the Common Log Format has it.
pub(super) fn common(out: &mut Vec<u8>, time: SystemTime) {
    let Moment { year, month, day, second, .. } = Moment::of(time);
    padded::<2>(out, day);
    out.push(b'/');
    out.extend_from_slice(MONTHS[(month as usize).saturating_sub(1) % 12]);
    out.push(b'/');
    padded::<4>(out, year);
    out.push(b':');
    clock(out, second);
    out.extend_from_slice(b" +0000");
}

/// Seconds since 1970, with milliseconds.
pub(super) fn unix(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    decimal(out, since.as_secs());
    out.push(b'.');
    padded::<3>(out, since.subsec_millis().into());
}

fn clock(out: &mut Vec<u8>, second: u64) {
    padded::<2>(out, second / 3600);
    out.push(b':');
    padded::<2>(out, second / 60 % 60);
    out.push(b':');
    padded::<2>(out, second % 60);
}

/// A point in time in the Gregorian calendar.
#[derive(Debug, PartialEq)]
struct Moment {
    year: u64,
    month: u64,
    day: u64,
    /// Of the day.
    second: u64,
    millis: u64,
}

impl Moment {
    /// What was before 1970 is 1970.
    fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        // Days in 400-year eras that begin on the first of March, so that the leap day is the last:
        // 719,468 days before 1970 is 1 March of the year 0.
        let days = days + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Five months from March on have 153 days, and so have the next five.
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        Moment { year, month, day, second, millis: since.subsec_millis().into() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_calendar_is_right() {
        // From `date -u -d @N +%FT%TZ`.
        let table = [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_709_164_800, "2024-02-29T00:00:00.007Z"),
            (1_709_251_200, "2024-03-01T00:00:00.007Z"),
            (1_795_582_150, "2026-11-25T04:49:10.007Z"),
            (4_107_542_399, "2100-02-28T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ];
        for (seconds, expected) in table {
            let (time, mut out) = (UNIX_EPOCH + Duration::new(seconds, 7_900_000), Vec::new());
            rfc3339(&mut out, time);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        let (mut clf, mut stamp) = (Vec::new(), Vec::new());
        let time = UNIX_EPOCH + Duration::from_millis(1_795_582_150_123);
        common(&mut clf, time);
        unix(&mut stamp, time);
        assert_eq!(String::from_utf8_lossy(&clf), "25/Nov/2026:04:49:10 +0000");
        assert_eq!(String::from_utf8_lossy(&stamp), "1795582150.123");
    }
}
