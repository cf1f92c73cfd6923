//! Routes, as the configuration describes them.

use http::Method;
use proxy_core::{Route, RouteError};

use super::{Parts, ServerError, filter};
use crate::path::Path;
use crate::{Match, PathMatch, Target};

pub(super) fn route(path: &Path<'_>, config: &crate::Route, parts: &Parts<'_>) -> Result<Route, ServerError> {
    let at = |key| move |error| ServerError::cannot_build(Path::Key(path, key).to_string(), error);
    let route = target(&config.target).map_err(at("split"))?;
    let route = conditions(route, &config.matcher).map_err(at("match"))?;
    let filters = filter::filters(path, &config.filters, parts)?.into_iter();
    Ok(filters.fold(route, Route::shared_filter))
}

fn target(target: &Target) -> Result<Route, RouteError> {
    match target {
        Target::Upstream(name) => Ok(Route::to(name)),
        Target::Split(weights) => {
            let shares = weights.iter();
            Route::split(shares.map(|(name, weight)| (name, u32::from(*weight))))
        }
    }
}

fn conditions(route: Route, matcher: &Match) -> Result<Route, RouteError> {
    let route = match &matcher.host {
        Some(pattern) => route.host(pattern)?,
        None => route,
    };
    let route = match &matcher.path {
        Some(PathMatch::Exact(path)) => route.path(path)?,
        Some(PathMatch::Prefix(prefix)) => route.path_prefix(prefix)?,
        Some(PathMatch::Regex(regex)) => route.path_regex(regex)?,
        None => route,
    };
    let methods = matcher.methods.iter();
    // The schema lets only tokens through, and every token is a method.
    let methods = methods.filter_map(|name| Method::from_bytes(name.as_bytes()).ok());
    let route = methods.fold(route, Route::method);
    let mut headers = matcher.headers.iter();
    let route = headers.try_fold(route, |route, (name, value)| route.header(name, value))?;
    let route = with_each(route, &matcher.cookies, Route::cookie);
    Ok(with_each(route, &matcher.query, Route::query))
}

fn with_each(
    route: Route,
    pairs: &std::collections::BTreeMap<String, String>,
    add: fn(Route, &str, &str) -> Route,
) -> Route {
    let pairs = pairs.iter();
    pairs.fold(route, |route, (name, value)| add(route, name, value))
}
