//! Siblings that hold the same file, compressed.

use proxy_core::Headers;

use crate::list::members;

/// How a sibling is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

/// What a client takes, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Those that it likes no less than the file as it is.
    pub(crate) codings: Vec<Coding>,
    /// It does not take the file as it is.
    pub(crate) refuses_plain: bool,
}

impl Coding {
    /// In the order of their usual results.
    const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    /// The name in fields.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// What the sibling's name ends in.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Coding::Brotli => ".br",
            Coding::Zstd => ".zst",
            Coding::Gzip => ".gz",
        }
    }

    fn is(self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.name()) || self == Coding::Gzip && name.eq_ignore_ascii_case("x-gzip")
    }
}

impl Accepted {
    /// Reads `Accept-Encoding` (RFC 9110 §12.5.3). Without one nothing is compressed.
    pub(crate) fn of(headers: &Headers) -> Self {
        let said: Vec<_> = members(headers, "accept-encoding").filter_map(weighted).collect();
        let listed = |is: &dyn Fn(&str) -> bool| said.iter().find(|(name, _)| is(name)).map(|(_, weight)| *weight);
        let others = listed(&|name| name == "*");
        let plain = listed(&|name| name.eq_ignore_ascii_case("identity"));
        let weight = |coding: Coding| listed(&|name| coding.is(name)).or(others).unwrap_or(0);
        let mut codings: Vec<_> = Coding::ALL.into_iter().map(|coding| (coding, weight(coding))).collect();
        codings.retain(|(_, weight)| *weight > 0 && *weight >= plain.unwrap_or(0));
        // Stable: where the client does not care, the order is ours.
        codings.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        let codings = codings.into_iter().map(|(coding, _)| coding).collect();
        Accepted { codings, refuses_plain: plain.or(others) == Some(0) }
    }
}

/// A member and its weight in thousandths; `None` where it is malformed.
fn weighted(member: &str) -> Option<(&str, u16)> {
    let Some((name, parameter)) = member.split_once(';') else { return Some((member, 1000)) };
    let (key, value) = parameter.split_once('=')?;
    let weight = key.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))??;
    Some((name.trim_end(), weight))
}

/// `0`, `1`, or up to three digits behind the point (RFC 9110 §12.4.2).
fn thousandths(value: &str) -> Option<u16> {
    let (whole, digits) = value.split_once('.').unwrap_or((value, ""));
    if digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = format!("{digits:0<3}").parse::<u16>().ok()?;
    match (whole, part) {
        ("0", part) => Some(part),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, header};
    use proxy_core::RequestHead;

    use super::*;

    fn check(field: Option<&str>, expected: &str, refuses_plain: bool) {
        let mut head = RequestHead::new(Method::GET, "/").unwrap();
        if let Some(field) = field {
            head.headers_mut().append(header::ACCEPT_ENCODING, HeaderValue::from_str(field).unwrap());
        }
        let accepted = Accepted::of(head.headers());
        let names: Vec<_> = accepted.codings.iter().map(|coding| coding.name()).collect();
        assert_eq!((names.join(" ").as_str(), accepted.refuses_plain), (expected, refuses_plain), "{field:?}");
    }

    #[test]
    fn the_client_s_order_then_ours() {
        check(None, "", false);
        check(Some(""), "", false);
        check(Some("gzip, deflate, br, zstd"), "br zstd gzip", false);
        check(Some("gzip"), "gzip", false);
        check(Some("GZIP;q=1.0, BR;Q=0.5"), "gzip br", false);
        check(Some("x-gzip"), "gzip", false);
        check(Some("*"), "br zstd gzip", false);
        check(Some("*;q=0.5, gzip;q=0"), "br zstd", false);
        check(Some("br;q=0.4, identity;q=0.5, gzip;q=0.6"), "gzip", false);
        check(Some("identity"), "", false);
        check(Some("identity;q=0"), "", true);
        check(Some("*;q=0"), "", true);
        check(Some("gzip, *;q=0"), "gzip", true);
        check(Some("br, identity;q=0"), "br", true);
        check(Some("gzip ; q=0.001"), "gzip", false);
        for bad in
            ["gzip;q=2", "gzip;q=1.1", "gzip;q=0.0001", "gzip;q=-1", "gzip;q=", "gzip;q", "gzip;x=1", ";;", "gzip;q=.5"]
        {
            check(Some(bad), "", false);
        }
    }
}
