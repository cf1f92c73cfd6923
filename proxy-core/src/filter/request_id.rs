//! An id for every request.

use std::fmt;
use std::pin::Pin;

use http::HeaderName;

use super::ids::Ids;
use super::{Continue, Filter, Flow};
use crate::{Context, Headers, Request, Response, Result};

/// A number that does not repeat.
pub(crate) fn unique() -> u128 {
    Ids::PerThread.next()
}

/// Gives every request an id: a field of the request, the same field of the response, and a
/// [`RequestIdValue`] in the [`Context`], for filters behind this one and for logs.
///
/// Put it first: the answers of filters before it have no id. Ids are 128 bits in hexadecimal, to
/// tell requests apart. They are not secrets: who sees some can guess others.
///
/// ```
/// use proxy_core::{BuildError, Proxy, RequestId, Route, Upstream};
///
/// fn with_ids(api: impl Upstream) -> Result<Proxy, BuildError> {
///     Proxy::builder().filter(RequestId::new()).upstream("api", api).route(Route::to("api")).build()
/// }
/// ```
#[derive(Debug)]
pub struct RequestId {
    header: HeaderName,
    trust_incoming: bool,
    ids: Ids,
}

impl Default for RequestId {
    fn default() -> Self {
        RequestId { header: HeaderName::from_static("x-request-id"), trust_incoming: false, ids: Ids::PerThread }
    }
}

impl RequestId {
    /// New ids for all requests, in `x-request-id`.
    pub fn new() -> Self {
        RequestId::default()
    }

    /// Another field than `x-request-id`.
    #[must_use]
    pub fn header(mut self, header: HeaderName) -> Self {
        self.header = header;
        self
    }

    /// Whether the id that a request brings stays: 1 to 64 letters, digits or `-_.:+/=@`. For
    /// proxies whose clients are proxies. Default: no, a client's id is replaced.
    #[must_use]
    pub fn trust_incoming(mut self, trust: bool) -> Self {
        self.trust_incoming = trust;
        self
    }

    /// The same ids in every run, for tests.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.ids = Ids::seeded(seed);
        self
    }

    fn id(&self, headers: &Headers) -> RequestIdValue {
        let incoming = if self.trust_incoming { headers.get(&self.header) } else { None };
        incoming.and_then(RequestIdValue::parse).unwrap_or_else(|| RequestIdValue::of(self.ids.next()))
    }

    fn write(&self, headers: &mut Headers, id: &RequestIdValue) {
        headers.remove(&self.header);
        headers.add(self.header.as_str().as_bytes(), id.as_bytes());
    }
}

impl Filter for RequestId {
    // Not `async`: it does not wait, so its future takes no memory.
    fn on_request<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        request: &'life1 mut Request,
        context: &'life2 mut Context,
    ) -> Pin<Box<dyn Future<Output = Result<Flow>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
    {
        let id = self.id(request.head().headers());
        self.write(request.head_mut().headers_mut(), &id);
        context.insert(id);
        Box::pin(Continue)
    }

    fn on_response(&self, response: &mut Response, context: &mut Context) -> Result<()> {
        if let Some(id) = context.get::<RequestIdValue>() {
            self.write(response.head_mut().headers_mut(), id);
        }
        Ok(())
    }
}

/// The id of a request, in its [`Context`].
///
/// ```
/// use proxy_core::{Context, RequestIdValue};
///
/// fn log(context: &Context) {
///     if let Some(id) = context.get::<RequestIdValue>() {
///         println!("request {id}");
///     }
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestIdValue {
    /// Zero behind `len`.
    text: [u8; MAX_LEN],
    len: u8,
}

/// The longest id that is taken over. A UUID has 36 characters.
const MAX_LEN: usize = 64;

impl RequestIdValue {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }

    fn of(id: u128) -> Self {
        let mut text = [0; MAX_LEN];
        for (index, digit) in text[..32].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(id >> (124 - 4 * index)) as usize & 15];
        }
        RequestIdValue { text, len: 32 }
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let is_sane = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(byte);
        if value.is_empty() || !value.iter().all(is_sane) {
            return None;
        }
        let mut text = [0; MAX_LEN];
        text.get_mut(..value.len())?.copy_from_slice(value);
        Some(RequestIdValue { text, len: value.len() as u8 })
    }
}

impl fmt::Display for RequestIdValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for RequestIdValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestIdValue").field(&self.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, StatusCode};

    use super::*;
    use crate::{Body, RequestHead};

    /// What the upstream and the client see of a request that brings this id.
    async fn run(filter: &RequestId, incoming: Option<&str>) -> (String, String) {
        let mut request = Request::new(RequestHead::new(Method::GET, "/").unwrap(), Body::empty());
        if let Some(id) = incoming {
            request.head_mut().headers_mut().insert(filter.header.clone(), HeaderValue::from_str(id).unwrap());
        }
        let mut context = Context::internal();
        assert!(matches!(filter.on_request(&mut request, &mut context).await, Ok(Flow::Continue)));
        let mut response = Response::status(StatusCode::OK);
        response.head_mut().headers_mut().insert(filter.header.clone(), HeaderValue::from_static("upstream's"));
        filter.on_response(&mut response, &mut context).unwrap();
        let only = |headers: &Headers| {
            assert_eq!(headers.get_all(&filter.header).count(), 1);
            headers.get_str(&filter.header).unwrap().to_owned()
        };
        assert_eq!(context.get::<RequestIdValue>().unwrap().as_str(), only(request.head().headers()));
        (only(request.head().headers()), only(response.head().headers()))
    }

    #[tokio::test]
    async fn both_sides_see_the_same_new_id() {
        let filter = RequestId::new().header(HeaderName::from_static("x-trace"));
        let (first, echoed) = run(&filter, None).await;
        assert_eq!(first, echoed);
        assert!(first.len() == 32 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
        let (second, _) = run(&filter, Some("client")).await;
        assert!(second != first && second != "client");
    }

    #[tokio::test]
    async fn a_sane_id_stays_where_it_is_trusted() {
        let filter = RequestId::new().trust_incoming(true);
        let long = "a".repeat(64);
        for sane in ["c0ffee", "7f9c1e2a-0b1c-4d5e-8f90-123456789abc", &long] {
            assert_eq!(run(&filter, Some(sane)).await.0, sane);
        }
        for insane in ["", "a b", "<x>", &format!("{long}a"), "a,b", "\"a\""] {
            assert_eq!(run(&filter, Some(insane)).await.0.len(), 32, "{insane:?}");
        }
    }

    #[tokio::test]
    async fn a_seed_repeats_itself() {
        let ids = async |seed| {
            let filter = RequestId::new().with_seed(seed);
            [run(&filter, None).await.0, run(&filter, None).await.0]
        };
        assert_eq!(ids(1).await, ids(1).await);
        assert_ne!(ids(1).await, ids(2).await);
    }

    #[test]
    fn ids_are_padded_hexadecimal() {
        assert_eq!(RequestIdValue::of(0xabc).to_string(), format!("{:032x}", 0xabc));
        assert_eq!(RequestIdValue::of(u128::MAX).as_str(), "f".repeat(32));
    }
}
