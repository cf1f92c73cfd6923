//! The half that sets or learns cookies.

use std::fmt;

use async_trait::async_trait;
use http::{HeaderValue, header};
use proxy_core::{Connection, Context, Request, RequestHead, Response, Result, Upstream};

use super::memory::{Mark, Memory};
use super::seal::Seal;
use super::{Kind, Sticky};

/// An upstream whose responses set the cookie, or teach which backend it belongs to: see [`Sticky`].
pub struct StickyUpstream<U> {
    sticky: Sticky,
    inner: U,
}

impl<U> StickyUpstream<U> {
    pub(super) fn new(sticky: Sticky, inner: U) -> Self {
        StickyUpstream { sticky, inner }
    }

    /// The upstream inside, such as the cluster.
    pub fn inner(&self) -> &U {
        &self.inner
    }
}

/// What the request brought.
#[derive(Clone, Copy)]
enum Brought {
    Nothing,
    /// Our cookie, for the backend of this id, as a hash.
    Ours(u64),
    Mark(Mark),
}

#[async_trait]
impl<U: Upstream> Upstream for StickyUpstream<U> {
    async fn send(&self, request: Request, context: &mut Context) -> Result<Response> {
        let brought = self.sticky.brought(request.head());
        let mut response = self.inner.send(request, context).await?;
        match &*self.sticky.kind {
            Kind::Inserted(seal) => self.sticky.insert(seal, brought, &mut response, context),
            Kind::Learnt(memory) => self.sticky.learn(memory, brought, &response, context),
        }
        Ok(response)
    }

    async fn connect(&self, destination: Option<&str>, context: &mut Context) -> Result<Connection> {
        self.inner.connect(destination, context).await
    }

    fn assign(&self, context: &mut Context) -> Result<()> {
        self.inner.assign(context)
    }
}

impl Sticky {
    fn brought(&self, head: &RequestHead) -> Brought {
        let Some(value) = head.cookie(&self.cookie) else { return Brought::Nothing };
        match &*self.kind {
            Kind::Inserted(seal) => {
                let opened = seal.open(value);
                opened.and_then(|id| id.as_str().map(hash)).map_or(Brought::Nothing, Brought::Ours)
            }
            Kind::Learnt(memory) => Brought::Mark(memory.mark(value.as_bytes())),
        }
    }

    /// Sets the cookie, unless the client has it.
    fn insert(&self, seal: &Seal, brought: Brought, response: &mut Response, context: &Context) {
        let Some(backend) = context.backend() else { return };
        if matches!(brought, Brought::Ours(id) if id == hash(backend.id())) {
            return;
        }
        let Some(value) = seal.seal(backend.id()) else { return };
        let age = self.max_age.map_or_else(String::new, |age| format!("; Max-Age={}", age.as_secs()));
        let secure = if context.scheme() == "https" { "; Secure" } else { "" };
        let cookie = format!("{}={value}; Path=/{age}; HttpOnly; SameSite=Lax{secure}", self.cookie);
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            response.head_mut().headers_mut().append(header::SET_COOKIE, cookie);
        }
    }

    fn learn(&self, memory: &Memory, brought: Brought, response: &Response, context: &Context) {
        let Some(backend) = context.backend() else { return };
        let set = response.head().headers().get_all("set-cookie").filter_map(|field| self.value_of(field));
        let set = set.last().map(|value| memory.mark(value));
        let ((Some(mark), _) | (None, Brought::Mark(mark))) = (set, brought) else { return };
        memory.learn(mark, backend);
    }

    /// The value that a `Set-Cookie` field gives our cookie.
    fn value_of<'a>(&self, field: &'a [u8]) -> Option<&'a [u8]> {
        let pair = field.split(|byte| *byte == b';').next()?.trim_ascii();
        let value = pair.strip_prefix(self.cookie.as_bytes())?.strip_prefix(b"=")?;
        (!value.is_empty()).then_some(value)
    }
}

fn hash(id: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(id.as_bytes())
}

impl<U: fmt::Debug> fmt::Debug for StickyUpstream<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickyUpstream").field("sticky", &self.sticky).field("inner", &self.inner).finish()
    }
}
