//! Fields that are for one connection only (RFC 9110 §7.6.1).

use crate::Headers;
use crate::head::{Known, KnownSet};
use crate::http1::framing::tokens;

/// Always for one connection only, whether `Connection` nominates them or not.
const HOP_BY_HOP: [Known; 8] = [
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::ProxyAuthenticate,
    Known::ProxyAuthorization,
    Known::Te,
    Known::TransferEncoding,
    Known::Upgrade,
];

/// More names than a head can have fields: what nominates so many means every field.
const MAX_NOMINATED: usize = 128;

/// Removes them from a request. Says whether it still upgrades.
pub(super) fn strip_request(headers: &mut Headers, upgrade: bool) -> bool {
    if has_none(headers) {
        return false;
    }
    // A tunnel of cleartext HTTP/2 would carry requests past every filter.
    let to_h2c = || headers.all(Known::Upgrade).flat_map(tokens).any(|token| token.eq_ignore_ascii_case(b"h2c"));
    let upgrades = upgrade && headers.has(Known::Upgrade) && !to_h2c();
    let takes_trailers = headers.all(Known::Te).flat_map(tokens).any(|token| token.eq_ignore_ascii_case(b"trailers"));
    strip(headers, upgrades);
    if takes_trailers {
        headers.add(b"TE", b"trailers");
    }
    upgrades
}

/// Removes them from a response; `Upgrade` stays in one that opens a tunnel.
pub(crate) fn strip_response(headers: &mut Headers, keep_upgrade: bool) {
    if !has_none(headers) {
        let upgrades = keep_upgrade && headers.has(Known::Upgrade);
        strip(headers, upgrades);
    }
}

/// The common case, without looking at a field.
fn has_none(headers: &Headers) -> bool {
    const SET: KnownSet = KnownSet::of(&HOP_BY_HOP);
    !headers.raw().known.intersects(SET) && !headers.is_edited()
}

fn strip(headers: &mut Headers, keep_upgrade: bool) {
    if let Some(index) = only_persistence(headers) {
        return headers.remove_raw(index);
    }
    remove_nominated(headers);
    match keep_upgrade {
        true => {
            let but_upgrade = HOP_BY_HOP.split_last().map_or(&[][..], |(_, others)| others);
            remove(headers, but_upgrade);
            headers.add(b"Connection", b"upgrade");
        }
        false => remove(headers, &HOP_BY_HOP),
    }
}

/// The one hop-by-hop field that nearly every origin sends: where it is a `Connection` that says
/// `keep-alive` or `close` and nothing else, there is nothing more to look at.
fn only_persistence(headers: &Headers) -> Option<usize> {
    const OTHERS: KnownSet = KnownSet::of(HOP_BY_HOP.split_at(1).1);
    let raw = headers.raw();
    let alone = !raw.known.intersects(OTHERS) && !raw.repeated.contains(Known::Connection) && !headers.is_edited();
    let (index, field) = raw.first(Known::Connection).filter(|_| alone)?;
    let value = field.value.of(&raw.bytes);
    let plain = value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close");
    plain.then_some(index)
}

/// Removes every field of these names.
pub(super) fn remove(headers: &mut Headers, names: &[Known]) {
    let edited = headers.is_edited();
    let set = KnownSet::of(names);
    let mut doomed = 0_u128;
    for (index, field) in headers.raw().fields.iter().enumerate() {
        doomed |= u128::from(set.contains(field.known)) << index;
    }
    while doomed != 0 {
        headers.remove_raw(doomed.trailing_zeros() as usize);
        doomed &= doomed - 1;
    }
    if edited {
        names.iter().for_each(|name| headers.remove_known(*name));
    }
}

/// Removes what `Connection` nominates. Nearly always that is nothing.
fn remove_nominated(headers: &mut Headers) {
    let nominations = headers.all(Known::Connection).flat_map(tokens).filter(|name| !is_protected(name));
    let nominated: Vec<String> =
        nominations.take(MAX_NOMINATED + 1).map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let names = match nominated.len() > MAX_NOMINATED {
        true => unprotected(headers),
        false => nominated,
    };
    for name in names {
        headers.remove(name);
    }
}

fn unprotected(headers: &Headers) -> Vec<String> {
    let names = headers.iter().map(|(name, _)| name).filter(|name| !is_protected(name));
    names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// Options that are no fields, fields that are removed in any case, and end-to-end fields that the
/// safety of an exchange stands on: a client must not make them vanish between us and the origin.
/// Documented on [`Forwarding`](super::Forwarding).
fn is_protected(name: &[u8]) -> bool {
    const NAMES: [&str; 27] = [
        // Options, and what is handled by itself.
        "close",
        "keep-alive",
        "upgrade",
        "te",
        "transfer-encoding",
        "connection",
        // About the exchange.
        "host",
        "via",
        "forwarded",
        "x-real-ip",
        "x-request-id",
        "expect",
        "trailer",
        "date",
        "location",
        "vary",
        "cache-control",
        "strict-transport-security",
        "x-frame-options",
        // About who asks.
        "authorization",
        "www-authenticate",
        "authentication-info",
        "cookie",
        "set-cookie",
        "origin",
        "referer",
        "user-agent",
    ];
    const PREFIXES: [&str; 5] = ["x-forwarded-", "content-", "sec-", "access-control-", "x-content-"];
    let begins_with = |prefix: &&str| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    NAMES.iter().any(|candidate| name.eq_ignore_ascii_case(candidate.as_bytes())) || PREFIXES.iter().any(begins_with)
}
