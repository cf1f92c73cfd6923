//! Which requests go where.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, Method};

use crate::Filter;

mod condition;
mod destination;
mod error;
mod host;
mod matcher;
mod path;
mod split;

pub use error::RouteError;

pub(crate) use host::{Host, MAX_HOST};
pub(super) use matcher::Matcher;

use condition::{Condition, Wanted};
use destination::Destination;
use path::Path;
use split::Split;

/// Which requests go where: conditions, the upstream, and the filters on the way to it.
///
/// A route without conditions takes every request. Where several routes match, the most specific one
/// wins; the first line of this table in which two routes differ decides:
///
/// | | before | before | last |
/// |---|---|---|---|
/// | [`host`](Self::host) | exact | `*.example.com`, the longer suffix first | any |
/// | path | [`path`](Self::path), then [`path_prefix`](Self::path_prefix), the longer first | [`path_regex`](Self::path_regex) | any |
/// | methods (together one), headers, cookies, query parameters | more conditions | | fewer |
/// | order | added earlier | | added later |
///
/// A route that loses is still there: where the best host has no route for the path, the next best
/// host's routes are asked.
///
/// # What is compared
/// **Host**: of an absolute target, else of `Host`, in whatever case, without port and without the
/// dot that ends a fully qualified name.
///
/// **Path**: as nginx does, the path is percent-decoded once (`%2F` to a slash, too), runs of slashes
/// become one, and `.` and `..` segments are resolved, none above the root; rules are read the same
/// way. So `/x/..//%61dmin` is `/admin` to every rule, while `%252e` is the text `%2e`. This is for
/// the comparison alone: the upstream gets the target byte for byte. An origin that reads paths in
/// yet another way (case, backslashes, `;` parameters, decoding twice, no decoding at all) can be led
/// past a filter that stands on one route only: let the origin check too, or put the filter before
/// all routes.
///
/// **Headers, cookies, query parameters**: byte for byte; one of several with the name suffices.
/// Query parameters are decoded first, `+` to a space.
///
/// ```
/// use proxy_core::Route;
///
/// let api = Route::to("api").host("api.example.com")?.path_prefix("/v1/")?;
/// let canary = Route::to("canary").header("x-canary", "1")?;
/// let beta = Route::split([("api", 95), ("canary", 5)])?.cookie("beta", "yes");
/// # let _ = (api, canary, beta);
/// # Ok::<(), proxy_core::RouteError>(())
/// ```
pub struct Route {
    name: String,
    destination: Destination,
    matcher: Matcher,
    filters: Vec<Arc<dyn Filter>>,
}

impl Route {
    /// A route to the upstream of this name.
    pub fn to(upstream: impl Into<String>) -> Self {
        Route::with_destination(Destination::One(upstream.into()))
    }

    /// A route to several upstreams in turn, each with its share of the requests.
    ///
    /// The shares are exact, not drawn: of any run of as many requests as the weights add up to (once
    /// divided by what they have in common), each upstream gets its weight, spread evenly. An
    /// upstream of weight 0 gets none.
    ///
    /// # Errors
    /// If there is no upstream, or the weights add up to 0 or to more than `u32::MAX`.
    pub fn split<N: Into<String>>(shares: impl IntoIterator<Item = (N, u32)>) -> Result<Self, RouteError> {
        let shares = shares.into_iter().map(|(name, weight)| (name.into(), weight));
        Split::new(shares).map(|split| Route::with_destination(Destination::Split(split)))
    }

    fn with_destination(destination: Destination) -> Self {
        let name = destination.iter().collect::<Vec<_>>().join("+");
        Route { name, destination, matcher: Matcher::default(), filters: Vec::new() }
    }

    /// Names the route, for logs and metrics. Default: the names of its upstreams, as in `api+canary`.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// For this host only: `api.example.com`, or `*.example.com` for every name below `example.com`,
    /// at any depth, not `example.com` itself. An IPv6 address stands in brackets.
    ///
    /// # Errors
    /// If it is neither; a port, too, is an error.
    pub fn host(mut self, pattern: &str) -> Result<Self, RouteError> {
        self.matcher.host = Host::parse(pattern)?;
        Ok(self)
    }

