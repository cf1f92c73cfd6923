//! Host names and patterns of them.

use std::net::Ipv6Addr;

use crate::decode::{Cursor, quote};

/// A host name, an IP address, or `*.` and a name; in lower case.
pub(crate) fn host_pattern(cursor: Cursor<'_>) -> Option<String> {
    const WHAT: &str = r#"a host such as "example.com" or "*.example.com""#;
    cursor.like("^((\\*\\.)?[0-9A-Za-z._-]+|\\[[0-9A-Fa-f:.]+\\])$").parsed(WHAT, |text| {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let legal = is_name(name) || (name == text && is_bracketed_v6(text));
        if legal { Ok(text.to_ascii_lowercase()) } else { Err(format!("expected {WHAT}, found {}", quote(text))) }
    })
}

/// A name as DNS has it (RFC 1035 §2.3.4 lengths; underscores occur in service names), or a dotted IPv4 address.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label) && (!ends_in_number(text) || is_v4(text))
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// No top-level domain is a number: such a text is a mistyped IPv4 address.
fn ends_in_number(text: &str) -> bool {
    text.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()))
}

fn is_v4(text: &str) -> bool {
    text.parse::<std::net::Ipv4Addr>().is_ok()
}

fn is_bracketed_v6(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in
            ["a", "localhost", "api.example.com", "_sip.example.com", "xn--bcher-kva.example", "10.0.0.1", "3com.com"]
        {
            assert!(is_name(name), "{name}");
        }
        let long = "a".repeat(64);
        for name in
            ["", ".", "a.", ".a", "a..b", "-a", "a-", "a b", "bücher.example", "10.0.0", "1.2.3.400", "a:1", &long]
        {
            assert!(!is_name(name), "{name}");
        }
    }
}
