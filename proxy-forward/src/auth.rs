//! Who may use the proxy at all.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, header};
use proxy_core::{Context, Filter, Flow, Request, RequestHead, Response, Result, User};

use crate::refusal::page;

mod password_file;

pub use password_file::{PasswordFile, PasswordFileError};

/// Longer than any name and password that somebody types.
const MAX_CREDENTIALS: usize = 1024;

/// Who knows the users: a [`PasswordFile`], or a directory of one's own.
#[async_trait]
pub trait Credentials: Send + Sync + 'static {
    /// Whether this is the user's password. It must take the same time for users that do not exist.
    ///
    /// # Cancel safety
    /// Required: the future is dropped when the client leaves.
    async fn check(&self, name: &str, password: &[u8]) -> Login;
}

/// What a check of name and password came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// It is this user.
    User(User),
    /// The name or the password is wrong.
    Wrong,
    /// Too many are being checked: nothing is known.
    Busy,
}

/// A filter that lets pass who authenticates by `Proxy-Authorization: Basic` (RFC 7617). What it knows is in
/// the [`Context`], as a [`User`]: rules of a [`Policy`](crate::Policy) and filters behind it look there. The
/// credentials reach no filter and no origin.
///
/// Basic sends passwords in the clear: let clients connect over a network that is trusted, or over TLS.
///
/// ```no_run
/// use proxy_forward::{BasicAuth, ForwardUpstream, PasswordFile};
///
/// # fn build() -> Result<(), Box<dyn std::error::Error>> {
/// let auth = BasicAuth::new(PasswordFile::load("users.htpasswd")?);
/// let proxy = ForwardUpstream::builder().build().into_proxy().filter(auth).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BasicAuth {
    credentials: Arc<dyn Credentials>,
    challenge: HeaderValue,
}

impl BasicAuth {
    /// Asks these credentials.
    pub fn new(credentials: impl Credentials) -> Self {
        BasicAuth::shared(Arc::new(credentials))
    }

    /// Asks credentials that are shared with others.
    pub fn shared(credentials: Arc<dyn Credentials>) -> Self {
        let challenge = HeaderValue::from_static("Basic realm=\"proxy\", charset=\"UTF-8\"");
        BasicAuth { credentials, challenge }
    }

    /// What clients show their users. Quotes, backslashes and what is not ASCII become spaces.
    #[must_use]
    pub fn realm(mut self, realm: &str) -> Self {
        let legal = |char: char| (char.is_ascii_graphic() || char == ' ') && !matches!(char, '"' | '\\');
        let realm: String = realm.chars().map(|char| if legal(char) { char } else { ' ' }).collect();
        if let Ok(challenge) = HeaderValue::from_str(&format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")) {
            self.challenge = challenge;
        }
        self
    }

    fn challenge(&self, text: &str) -> Response {
        let status = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        let mut response = page(status, "proxy; error=http_request_denied", text);
        response.head_mut().headers_mut().insert(header::PROXY_AUTHENTICATE, self.challenge.clone());
        response
    }
}

#[async_trait]
impl Filter for BasicAuth {
    async fn on_request(&self, _: &mut Request, ctx: &mut Context) -> Result<Flow> {
        let Some((name, password)) = ctx.request().and_then(credentials) else {
            return Ok(Flow::Respond(self.challenge("This proxy asks for a name and a password.")));
        };
        match self.credentials.check(&name, &password).await {
            Login::User(user) => {
                ctx.insert(user);
                Ok(Flow::Continue)
            }
            Login::Wrong => {
                tracing::debug!(user = name, client = ctx.client().map(tracing::field::display), "wrong password");
                Ok(Flow::Respond(self.challenge("The name or the password is wrong.")))
            }
            Login::Busy => {
                let text = "Too many passwords are being checked; try again in a moment.";
                let mut response = page(StatusCode::SERVICE_UNAVAILABLE, "proxy; error=connection_limit_reached", text);
                response.head_mut().headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                Ok(Flow::Respond(response))
            }
        }
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth").field("challenge", &self.challenge).finish_non_exhaustive()
    }
}

/// Name and password of the one `Proxy-Authorization` there is, as it came: the head that filters see has
/// lost it already.
fn credentials(head: &RequestHead) -> Option<(String, Vec<u8>)> {
    let mut values = head.headers().get_all(&header::PROXY_AUTHORIZATION);
    let value = values.next().filter(|value| value.len() <= MAX_CREDENTIALS)?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    decode(encoded.trim_ascii())
}

fn decode(encoded: &[u8]) -> Option<(String, Vec<u8>)> {
    let decoded = STANDARD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((name, decoded[colon + 1..].to_vec()))
}

/// The value of `Proxy-Authorization` for these.
pub(crate) fn encode(name: &str, password: &[u8]) -> String {
    let mut plain = name.as_bytes().to_vec();
    plain.push(b':');
    plain.extend_from_slice(password);
    format!("Basic {}", STANDARD.encode(plain))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn credentials_are_read_in_one_way() {
        let check = |values: &[&str], expected: Option<(&str, &str)>| {
            let mut head = RequestHead::new(Method::GET, "/").unwrap();
            for value in values {
                head.headers_mut().append(header::PROXY_AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            let found = credentials(&head);
            let found = found.as_ref().map(|(name, password)| (&**name, std::str::from_utf8(password).unwrap()));
            assert_eq!(found, expected, "{values:?}");
        };
        check(&["Basic YWRhOnNlY3JldA=="], Some(("ada", "secret")));
        check(&["bAsIc   YWRhOnNlY3JldA=="], Some(("ada", "secret")));
        check(&["Basic YWRhOmE6Yg=="], Some(("ada", "a:b")));
        check(&["Basic Og=="], Some(("", "")));
        check(&[&encode("gräfin", b"x")], Some(("gräfin", "x")));
        for bad in [
            "",
            "Basic",
            "Basic ",
            "Basic YWRh",
            "Basic YWRhOnNlY3JldA",
            "Basic !",
            "Bearer YWRhOnNlY3JldA==",
            "BasicYWRhOng=",
        ] {
            check(&[bad], None);
        }
        check(&["Basic YWRhOnNlY3JldA==", "Basic YWRhOnNlY3JldA=="], None);
        check(&[&format!("Basic {}", "YWRh".repeat(300))], None);
        check(&[], None);
    }
}
