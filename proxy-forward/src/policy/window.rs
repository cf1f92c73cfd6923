//! Times of the week.

use std::str::FromStr;
use std::time::SystemTime;

const MINUTES_A_DAY: u32 = 24 * 60;
const MINUTES_A_WEEK: u32 = 7 * MINUTES_A_DAY;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Hours of some days of the week, such as `mon-fri 08:00-18:00`, in UTC unless an [offset](Self::offset) is
/// given. The days are those on which the hours begin: `fri 22:00-06:00` ends on Saturday.
///
/// ```
/// use proxy_forward::Window;
///
/// let office: Window = "mon-fri 08:00-18:00".parse()?;
/// let weekend: Window = "sat,sun".parse()?;
/// let berlin_in_winter = office.offset(60);
/// # let _ = (weekend, berlin_in_winter);
/// # Ok::<(), proxy_forward::ParseWindowError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// One bit a day, Monday the lowest.
    days: u8,
    /// Minutes of the day; the end is more than a day where it is on the next one.
    from: u32,
    to: u32,
    /// Minutes east of Greenwich.
    offset: i32,
}

/// A minute of the week, from Monday, 00:00 UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(u32);

/// The text is no [`Window`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}`: expected days, hours or both, such as `mon-fri 08:00-18:00`")]
pub struct ParseWindowError(String);

impl Window {
    /// Its times are those of a clock so many minutes before UTC's, a day at most.
    #[must_use]
    pub fn offset(mut self, minutes: i32) -> Self {
        self.offset = minutes.clamp(-1440, 1440);
        self
    }

    pub(super) fn contains(&self, moment: Moment) -> bool {
        let minute = (moment.0 as i32 + self.offset).rem_euclid(MINUTES_A_WEEK as i32) as u32;
        let (day, of_day) = (minute / MINUTES_A_DAY, minute % MINUTES_A_DAY);
        let on = |day: u32| self.days >> (day % 7) & 1 == 1;
        let today = on(day) && (self.from..self.to).contains(&of_day);
        today || on(day + 6) && (self.from..self.to).contains(&(of_day + MINUTES_A_DAY))
    }
}

impl Moment {
    pub(super) fn at(time: SystemTime) -> Self {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        // 1 January 1970 was a Thursday.
        let minutes = seconds / 60 + u64::from(3 * MINUTES_A_DAY);
        Moment((minutes % u64::from(MINUTES_A_WEEK)) as u32)
    }
}

impl FromStr for Window {
    type Err = ParseWindowError;

    fn from_str(text: &str) -> Result<Self, ParseWindowError> {
        let mut words = text.split_ascii_whitespace();
        let parsed = match (words.next(), words.next(), words.next()) {
            (Some(days), Some(hours), None) => parse_days(days).zip(parse_hours(hours)),
            (Some(hours), None, None) if hours.contains(':') => Some(0x7f).zip(parse_hours(hours)),
            (Some(days), None, None) => parse_days(days).zip(Some((0, MINUTES_A_DAY))),
            _ => None,
        };
        let (days, (from, to)) = parsed.ok_or_else(|| ParseWindowError(text.to_owned()))?;
        Ok(Window { days, from, to, offset: 0 })
    }
}

/// `mon`, `mon-fri`, `fri-mon`, several with commas.
fn parse_days(text: &str) -> Option<u8> {
    text.split(',').try_fold(0, |days, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let count = (last + 7 - first) % 7 + 1;
        Some((first..first + count).fold(days, |days, day| days | 1 << (day % 7)))
    })
}

fn day(text: &str) -> Option<u32> {
    DAYS.iter().position(|day| day.eq_ignore_ascii_case(text)).map(|day| day as u32)
}

/// `08:00-18:00`; the end may be 24:00, or on the next day.
fn parse_hours(text: &str) -> Option<(u32, u32)> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (time_of_day(from)?, time_of_day(to)?);
    match from < MINUTES_A_DAY && from != to {
        true => Some((from, if to < from { to + MINUTES_A_DAY } else { to })),
        false => None,
    }
}

fn time_of_day(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let number =
        |text: &str| (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?;
    let (hours, minutes): (u32, u32) = (number(hours)?, number(minutes)?);
    let whole = hours * 60 + minutes;
    (minutes < 60 && whole <= MINUTES_A_DAY).then_some(whole)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Monday, 3 January 2000, and so many minutes.
    fn moment(minutes: u64) -> Moment {
        Moment::at(SystemTime::UNIX_EPOCH + Duration::from_secs(946_857_600 + minutes * 60))
    }

    #[test]
    fn windows_have_their_hours_on_their_days() {
        let check = |text: &str, offset, day: u64, (hours, minutes): (u64, u64), expected| {
            let window = text.parse::<Window>().unwrap().offset(offset);
            let moment = moment(day * 1440 + hours * 60 + minutes);
            assert_eq!(window.contains(moment), expected, "{text} on day {day} at {hours}:{minutes}");
        };
        check("mon-fri 08:00-18:00", 0, 0, (8, 0), true);
        check("mon-fri 08:00-18:00", 0, 0, (7, 59), false);
        check("mon-fri 08:00-18:00", 0, 4, (17, 59), true);
        check("mon-fri 08:00-18:00", 0, 4, (18, 0), false);
        check("mon-fri 08:00-18:00", 0, 5, (12, 0), false);
        check("mon-fri 08:00-18:00", 60, 0, (7, 0), true);
        check("mon-fri 08:00-18:00", -60, 0, (8, 30), false);
        check("SAT,sun", 0, 6, (0, 0), true);
        check("sat,sun", 0, 0, (0, 0), false);
        check("sun-mon", 0, 0, (12, 0), true);
        check("sun-mon", 0, 1, (12, 0), false);
        check("22:00-06:00", 0, 3, (23, 0), true);
        check("22:00-06:00", 0, 3, (5, 59), true);
        check("22:00-06:00", 0, 3, (6, 0), false);
        check("sun 22:00-06:00", 0, 0, (5, 0), true);
        check("sun 22:00-06:00", 0, 6, (5, 0), false);
        check("00:00-24:00", 0, 6, (23, 59), true);
        check("mon 00:00-01:00", 120, 6, (22, 30), true);
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            "",
            "mo",
            "mon-",
            "mon-fri-sat",
            "monday",
            "08:00",
            "8:00-18:00",
            "08:00-24:01",
            "24:00-25:00",
            "08:60-09:00",
            "08:00-08:00",
            "mon 08:00",
            "08:00-09:00 mon",
            "mon 08:00-09:00 x",
            "+8:00-09:00",
            ",",
        ] {
            assert!(text.parse::<Window>().is_err(), "{text:?}");
        }
    }
}
