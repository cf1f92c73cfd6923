//! Patterns for hosts.

use super::RouteError;

/// Longer than any host that a rule is looked up for: DNS names end at 253 bytes.
pub(crate) const MAX_HOST: usize = 255;

/// Which hosts a route is for. Texts are lower-case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Any,
    /// Every name below this one, which has no leading dot.
    Below(Box<str>),
    Exact(Box<str>),
}

impl Host {
    pub(crate) fn parse(pattern: &str) -> Result<Self, RouteError> {
        let bad = |reason| RouteError::host(pattern, reason);
        let text = pattern.strip_suffix('.').unwrap_or(pattern).to_ascii_lowercase();
        if text.starts_with('[') {
            return check_bracketed(&text).map(|()| Host::Exact(text.clone().into())).map_err(bad);
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, &*text),
        };
        check_name(name).map_err(bad)?;
        Ok(if below { Host::Below(name.into()) } else { Host::Exact(name.into()) })
    }
}

fn check_bracketed(text: &str) -> Result<(), &'static str> {
    let Some((address, rest)) = text[1..].split_once(']') else {
        return Err("the bracket is not closed");
    };
    match (address.parse::<std::net::Ipv6Addr>(), rest) {
        (Ok(_), "") => Ok(()),
        (Ok(_), _) => Err("routes take every port, leave it out"),
        (Err(_), _) => Err("not an IPv6 address in brackets"),
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err("an IPv6 address stands in brackets");
    }
    if name.contains(':') {
        return Err("routes take every port, leave it out");
    }
    if name.contains('*') {
        return Err("a wildcard is the whole first label, as in *.example.com; without a host a route takes all");
    }
    if name.len() > MAX_HOST {
        return Err("longer than any host name");
    }
    if !name.is_ascii() {
        return Err("names outside of ASCII are written in their xn-- form");
    }
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_label_byte);
    match name.split('.').all(is_label) {
        true => Ok(()),
        false => Err("not a host name"),
    }
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_exact_or_below_a_name() {
        let check = |pattern, expected| assert_eq!(Host::parse(pattern).unwrap(), expected, "{pattern}");
        check("Api.Example.com", Host::Exact("api.example.com".into()));
        check("example.com.", Host::Exact("example.com".into()));
        check("localhost", Host::Exact("localhost".into()));
        check("127.0.0.1", Host::Exact("127.0.0.1".into()));
        check("a_b.c", Host::Exact("a_b.c".into()));
        check("[::1]", Host::Exact("[::1]".into()));
        check("*.example.com", Host::Below("example.com".into()));
    }

    #[test]
    fn other_patterns_are_refused_with_a_reason() {
        let check = |pattern: &str, part: &str| {
            let error = Host::parse(pattern).unwrap_err().to_string();
            assert!(error.contains(part), "{pattern}: {error}");
        };
        check("", "not a host name");
        check("a..b", "not a host name");
        check(".example.com", "not a host name");
        check("http://a", "leave it out");
        check("a/b", "not a host name");
        check("a:80", "leave it out");
        check("[::1]:80", "leave it out");
        check("[::1", "not closed");
        check("[x]", "not an IPv6 address");
        check("::1", "in brackets");
        check("*", "whole first label");
        check("a.*.b", "whole first label");
        check("*a.b", "whole first label");
        check("bücher.de", "xn--");
        check(&"a".repeat(256), "longer");
    }
}
