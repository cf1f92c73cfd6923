//! Which parts of a file are asked for.

use std::ops::Range;

/// What `Range` asks for, of a file that is so long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Everything: there is no such field, or one that may be ignored.
    Whole,
    /// At least one part.
    Parts(Vec<Range<u64>>),
    /// Only parts that are not there.
    Nothing,
}

/// More than a viewer of documents asks for at a time. Beyond it the whole file costs less.
const MOST: usize = 16;

impl Asked {
    /// Reads the field (RFC 9110 §14.2). One that is malformed, of another unit, of too many parts or of parts that
    /// overlap is ignored, as it may be: the answer is the whole file. So no field makes the answer longer than
    /// the file and the lines between its parts.
    pub(crate) fn parse(field: &str, length: u64) -> Self {
        let Some(specs) = unit(field) else { return Asked::Whole };
        let mut specs: Vec<_> =
            specs.split(',').map(str::trim).filter(|spec| !spec.is_empty()).take(MOST + 1).collect();
        if specs.is_empty() || specs.len() > MOST || length == 0 {
            return Asked::Whole;
        }
        let mut parts = Vec::new();
        for spec in specs.drain(..) {
            match part(spec, length) {
                Some(part) if part.is_empty() => {}
                Some(part) => parts.push(part),
                None => return Asked::Whole,
            }
        }
        match parts.is_empty() {
            true => Asked::Nothing,
            false if overlap(&parts) => Asked::Whole,
            false => Asked::Parts(parts),
        }
    }
}

fn unit(field: &str) -> Option<&str> {
    let (unit, specs) = field.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(specs)
}

/// `first-last`, `first-` or `-count`; empty where the file has no such part, `None` where it is malformed.
fn part(spec: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    match (number(first)?, number(last)?) {
        (None, None) => None,
        (None, Some(count)) => Some(length.saturating_sub(count)..length),
        (Some(first), None) => Some(first.min(length)..length),
        (Some(first), Some(last)) if first > last => None,
        (Some(first), Some(last)) => Some(first.min(length)..last.saturating_add(1).min(length)),
    }
}

/// Digits; nothing is no number. One that is too large is as large as can be.
fn number(digits: &str) -> Option<Option<u64>> {
    match digits {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(Some(digits.parse().unwrap_or(u64::MAX))),
        _ => None,
    }
}

fn overlap(parts: &[Range<u64>]) -> bool {
    let mut sorted: Vec<_> = parts.iter().collect();
    sorted.sort_by_key(|part| part.start);
    sorted.windows(2).any(|pair| pair[1].start < pair[0].end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    #[test]
    fn parts_are_those_that_are_there() {
        let check = |field: &str, parts: &[(u64, u64)]| {
            let parts = parts.iter().map(|(start, end)| *start..*end).collect();
            assert_eq!(Asked::parse(field, 100), Asked::Parts(parts), "{field}");
        };
        check("bytes=0-0", &[(0, 1)]);
        check("bytes=0-99", &[(0, 100)]);
        check("bytes=0-", &[(0, 100)]);
        check("bytes=99-", &[(99, 100)]);
        check("bytes=10-1000", &[(10, 100)]);
        check("bytes=-1", &[(99, 100)]);
        check("bytes=-1000", &[(0, 100)]);
        check("BYTES = 5-6", &[(5, 7)]);
        check("bytes=0-0, 50-51 ,-1", &[(0, 1), (50, 52), (99, 100)]);
        check("bytes=50-51,0-0", &[(50, 52), (0, 1)]);
        check("bytes=0-9,10-19", &[(0, 10), (10, 20)]);
        check("bytes=200-300,1-2", &[(1, 3)]);
        check("bytes=,1-2,,", &[(1, 3)]);
        check("bytes=0-99999999999999999999999", &[(0, 100)]);
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        for field in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=100-,200-", "bytes=99999999999999999999-"] {
            assert_eq!(Asked::parse(field, 100), Asked::Nothing, "{field}");
        }
    }

    #[test]
    fn what_is_malformed_or_greedy_is_ignored() {
        let many = format!("bytes={}", (0..17).map(|i| format!("{i}-{i}")).collect::<Vec<_>>().join(","));
        let bad = [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=2-1",
            "bytes=0x1-2",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=1 - 2",
            "bytes=0-1,x",
            "lines=0-1",
            "bytes=--1",
            "bytes=0-0;1-1",
            "bytes=0-50,50-60",
            "bytes=0-,0-",
            "bytes=-1,-1",
            "bytes=0-1,5-4",
        ];
        for field in bad.into_iter().chain([&*many]) {
            assert_eq!(Asked::parse(field, 100), Asked::Whole, "{field}");
        }
        assert_eq!(Asked::parse("bytes=0-", 0), Asked::Whole);
        assert_eq!(Asked::parse("bytes=-5", 0), Asked::Whole);
    }

    proptest! {
        /// Whatever is asked for, the parts lie in the file, are apart, and few.
        #[test]
        fn parts_lie_in_the_file(field in "(bytes=)?([0-9]{0,3}-?[0-9]{0,3},? ?){0,20}", length in any::<u8>()) {
            let length = u64::from(length);
            if let Asked::Parts(parts) = Asked::parse(&field, length) {
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                prop_assert!(parts.iter().map(|part| part.end - part.start).sum::<u64>() <= length);
                prop_assert!((1..=MOST).contains(&parts.len()));
            }
        }
    }
}
