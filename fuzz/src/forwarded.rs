//! What may change between a client and an origin, and what must not.

use crate::strict::{self, End, Fields, Request};

/// Whether everything an origin got is well formed and a part of what the client sent, in order. Only
/// what is idempotent may come twice, and only `again`.
pub(crate) fn check_origin(client: &[u8], received: &[Vec<u8>], again: bool) -> Result<(), String> {
    let (sent, _) = strict::requests(client);
    let mut left = &sent[..];
    for bytes in received {
        let (found, end) = strict::requests(bytes);
        if let End::Malformed(reason) = end {
            return Err(format!("{reason} in what the origin got: {}", bytes.escape_ascii()));
        }
        for request in found {
            let Some(at) = left.iter().position(|sent| covers(sent, &request)) else {
                return Err(format!("the origin got {request:?}, the client sent {sent:?}"));
            };
            left = &left[at + usize::from(!again || !is_idempotent(&request.method))..];
        }
    }
    Ok(())
}

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
}

/// Whether the origin's request is this one of the client's. It may have been broken off.
pub(crate) fn covers(sent: &Request, got: &Request) -> bool {
    let same_target = origin_form(&sent.target, &sent.method) == got.target;
    let same_body = got.body.is_none() || sent.body == got.body;
    let believed = sent.fields.iter().filter(|(name, _)| !is_claim(name)).cloned().collect();
    let same_fields = same_fields(&believed, &got.fields);
    let named = strict::values(&got.fields, b"x-forwarded-for").eq([CLIENT]);
    sent.method == got.method && same_target && same_body && same_fields && named
}

/// Where the client of a test sits. Nobody trusts it.
const CLIENT: &[u8] = b"192.0.2.1";

/// What a client has no say in. An underscore is a dash to many an origin, so it is one here.
fn is_claim(name: &[u8]) -> bool {
    let dashed: Vec<_> = name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
    let claimed = dashed.starts_with(b"x-forwarded") || matches!(&*dashed, b"forwarded" | b"x-real-ip");
    claimed || (dashed != name && is_handled(&dashed))
}

/// Whether the fields that are for both ends are the same, spelling, order and number, and those that
/// `Connection` nominates gone.
pub(crate) fn same_fields(sent: &Fields, got: &Fields) -> bool {
    let nominated = nominated(sent);
    let all = nominated.len() > MAX_NOMINATED;
    let goes = |name: &Vec<u8>| (all || nominated.contains(name)) && !is_protected(name);
    let sent = sent.iter().filter(|(name, _)| !is_handled(name) && !goes(name));
    sent.eq(got.iter().filter(|(name, _)| !is_handled(name)))
}

/// More than a head has fields: then every field is nominated.
const MAX_NOMINATED: usize = 128;

/// The unprotected names that `Connection` lists, in lower case.
fn nominated(fields: &Fields) -> Vec<Vec<u8>> {
    let tokens = strict::values(fields, b"connection").flat_map(|value| value.split(|byte| *byte == b','));
    let names = tokens.map(|token| strict::trim(token).to_ascii_lowercase());
    names.filter(|name| !name.is_empty() && !is_protected(name)).collect()
}

/// Fields that a proxy removes, writes or makes anew.
fn is_handled(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 14] = [
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-proto",
    ];
    NAMES.contains(&name)
}

/// What cannot be nominated away, as [`proxy_core::Forwarding`] documents it, and what goes without that.
fn is_protected(name: &[u8]) -> bool {
    const NAMES: [&str; 27] = [
        "authentication-info",
        "authorization",
        "cache-control",
        "close",
        "connection",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "location",
        "origin",
        "referer",
        "set-cookie",
        "strict-transport-security",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "vary",
        "via",
        "www-authenticate",
        "x-frame-options",
        "x-real-ip",
        "x-request-id",
    ];
    const STARTS: [&str; 5] = ["x-forwarded-", "content-", "sec-", "access-control-", "x-content-"];
    NAMES.iter().any(|known| name == known.as_bytes()) || STARTS.iter().any(|start| name.starts_with(start.as_bytes()))
}

