//! What may change between a client and an origin, and what must not.

use crate::strict::{self, End, Fields, Request};

/// Whether everything an origin got is well formed and a part of what the client sent, in order; where
/// it may be sent `again`, in any.
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
            left = if again { left } else { &left[at + 1..] };
        }
    }
    Ok(())
}

/// Whether the origin's request is this one of the client's. It may have been broken off.
pub(crate) fn covers(sent: &Request, got: &Request) -> bool {
    let same_target = origin_form(&sent.target, &sent.method) == got.target;
    let same_body = got.body.is_none() || sent.body == got.body;
    sent.method == got.method && same_target && same_body && same_fields(&sent.fields, &got.fields)
}

/// Whether the fields that are for both ends are the same: spelling, order and number.
pub(crate) fn same_fields(sent: &Fields, got: &Fields) -> bool {
    end_to_end(sent, sent).eq(end_to_end(got, sent))
}

/// The fields that a proxy has to leave alone, with `sent` saying which it need not.
fn end_to_end<'a>(fields: &'a Fields, sent: &'a Fields) -> impl Iterator<Item = &'a (Vec<u8>, Vec<u8>)> {
    const OURS: [&[u8]; 14] = [
        b"connection",
        b"content-length",
        b"expect",
        b"forwarded",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"via",
        b"x-real-ip",
    ];
    let is_ours = |name: &[u8]| OURS.contains(&name) || name.starts_with(b"x-forwarded");
    let nominated = move |name: &[u8]| {
        let mut tokens = strict::values(sent, b"connection").flat_map(|value| value.split(|byte| *byte == b','));
        tokens.any(|token| strict::trim(token).eq_ignore_ascii_case(name))
    };
    // An underscore is a dash to many an origin, so it is one here.
    let spelled = |name: &[u8]| name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect::<Vec<_>>();
    fields.iter().filter(move |(name, _)| !is_ours(&spelled(name)) && !nominated(name))
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

    fn check(client: &str, origin: &str) -> bool {
        check_origin(client.as_bytes(), &[origin.into()], false).is_ok()
    }

    #[test]
    fn smuggled_requests_are_seen() {
        let post = |length| format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        let get = "GET /s HTTP/1.1\r\nHost: h\r\n\r\n";
        let sent = format!("{}{get}", post(get.len()));
        assert!(check(&sent, &sent));
        assert!(check(&sent, &sent[..sent.len() - 5]), "it may be broken off");
        assert!(!check(&sent, &format!("{}{get}", post(0))), "the body as a request");
        assert!(!check(&sent, &format!("{sent}{get}")), "a request of nobody's");
        assert!(!check(&sent, &format!("{}{}", post(get.len()), "x".repeat(get.len()))), "another body");
        assert!(!check(&sent, &sent.replace("\r\nC", "\nC")), "a bare line feed");
        assert!(!check(&sent, &sent.replace("Host: h", "Transfer-Encoding: chunked\r\nHost: h")), "two framings");
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
        let sent = head("Connection: x-hop\r\nX-Hop: 1\r\nA: 1\r\nB: 2\r\nX_Forwarded_For: 3\r\n");
        assert!(check(&sent, &head("A: 1\r\nB: 2\r\nX-Forwarded-For: 4\r\n")));
        for wrong in ["A: 1\r\n", "B: 2\r\nA: 1\r\n", "A: 1\r\nB: 3\r\n", "A: 1\r\nB: 2\r\nC: 3\r\n"] {
            assert!(!check(&sent, &head(wrong)), "{wrong:?}");
        }
    }
}
