//! What origins learn about clients and the proxy.

use std::hash::{BuildHasher, RandomState};

use http::{HeaderName, HeaderValue, Version, header};
use proxy_core::{Forwarding, RequestHead};

/// How much origins learn about clients and the proxy.
///
/// What a client itself says of others on the way (`X-Forwarded-For`, `Forwarded`) reaches no origin, and
/// neither do its credentials for the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Anonymity {
    /// The client's address in `X-Forwarded-For`, and the proxy in `Via`.
    #[default]
    Transparent,
    /// The proxy in `Via`, and nothing of the client.
    Anonymous,
    /// Nothing of either: `Via` of proxies before this one is removed, too. Requests that come round
    /// cannot be told from others; the proxy's own listeners are closed to it all the same.
    Elite,
}

/// What a proxy leaves in the requests it forwards, and finds again in those that come round.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    anonymity: Anonymity,
    name: Box<str>,
    scrubbed: Vec<HeaderName>,
}

impl Default for Trace {
    fn default() -> Self {
        let random = RandomState::new().hash_one("via");
        Trace { anonymity: Anonymity::default(), name: format!("proxy-{random:016x}").into(), scrubbed: Vec::new() }
    }
}

impl Trace {
    pub(crate) fn with(mut self, anonymity: Anonymity) -> Self {
        self.anonymity = anonymity;
        self
    }

    /// Characters that a pseudonym cannot have become dashes (RFC 9110 §7.6.3).
    pub(crate) fn named(mut self, name: &str) -> Self {
        let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
        self.name = name.chars().map(|char| if legal(char) { char } else { '-' }).collect();
        self
    }

    pub(crate) fn without(mut self, field: HeaderName) -> Self {
        self.scrubbed.push(field);
        self
    }

    /// `Via` is ours to write: it has our name.
    pub(crate) fn forwarding(&self) -> Forwarding {
        Forwarding::none().x_forwarded_for(self.anonymity == Anonymity::Transparent)
    }

    /// Whether the request came by here before.
    pub(crate) fn leads_back(&self, head: &RequestHead) -> bool {
        let elements = head.headers().get_all(&header::VIA).flat_map(|value| value.split(|byte| *byte == b','));
        let mut by = elements.filter_map(|element| element.trim_ascii().split(u8::is_ascii_whitespace).nth(1));
        by.any(|by| by.eq_ignore_ascii_case(self.name.as_bytes()))
    }

    /// Leaves the trace of the proxy in a request, or none.
    pub(crate) fn leave(&self, head: &mut RequestHead) {
        let version = if head.version() == Version::HTTP_10 { "1.0" } else { "1.1" };
        let headers = head.headers_mut();
        if self.anonymity == Anonymity::Elite {
            headers.remove(header::VIA);
        } else if let Ok(via) = HeaderValue::from_str(&format!("{version} {}", self.name)) {
            headers.append(header::VIA, via);
        }
        for field in &self.scrubbed {
            headers.remove(field.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn head(via: &[&'static str]) -> RequestHead {
        let mut head = RequestHead::new(Method::GET, "http://a/").unwrap();
        via.iter().for_each(|via| head.headers_mut().append(header::VIA, HeaderValue::from_static(via)));
        head
    }

    #[test]
    fn a_proxy_knows_its_own_name_in_via() {
        let trace = Trace::default().named("me/1");
        let check = |via: &[&'static str], expected| assert_eq!(trace.leads_back(&head(via)), expected, "{via:?}");
        check(&[], false);
        check(&["1.1 other"], false);
        check(&["1.1 me-12"], false);
        check(&["1.1 me-1"], true);
        check(&["1.0 other, 1.1 ME-1 (comment)"], true);
        check(&["1.0 other", "HTTP/1.1\tme-1"], true);
        check(&["me-1"], false);
    }

    #[test]
    fn no_two_proxies_have_the_same_name() {
        assert_ne!(Trace::default().name, Trace::default().name);
    }

    #[test]
    fn what_is_left_is_what_was_asked_for() {
        let check = |anonymity, expected: &[&str]| {
            let trace = Trace::default().named("me").with(anonymity).without(header::USER_AGENT);
            let mut head = head(&["1.1 other"]);
            head.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("curl"));
            trace.leave(&mut head);
            let via: Vec<_> = head.headers().get_all(&header::VIA).map(String::from_utf8_lossy).collect();
            assert_eq!(via, expected, "{anonymity:?}");
            assert!(!head.headers().contains(header::USER_AGENT));
        };
        check(Anonymity::Transparent, &["1.1 other", "1.1 me"]);
        check(Anonymity::Anonymous, &["1.1 other", "1.1 me"]);
        check(Anonymity::Elite, &[]);
    }
}