/// RFC 9112 §3.2.1 and §3.2.4, for `scheme://authority` in front.
pub(crate) fn origin_form(target: &[u8], method: &[u8]) -> Vec<u8> {
    let Some(colon) = target.windows(3).position(|window| window == b"://").filter(|_| target[0] != b'/') else {
        return target.to_vec();
    };
    let rest = &target[colon + 3..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    match &rest[end..] {
        b"" if method == b"OPTIONS" => b"*".to_vec(),
        form @ (b"" | [b'?', ..]) => [b"/", form].concat(),
        form => form.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The origin's fields get ours behind them.
    fn check(client: &str, origin: &str) -> bool {
        check_origin(client.as_bytes(), &[through(origin)], false).is_ok()
    }

    fn through(origin: &str) -> Vec<u8> {
        origin.replace("Host: h\r\n", "Host: h\r\nX-Forwarded-For: 192.0.2.1\r\n").into_bytes()
    }

    #[test]
    fn smuggled_requests_are_seen() {
        let post = |length| format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        let (get, text) = ("GET /s HTTP/1.1\r\nHost: h\r\n\r\n", "GET /s HTTP/1.1\r\nhost: h\r\n\r\n");
        let sent = format!("{}{text}", post(text.len()));
        assert!(check(&sent, &sent));
        assert!(check(&sent, &sent[..sent.len() - 5]), "it may be broken off");
        assert!(!check(&sent, &format!("{}{get}", post(0))), "the body as a request");
        assert!(!check(&sent, &format!("{sent}{get}")), "a request of nobody's");
        assert!(!check(&sent, &format!("{}{}", post(get.len()), "x".repeat(get.len()))), "another body");
        assert!(!check(&sent, &sent.replace("\r\nC", "\nC")), "a bare line feed");
        assert!(!check(&sent, &sent.replace("Host: h", "Transfer-Encoding: chunked\r\nHost: h")), "two framings");
    }

    #[test]
    fn what_may_come_twice_is_idempotent() {
        for (method, twice) in [("PUT", true), ("POST", false)] {
            let request = format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
            let received = [through(&request), through(&request)];
            assert_eq!(check_origin(request.as_bytes(), &received, true).is_ok(), twice);
            assert!(check_origin(request.as_bytes(), &received, false).is_err());
        }
    }

    #[test]
    fn the_coding_does_not_matter() {
        let counted = "PUT http://h/a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
        let chunked =
            "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x\r\ni\r\n0\r\nA: b\r\n\r\n";
        assert!(check(counted, chunked));
        assert!(!check(counted, &chunked.replace("\r\ni", "\r\nj")));
    }

    #[test]
    fn fields_between_the_ends_are_left_alone() {
        let head = |fields: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let sent = head("Connection: x-hop\r\nX-Hop: 1\r\nA: 1\r\nB: 2\r\nX_Forwarded_For: 3\r\nX-Real-IP: 4\r\n");
        assert!(check(&sent, &head("A: 1\r\nB: 2\r\nVia: 1.1 proxy\r\n")));
        let nominating_a = sent.replace("x-hop", "x-hop, a, cookie").replace("B: 2", "B: 2\r\nCookie: 5");
        assert!(check(&nominating_a, &head("B: 2\r\nCookie: 5\r\n")));
        assert!(!check(&nominating_a, &head("A: 1\r\nB: 2\r\nCookie: 5\r\n")));
        for wrong in [
            "A: 1\r\n",
            "B: 2\r\nA: 1\r\n",
            "A: 1\r\nB: 3\r\n",
            "A: 1\r\nB: 2\r\nC: 3\r\n",
            "A: 1\r\nB: 2\r\nX_Forwarded_For: 3\r\n",
            "A: 1\r\nB: 2\r\nX-Real-IP: 4\r\n",
        ] {
            assert!(!check(&sent, &head(wrong)), "{wrong:?}");
        }
    }
}
