//! Conditions beside host, path and method.

use http::HeaderName;

use crate::RequestHead;
use crate::proxy::router::canonical;

/// What a request has to have.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Header(HeaderName, Wanted),
    Cookie(Box<str>, Wanted),
    Query(Box<str>, Wanted),
}

/// Which value.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Present,
    Exactly(Box<str>),
}

impl Condition {
    pub(super) fn holds(&self, head: &RequestHead) -> bool {
        match self {
            Condition::Header(name, wanted) => head.headers().get_all(name).any(|value| wanted.is(value)),
            Condition::Cookie(name, wanted) => has_cookie(head, name, wanted),
            Condition::Query(name, wanted) => has_parameter(head.query().unwrap_or_default(), name, wanted),
        }
    }
}

impl Wanted {
    fn is(&self, value: &[u8]) -> bool {
        match self {
            Wanted::Present => true,
            Wanted::Exactly(wanted) => wanted.as_bytes() == value,
        }
    }

    fn is_encoded(&self, value: &[u8]) -> bool {
        match self {
            Wanted::Present => true,
            Wanted::Exactly(wanted) => decodes_to(value, wanted),
        }
    }
}

fn has_cookie(head: &RequestHead, name: &str, wanted: &Wanted) -> bool {
    let values = head.headers().get_all("cookie");
    let mut pairs = values.flat_map(|value| value.split(|byte| *byte == b';')).map(|pair| split_at(pair.trim_ascii()));
    pairs.any(|(candidate, value)| candidate == name.as_bytes() && value.is_some_and(|value| wanted.is(value)))
}

fn has_parameter(query: &str, name: &str, wanted: &Wanted) -> bool {
    let mut pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| split_at(pair.as_bytes()));
    pairs.any(|(candidate, value)| decodes_to(candidate, name) && wanted.is_encoded(value.unwrap_or_default()))
}

/// At the first `=`.
fn split_at(pair: &[u8]) -> (&[u8], Option<&[u8]>) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(equals) => (&pair[..equals], Some(&pair[equals + 1..])),
        None => (pair, None),
    }
}

fn decodes_to(encoded: &[u8], text: &str) -> bool {
    canonical::decode_form(encoded).eq(text.bytes())
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method};

    use super::*;

    fn head(target: &str) -> RequestHead {
        let mut head = RequestHead::new(Method::GET, target).unwrap();
        let headers = head.headers_mut();
        headers.append(HeaderName::from_static("x-a"), HeaderValue::from_static("1"));
        headers.append(HeaderName::from_static("x-a"), HeaderValue::from_static("2"));
        headers.append(http::header::COOKIE, HeaderValue::from_static("x=1; beta=yes"));
        headers.append(http::header::COOKIE, HeaderValue::from_static("x=2;empty=; bare"));
        head
    }

    fn exactly(value: &str) -> Wanted {
        Wanted::Exactly(value.into())
    }

    #[test]
    fn one_of_several_suffices() {
        let head = head("/");
        let check = |condition: Condition, expected| assert_eq!(condition.holds(&head), expected, "{condition:?}");
        let header = |wanted| Condition::Header(HeaderName::from_static("x-a"), wanted);
        check(header(exactly("2")), true);
        check(header(exactly("3")), false);
        check(header(Wanted::Present), true);
        check(Condition::Header(HeaderName::from_static("x-b"), Wanted::Present), false);
        let cookie = |name: &str, wanted| Condition::Cookie(name.into(), wanted);
        check(cookie("beta", exactly("yes")), true);
        check(cookie("beta", exactly("no")), false);
        check(cookie("x", exactly("2")), true);
        check(cookie("empty", exactly("")), true);
        check(cookie("bare", Wanted::Present), false);
        check(cookie("eta", Wanted::Present), false);
    }

    #[test]
    fn parameters_are_compared_decoded() {
        let check = |query: &str, name: &str, wanted, expected| {
            let head = head(&format!("/?{query}"));
            let condition = Condition::Query(name.into(), wanted);
            assert_eq!(condition.holds(&head), expected, "{query} {condition:?}");
        };
        check("a=1&b=2", "b", exactly("2"), true);
        check("a=1&a=2", "a", exactly("2"), true);
        check("%61=%31", "a", exactly("1"), true);
        check("a=x+y%2B", "a", exactly("x y+"), true);
        check("a", "a", Wanted::Present, true);
        check("a", "a", exactly(""), true);
        check("a=1=2", "a", exactly("1=2"), true);
        check("a=%zz", "a", exactly("%zz"), true);
        check("", "", Wanted::Present, false);
        check("ab=1", "a", Wanted::Present, false);
    }
}
