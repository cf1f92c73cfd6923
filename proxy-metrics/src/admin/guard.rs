//! Who may ask for what.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use subtle::ConstantTimeEq;

use super::answer::problem;

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// From this machine.
    Loopback,
    /// From anywhere.
    Public,
    /// Through a file that only its owner may open.
    File,
}

impl Door {
    /// The door at this address.
    pub(super) fn to(address: IpAddr) -> Self {
        if address.to_canonical().is_loopback() { Door::Loopback } else { Door::Public }
    }
}

/// Refuses who does not know the token, where there is one, and changes that another site may have sent.
pub(super) async fn authorised(State(state): State<Arc<super::State>>, request: Request, next: Next) -> Response {
    let welcome = match (state.door, state.token()) {
        (Door::File, _) | (Door::Loopback, None) => true,
        // A token that was taken away while the socket is open.
        (Door::Public, None) => false,
        (_, Some(token)) => knows(&token, request.headers()),
    };
    if !welcome {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"admin\"")];
        return (challenge, problem(StatusCode::UNAUTHORIZED, "the token is missing or wrong")).into_response();
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && let Err(refusal) = own_site(request.headers()) {
        return *refusal;
    }
    next.run(request).await
}

fn knows(token: &[u8], headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let given = given.and_then(|value| value.split_first_chunk::<7>());
    given.is_some_and(|(scheme, given)| scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.ct_eq(token)))
}

/// A form of another site has no JSON in it, and a script of one is asked first whether it may, which nobody
/// answers. Browsers also tell where a request comes from.
fn own_site(headers: &HeaderMap) -> Result<(), Box<Response>> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let media = text(header::CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default();
    if !media.trim().eq_ignore_ascii_case("application/json") {
        let message = "a change wants `Content-Type: application/json`";
        return Err(Box::new(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)));
    }
    let origin = text(header::ORIGIN).map(|origin| origin.split_once("://").map_or("", |(_, host)| host));
    let foreign = origin.is_some_and(|origin| Some(origin) != text(header::HOST));
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if foreign || site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Err(Box::new(problem(StatusCode::FORBIDDEN, "this change comes from another site")));
    }
    Ok(())
}

/// Without a token, only names that nobody else can point here: addresses and localhost.
pub(super) async fn of_this_host(State(state): State<Arc<super::State>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(Authority::as_str)).unwrap_or_default();
    if state.door != Door::File && state.token().is_none() && !is_own(host) {
        let message = "ask for an address or for localhost: a name could be anybody's, unless there is a token";
        return problem(StatusCode::FORBIDDEN, message);
    }
    next.run(request).await
}

fn is_own(host: &str) -> bool {
    let uri = host.parse::<Uri>().ok();
    let name = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

/// What browsers are told of every page: run and load nothing but what is ours, and keep nothing.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    const FIELDS: [(header::HeaderName, &str); 5] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in FIELDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_anybodys() {
        for own in ["127.0.0.1", "127.0.0.1:9900", "[::1]:9900", "[::1]", "localhost", "LocalHost:1", "10.0.0.7:80"] {
            assert!(is_own(own), "{own}");
        }
        for other in ["", "evil.example", "localhost.evil.example:9900", "127.0.0.1.evil.example", "[", "a b"] {
            assert!(!is_own(other), "{other}");
        }
    }
}
