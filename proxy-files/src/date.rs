//! Dates of files and of fields.

use std::time::{Duration, SystemTime};

use http::HeaderValue;

/// A date as fields have it, in whole seconds; `None` for what lies outside of their years.
pub(crate) fn written(at: SystemTime) -> Option<HeaderValue> {
    /// The last second of the year 9999.
    const LAST: u64 = 253_402_300_799;
    let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let text = (since.as_secs() <= LAST).then(|| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since))?;
    HeaderValue::from_str(&text).ok()
}

/// A date of a field; `None` where it is none.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// Without the part of a second that fields cannot say.
pub(crate) fn whole_seconds(at: SystemTime) -> SystemTime {
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs()),
        Err(_) => SystemTime::UNIX_EPOCH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_times_have_no_date() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(written(at(784_111_777)).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(written(at(253_402_300_799)).unwrap(), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(written(at(253_402_300_800)), None);
        assert_eq!(written(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), None);
        for bad in ["", "x", "Sun, 06 Nov 1994", "1994-11-06", "Sun, 06 Nov 99999 08:49:37 GMT", "\u{1f4c5}"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse("Sunday, 06-Nov-94 08:49:37 GMT"), Some(at(784_111_777)));
    }
}