    /// For this path only.
    ///
    /// # Errors
    /// If it does not begin with a slash.
    pub fn path(mut self, path: &str) -> Result<Self, RouteError> {
        self.matcher.path = Path::exact(path)?;
        Ok(self)
    }

    /// For paths that begin with these segments: `/v1` takes `/v1`, `/v1/` and `/v1/x`, not `/v12`;
    /// `/v1/` takes `/v1/` and `/v1/x`.
    ///
    /// # Errors
    /// If it does not begin with a slash.
    pub fn path_prefix(mut self, prefix: &str) -> Result<Self, RouteError> {
        self.matcher.path = Path::prefix(prefix)?;
        Ok(self)
    }

    /// For paths that this regular expression matches from end to end. Syntax: crate `regex-lite`;
    /// the dot also takes line ends, so that no `%0A` leads past it.
    ///
    /// # Errors
    /// If it is none, or takes more than 64 KiB when compiled.
    pub fn path_regex(mut self, regex: &str) -> Result<Self, RouteError> {
        self.matcher.path = Path::regex(regex)?;
        Ok(self)
    }

    /// For this method. Called again: for one of these methods.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.matcher.methods.push(method);
        self
    }

    /// For requests with this field and value.
    ///
    /// # Errors
    /// If `name` is no field name.
    pub fn header(self, name: &str, value: &str) -> Result<Self, RouteError> {
        self.with_header(name, Wanted::Exactly(value.into()))
    }

    /// For requests with this field, whatever its value.
    ///
    /// # Errors
    /// If `name` is no field name.
    pub fn header_present(self, name: &str) -> Result<Self, RouteError> {
        self.with_header(name, Wanted::Present)
    }

    fn with_header(mut self, name: &str, wanted: Wanted) -> Result<Self, RouteError> {
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| RouteError::header(name))?;
        self.matcher.conditions.push(Condition::Header(parsed, wanted));
        Ok(self)
    }

    /// For requests with this cookie and value.
    #[must_use]
    pub fn cookie(mut self, name: &str, value: &str) -> Self {
        self.matcher.conditions.push(Condition::Cookie(name.into(), Wanted::Exactly(value.into())));
        self
    }

    /// For requests with this cookie, whatever its value.
    #[must_use]
    pub fn cookie_present(mut self, name: &str) -> Self {
        self.matcher.conditions.push(Condition::Cookie(name.into(), Wanted::Present));
        self
    }

    /// For requests with this query parameter and value, both given decoded.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.matcher.conditions.push(Condition::Query(name.into(), Wanted::Exactly(value.into())));
        self
    }

    /// For requests with this query parameter, whatever its value.
    #[must_use]
    pub fn query_present(mut self, name: &str) -> Self {
        self.matcher.conditions.push(Condition::Query(name.into(), Wanted::Present));
        self
    }

    /// Adds a filter, behind those that are there.
    #[must_use]
    pub fn filter(mut self, filter: impl Filter) -> Self {
        self.filters.push(Arc::new(filter));
        self
    }

    /// Adds a filter that is shared with others.
    #[must_use]
    pub fn shared_filter(mut self, filter: Arc<dyn Filter>) -> Self {
        self.filters.push(filter);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of the upstreams it goes to.
    pub fn upstreams(&self) -> impl Iterator<Item = &str> {
        self.destination.iter()
    }

    /// The name of the upstream that the next request goes to.
    pub(crate) fn pick(&self) -> &str {
        self.destination.pick()
    }

    pub(crate) fn filters(&self) -> &[Arc<dyn Filter>] {
        &self.filters
    }

    pub(super) fn matcher(&self) -> &Matcher {
        &self.matcher
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("name", &self.name)
            .field("destination", &self.destination)
            .field("matcher", &self.matcher)
            .field("filters", &self.filters.len())
            .finish()
    }
}
