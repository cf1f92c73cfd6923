//! Writing the forwarding fields.

use std::net::IpAddr;

use http::Version;

use super::address::Text;
use super::{Forwarding, hop};
use crate::head::{Known, KnownSet};
use crate::{Headers, RequestHead};

/// What nobody has a say in: an origin may take it for one of the others.
const NOBODYS: [Known; 1] = [Known::Underscored];

/// What an untrusted peer has no say in.
const CLAIMS: [Known; 8] = [
    Known::Underscored,
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XForwarded,
    Known::XRealIp,
    Known::Forwarded,
];

/// The connection a request came on.
pub(super) struct Hop<'a> {
    pub(super) address: Option<IpAddr>,
    pub(super) scheme: &'a str,
    pub(super) port: Option<u16>,
}

/// Removes what the peer has no say in.
pub(super) fn remove_claims(headers: &mut Headers, trusted: bool) {
    let (claims, set) = match trusted {
        true => (&NOBODYS[..], const { KnownSet::of(&NOBODYS) }),
        false => (&CLAIMS[..], const { KnownSet::of(&CLAIMS) }),
    };
    if headers.raw().known.intersects(set) || headers.is_edited() {
        hop::remove(headers, claims);
    }
}

/// Writes what is switched on. What is still there came from a trusted peer.
pub(super) fn write(settings: &Forwarding, head: &mut RequestHead, hop: &Hop<'_>) {
    let mut buffer = [0; MAX_AUTHORITY];
    let wants_authority = settings.x_forwarded_host || settings.forwarded;
    let authority = if wants_authority { copy_authority(head, &mut buffer) } else { None };
    if settings.x_real_ip
        && let Some(address) = hop.address
    {
        let client = settings.client_addr(head, address);
        set(head.headers_mut(), Known::XRealIp, b"X-Real-IP", Text::of(client).as_bytes());
    }
    let via = via(head.version());
    let headers = head.headers_mut();
    if settings.x_forwarded_for
        && let Some(address) = hop.address
    {
        append(headers, Known::XForwardedFor, b"X-Forwarded-For", Text::of(address).as_bytes());
    }
    if settings.x_forwarded_proto {
        set_proto(headers, hop.scheme);
    }
    if settings.x_forwarded_host
        && let Some(authority) = authority
    {
        set(headers, Known::XForwardedHost, b"X-Forwarded-Host", authority);
    }
    if settings.x_forwarded_port
        && let Some(port) = hop.port
    {
        set(headers, Known::XForwardedPort, b"X-Forwarded-Port", port.to_string().as_bytes());
    }
    if settings.forwarded {
        append(headers, Known::Forwarded, b"Forwarded", &forwarded(hop, authority));
    }
    if settings.via {
        headers.add_line(Known::Via, b"Via".len(), via);
    }
}

/// A DNS name of 253 bytes, a port, and something over. A longer `Host` is not repeated.
const MAX_AUTHORITY: usize = 272;

/// A copy on the stack, since the head is edited next.
fn copy_authority<'a>(head: &RequestHead, buffer: &'a mut [u8; MAX_AUTHORITY]) -> Option<&'a [u8]> {
    let authority = head.authority_bytes().filter(|authority| !authority.is_empty())?;
    let copy = buffer.get_mut(..authority.len())?;
    copy.copy_from_slice(authority);
    Some(copy)
}

fn set(headers: &mut Headers, known: Known, name: &[u8], value: &[u8]) {
    if !headers.has(known) {
        headers.add_known(known, name, value);
    }
}

fn set_proto(headers: &mut Headers, scheme: &str) {
    if headers.has(Known::XForwardedProto) {
        return;
    }
    match scheme {
        "http" => headers.add_line(Known::XForwardedProto, 17, b"X-Forwarded-Proto: http\r\n"),
        "https" => headers.add_line(Known::XForwardedProto, 17, b"X-Forwarded-Proto: https\r\n"),
        other => headers.add_known(Known::XForwardedProto, b"X-Forwarded-Proto", other.as_bytes()),
    }
}

/// One field with all elements, not one more: many an origin reads the first only.
fn append(headers: &mut Headers, known: Known, name: &[u8], element: &[u8]) {
    if !headers.has(known) {
        return headers.add_known(known, name, element);
    }
    let mut list = Vec::new();
    for value in headers.all(known).filter(|value| !value.is_empty()) {
        list.extend_from_slice(value);
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element);
    headers.remove_known(known);
    headers.add(name, &list);
}

/// An element of RFC 7239: `for=192.0.2.1;host="example.com:80";proto=http`.
fn forwarded(hop: &Hop<'_>, authority: Option<&[u8]>) -> Vec<u8> {
    let mut element = match hop.address {
        Some(IpAddr::V4(address)) => format!("for={address}"),
        Some(IpAddr::V6(address)) => format!("for=\"[{address}]\""),
        None => "for=unknown".to_owned(),
    }
    .into_bytes();
    if let Some(authority) = authority {
        element.extend_from_slice(b";host=");
        push_value(&mut element, authority);
    }
    element.extend_from_slice(b";proto=");
    element.extend_from_slice(hop.scheme.as_bytes());
    element
}

/// A token as it is, anything else as a quoted string (RFC 9110 §5.6.4).
fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if value.iter().all(is_token) {
        return out.extend_from_slice(value);
    }
    out.push(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// The version the request came in (RFC 9110 §7.6.3), and us.
fn via(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"Via: 1.0 proxy\r\n",
        Version::HTTP_2 => b"Via: 2 proxy\r\n",
        Version::HTTP_3 => b"Via: 3 proxy\r\n",
        _ => b"Via: 1.1 proxy\r\n",
    }
}
