//! Conditional requests (RFC 9110 §13).

use std::time::{Duration, SystemTime};

use proxy_core::Headers;

use crate::coding::Coding;
use crate::date;
use crate::list::single;

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validators {
    /// In quotes, without the mark of weak ones.
    tag: String,
    is_weak: bool,
    modified: Option<SystemTime>,
}

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Send,
    NotModified,
    Failed,
}

/// How old a change must be for the next one to have another time surely: file systems count in steps of some
/// milliseconds, and `Last-Modified` in seconds.
const SETTLED: Duration = Duration::from_secs(2);

impl Validators {
    /// Of a file of this length that was changed at this time.
    pub(crate) fn new(length: u64, modified: Option<SystemTime>, coding: Option<Coding>, now: SystemTime) -> Self {
        let since = modified.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
        let coding = coding.map_or(String::new(), |coding| format!("-{}", coding.name()));
        let tag = format!("\"{:x}.{:x}-{length:x}{coding}\"", since.as_secs(), since.subsec_nanos());
        // RFC 9110 §8.8.1: what may change twice without telling is a weak validator.
        let is_weak = modified.is_none_or(|at| now.duration_since(at).is_ok_and(|age| age < SETTLED) || at > now);
        // RFC 9110 §8.8.2.1: not later than the answer.
        let modified = modified.map(|at| date::whole_seconds(at.min(now)));
        Validators { tag, is_weak, modified }
    }

    /// As it stands in `ETag`.
    pub(crate) fn etag(&self) -> String {
        if self.is_weak { format!("W/{}", self.tag) } else { self.tag.clone() }
    }

    /// As it stands in `Last-Modified`, in whole seconds.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    /// Evaluates the conditions of a GET or HEAD, in the order of §13.2.2.
    pub(crate) fn evaluate(&self, headers: &Headers) -> Verdict {
        let may_go_on = match self.any_of(headers, "if-match", Self::is_strongly) {
            Some(matches) => matches,
            None => {
                self.since(headers, "if-unmodified-since").is_none_or(|at| self.modified.is_some_and(|it| it <= at))
            }
        };
        let is_known = match self.any_of(headers, "if-none-match", Self::is_weakly) {
            Some(matches) => matches,
            None => self.since(headers, "if-modified-since").is_some_and(|at| self.modified.is_some_and(|it| it <= at)),
        };
        match (may_go_on, is_known) {
            (false, _) => Verdict::Failed,
            (true, true) => Verdict::NotModified,
            (true, false) => Verdict::Send,
        }
    }

    /// Whether `Range` is to be looked at (§13.1.5): there is no `If-Range`, or it is for this very state.
    pub(crate) fn allow_range(&self, headers: &Headers) -> bool {
        if !headers.contains("if-range") {
            return true;
        }
        let Some(value) = single(headers, "if-range") else { return false };
        match tags(value.as_bytes()).as_deref() {
            Some([tag]) => self.is_strongly(*tag),
            _ => date::parse(value).is_some_and(|at| !self.is_weak && self.modified == Some(at)),
        }
    }

    /// Whether a list of tags, if there is one, has one of this file. One that is malformed has none.
    fn any_of(&self, headers: &Headers, name: &'static str, is: fn(&Self, Tag<'_>) -> bool) -> Option<bool> {
        let mut values = headers.get_all(name).peekable();
        values.peek()?;
        let any = |value: &[u8]| {
            value.trim_ascii() == b"*" || tags(value).is_some_and(|tags| tags.iter().any(|tag| is(self, *tag)))
        };
        Some(values.any(any))
    }

    /// A date that counts only where it is one (§13.1.3).
    fn since(&self, headers: &Headers, name: &'static str) -> Option<SystemTime> {
        single(headers, name).and_then(date::parse)
    }

    fn is_strongly(&self, tag: Tag<'_>) -> bool {
        !self.is_weak && !tag.is_weak && tag.opaque == self.tag.as_bytes()
    }

    fn is_weakly(&self, tag: Tag<'_>) -> bool {
        tag.opaque == self.tag.as_bytes()
    }
}

/// An entity tag of a field, with its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag<'a> {
    is_weak: bool,
    opaque: &'a [u8],
}

