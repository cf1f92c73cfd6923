//! Sizes: `"64KiB"`, `"1MiB"`, or a plain number of bytes.

use super::number_and_unit;
use crate::decode::{Cursor, quote};

/// What an error asks for.
const WHAT: &str = r#"a number of bytes, or a size such as "64KiB" or "1MiB""#;

const PATTERN: &str = "^[0-9]+(B|KiB|MiB|GiB|TiB)$";

/// A size in bytes.
pub(crate) fn size(cursor: Cursor<'_>) -> Option<u64> {
    if cursor.is_number() { cursor.integer(0..=u64::MAX) } else { cursor.like(PATTERN).parsed(WHAT, parse) }
}

/// A size each second, such as `"1MiB/s"`.
pub(crate) fn bytes_per_second(cursor: Cursor<'_>) -> Option<u64> {
    const WHAT: &str = r#"a size per second such as "1MiB/s""#;
    cursor.like("^[0-9]+(B|KiB|MiB|GiB|TiB)/s$").parsed(WHAT, |text| {
        let size = text.strip_suffix("/s").and_then(|size| parse(size).ok());
        match size {
            Some(0) => Err("must be more than zero".to_owned()),
            Some(size) => Ok(size),
            None => Err(format!("expected {WHAT}, found {}", quote(text))),
        }
    })
}

/// A size that is held in memory: at least one byte, at most 4 GiB.
pub(crate) fn memory_size(cursor: Cursor<'_>) -> Option<usize> {
    match u32::try_from(size(cursor)?) {
        Ok(0) => cursor.fail("must be larger than zero"),
        Ok(bytes) => usize::try_from(bytes).ok(),
        Err(_) => cursor.fail("must be less than 4GiB"),
    }
}

fn parse(text: &str) -> Result<u64, String> {
    let malformed = || format!("expected {WHAT}, found {}", quote(text));
    let (number, unit) = number_and_unit(text).ok_or_else(malformed)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(malformed()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{} is too large", quote(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit() {
        let check = |text, bytes| assert_eq!(parse(text), Ok(bytes), "{text}");
        check("0B", 0);
        check("64KiB", 65_536);
        check("1MiB", 1 << 20);
        check("3GiB", 3 << 30);
        check("16777215TiB", 16_777_215 << 40);
    }

    #[test]
    fn nothing_else() {
        for text in ["", "64", "KiB", "64 KiB", "64KB", "64kib", "64K", "1.5MiB", "-1B", "64KiB/s"] {
            assert_eq!(parse(text), Err(format!("expected {WHAT}, found {text:?}")), "{text}");
        }
        assert_eq!(parse("16777216TiB"), Err(r#""16777216TiB" is too large"#.to_owned()));
    }
}
