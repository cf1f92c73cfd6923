//! What a request asks a forward proxy for.

use http::{Method, header};
use proxy_core::RequestHead;

use crate::destination::{Destination, DestinationError};
use crate::refusal::{Reason, Refusal};

/// Where to, and how.
pub(super) struct Asked {
    pub(super) destination: Destination,
    pub(super) method: Method,
}

/// The form of the request target (RFC 9112 §3.2).
pub(super) enum Form {
    Tunnel(Asked),
    Absolute(Asked),
    /// As one asks a server.
    Origin,
}

impl Asked {
    /// Reads the target. The engine has refused one with user information, and one that `Host` disagrees with.
    pub(super) fn of(head: &RequestHead) -> Result<Form, Refusal> {
        let target = String::from_utf8_lossy(head.target());
        let method = head.method().clone();
        if method == Method::CONNECT {
            let destination = parse(&target, None)?;
            if !agrees(head, &destination) {
                return Err(Refusal::new(Reason::Malformed("Host disagrees with the target of CONNECT"), target));
            }
            return Ok(Form::Tunnel(Asked { destination, method }));
        }
        let Some((scheme, authority)) = absolute(&target) else { return Ok(Form::Origin) };
        match scheme.eq_ignore_ascii_case("http") {
            true => Ok(Form::Absolute(Asked { destination: parse(authority, Some(80))?, method })),
            false => {
                Err(Refusal::new(Reason::Malformed("This proxy asks for http alone; for https use CONNECT"), scheme))
            }
        }
    }
}

fn parse(authority: &str, assumed_port: Option<u16>) -> Result<Destination, Refusal> {
    Destination::parse(authority, assumed_port).map_err(|error| {
        let what = match error {
            DestinationError::Host => "The host is neither a name nor an address",
            DestinationError::Spelling => "The host is an address in a spelling that is not its own",
            DestinationError::Port => "The port is missing, or not a number from 1 to 65535",
        };
        Refusal::new(Reason::Malformed(what), authority)
    })
}

/// Scheme and authority.
fn absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://").filter(|_| !target.starts_with('/'))?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    Some((scheme, authority))
}

/// Whether `Host` names the same, with or without the port, or nothing at all. Only the target counts, but
/// where they differ somebody reads the other one.
fn agrees(head: &RequestHead, destination: &Destination) -> bool {
    match head.headers().get(header::HOST) {
        None | Some(b"") => true,
        Some(host) => {
            let host = String::from_utf8_lossy(host);
            Destination::parse(&host, Some(destination.port())).as_ref() == Ok(destination)
        }
    }
}