/// A list of tags (§8.8.3); `None` where it is malformed.
fn tags(mut rest: &[u8]) -> Option<Vec<Tag<'_>>> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        match rest {
            [] => return (!found.is_empty()).then_some(found),
            [b',', behind @ ..] => rest = behind,
            _ => {
                let (is_weak, quoted) = rest.strip_prefix(b"W/").map_or((false, rest), |quoted| (true, quoted));
                let inside = quoted.strip_prefix(b"\"")?;
                let end = inside.iter().position(|byte| *byte == b'"')?;
                found.push(Tag { is_weak, opaque: &quoted[..end + 2] });
                rest = quoted[end + 2..].trim_ascii_start();
                if !matches!(rest, [] | [b',', ..]) {
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Method};
    use proptest::prelude::{any, proptest};
    use proxy_core::RequestHead;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, and a half.
    fn modified() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_500)
    }

    fn old() -> Validators {
        Validators::new(10, Some(modified()), None, modified() + Duration::from_secs(100))
    }

    fn head(fields: &[(&'static str, &str)]) -> RequestHead {
        let mut head = RequestHead::new(Method::GET, "/").unwrap();
        for (name, value) in fields {
            head.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        head
    }

    const TAG: &str = "\"2ebc98a1.1dcd6500-a\"";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    #[test]
    fn tags_say_time_length_and_coding() {
        assert_eq!(old().etag(), TAG);
        let now = modified() + Duration::from_secs(100);
        assert_eq!(
            Validators::new(10, Some(modified()), Some(Coding::Brotli), now).etag(),
            "\"2ebc98a1.1dcd6500-a-br\""
        );
        let fresh = Validators::new(10, Some(modified()), None, modified() + Duration::from_secs(1));
        assert_eq!(fresh.etag(), format!("W/{TAG}"));
        let future = Validators::new(10, Some(modified()), None, modified() - Duration::from_secs(1000));
        assert_eq!(
            (future.is_weak, future.modified().unwrap()),
            (true, date::whole_seconds(modified()) - Duration::from_secs(1000))
        );
    }

    #[test]
    fn conditions_hold_in_their_order() {
        use Verdict::{Failed, NotModified, Send};
        let check = |fields: &[(&'static str, &str)], expected| {
            assert_eq!(old().evaluate(head(fields).headers()), expected, "{fields:?}");
        };
        check(&[], Send);
        check(&[("if-match", TAG)], Send);
        check(&[("if-match", "*")], Send);
        check(&[("if-match", &format!("\"x\", {TAG}"))], Send);
        check(&[("if-match", "\"x\""), ("if-match", TAG)], Send);
        check(&[("if-match", "\"x\"")], Failed);
        check(&[("if-match", &format!("W/{TAG}"))], Failed);
        check(&[("if-match", "nonsense")], Failed);
        check(&[("if-unmodified-since", SAME)], Send);
        check(&[("if-unmodified-since", AFTER)], Send);
        check(&[("if-unmodified-since", BEFORE)], Failed);
        check(&[("if-unmodified-since", "nonsense")], Send);
        check(&[("if-match", TAG), ("if-unmodified-since", BEFORE)], Send);
        check(&[("if-none-match", TAG)], NotModified);
        check(&[("if-none-match", &format!("W/{TAG}"))], NotModified);
        check(&[("if-none-match", "*")], NotModified);
        check(&[("if-none-match", "\"x\"")], Send);
        check(&[("if-none-match", "nonsense")], Send);
        check(&[("if-modified-since", SAME)], NotModified);
        check(&[("if-modified-since", AFTER)], NotModified);
        check(&[("if-modified-since", BEFORE)], Send);
        check(&[("if-modified-since", "nonsense")], Send);
        check(&[("if-none-match", "\"x\""), ("if-modified-since", AFTER)], Send);
        check(&[("if-match", "\"x\""), ("if-none-match", TAG)], Failed);
        check(&[("if-match", TAG), ("if-none-match", TAG)], NotModified);
    }

    #[test]
    fn ranges_of_another_state_are_not_sent() {
        let check = |fields: &[(&'static str, &str)], allowed| {
            assert_eq!(old().allow_range(head(fields).headers()), allowed, "{fields:?}");
        };
        check(&[], true);
        check(&[("if-range", TAG)], true);
        check(&[("if-range", SAME)], true);
        check(&[("if-range", &format!("W/{TAG}"))], false);
        check(&[("if-range", "\"x\"")], false);
        check(&[("if-range", BEFORE)], false);
        check(&[("if-range", AFTER)], false);
        check(&[("if-range", "*")], false);
        check(&[("if-range", "")], false);
        check(&[("if-range", &format!("{TAG}, \"x\""))], false);
        check(&[("if-range", TAG), ("if-range", TAG)], false);
        let fresh = Validators::new(10, Some(modified()), None, modified() + Duration::from_secs(1));
        for weak in [TAG, SAME] {
            assert!(!fresh.allow_range(head(&[("if-range", weak)]).headers()), "{weak}");
        }
    }

    #[test]
    fn lists_of_tags_are_well_formed_or_nothing() {
        for good in ["\"\"", "W/\"a\"", "\"a,b\" , \"c\"", ",\"a\",,", "\"a\"\t,W/\"\""] {
            assert!(tags(good.as_bytes()).is_some(), "{good}");
        }
        for bad in ["", ",", "a", "\"", "\"a", "w/\"a\"", "W/", "\"a\" \"b\"", "\"a\"x", "W/W/\"a\"", "'a'"] {
            assert_eq!(tags(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_in_a_field_panics(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = tags(&value);
        }
    }
}
