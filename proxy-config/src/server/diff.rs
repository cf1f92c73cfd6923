//! What a reload changes.

use std::collections::BTreeMap;
use std::fmt;

use crate::path::Path;
use crate::{Config, Http, Listener, ListenerKind, Upstream};

/// What is different between two configurations, in order of their paths within listeners and upstreams.
///
/// `Display` prints a line for each change, without a trailing newline:
///
/// ```text
/// changed listeners.web.http.routes
/// added upstreams.api.backends["127.0.0.1:9003"]
/// removed upstreams.old
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff(Vec<Change>);

/// One difference between two configurations.
///
/// `Display` prints `changed listeners.web.http.routes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    kind: ChangeKind,
    path: String,
}

/// What happened to a part of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another.
    Changed,
}

impl Diff {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The changes.
    pub fn iter(&self) -> std::slice::Iter<'_, Change> {
        self.0.iter()
    }

    /// How many there are of this kind.
    pub fn count(&self, kind: ChangeKind) -> usize {
        self.0.iter().filter(|change| change.kind == kind).count()
    }

    pub(super) fn between(before: &Config, now: &Config) -> Self {
        let mut diff = Diff::default();
        let root = Path::Root;
        diff.compare(&Path::Key(&root, "local_zone"), &before.local_zone, &now.local_zone);
        diff.compare(&Path::Key(&root, "admin"), &before.admin, &now.admin);
        diff.compare(&Path::Key(&root, "access_log"), &before.access_log, &now.access_log);
        diff.compare(&Path::Key(&root, "shutdown"), &before.shutdown, &now.shutdown);
        diff.maps(&Path::Key(&root, "listeners"), &before.listeners, &now.listeners, Diff::listener);
        diff.maps(&Path::Key(&root, "upstreams"), &before.upstreams, &now.upstreams, Diff::upstream);
        diff
    }

    fn push(&mut self, kind: ChangeKind, path: &Path<'_>) {
        self.0.push(Change { kind, path: path.to_string() });
    }

    fn compare<T: PartialEq>(&mut self, path: &Path<'_>, before: &T, now: &T) {
        if before != now {
            self.push(ChangeKind::Changed, path);
        }
    }

    /// Entries by name; `compare` says what is different about those that stay.
    fn maps<T>(
        &mut self,
        path: &Path<'_>,
        before: &BTreeMap<String, T>,
        now: &BTreeMap<String, T>,
        compare: fn(&mut Self, &Path<'_>, &T, &T),
    ) {
        for (name, old) in before {
            let path = Path::Key(path, name);
            match now.get(name) {
                Some(new) => compare(self, &path, old, new),
                None => self.push(ChangeKind::Removed, &path),
            }
        }
        for name in now.keys().filter(|name| !before.contains_key(*name)) {
            self.push(ChangeKind::Added, &Path::Key(path, name));
        }
    }

    fn listener(&mut self, path: &Path<'_>, before: &Listener, now: &Listener) {
        self.compare(&Path::Key(path, "listen"), &before.listen, &now.listen);
        self.compare(&Path::Key(path, "reuse_port"), &before.reuse_port, &now.reuse_port);
        self.compare(&Path::Key(path, "tls"), &before.tls, &now.tls);
        self.compare(&Path::Key(path, "proxy_protocol"), &before.proxy_protocol, &now.proxy_protocol);
        self.compare(&Path::Key(path, "allow"), &before.allow, &now.allow);
        self.compare(&Path::Key(path, "deny"), &before.deny, &now.deny);
        match (&before.kind, &now.kind) {
            (ListenerKind::Http(before), ListenerKind::Http(now)) => self.http(&Path::Key(path, "http"), before, now),
            (before, now) if before != now => self.push(ChangeKind::Changed, &Path::Key(path, now.key())),
            _ => {}
        }
    }

    fn http(&mut self, path: &Path<'_>, before: &Http, now: &Http) {
        let Http { trusted_proxies, filters, routes, limits, timeouts, forwarded, half_close, http2 } = before;
        self.compare(&Path::Key(path, "trusted_proxies"), trusted_proxies, &now.trusted_proxies);
        self.compare(&Path::Key(path, "filters"), filters, &now.filters);
        self.compare(&Path::Key(path, "routes"), routes, &now.routes);
        self.compare(&Path::Key(path, "limits"), limits, &now.limits);
        self.compare(&Path::Key(path, "timeouts"), timeouts, &now.timeouts);
        self.compare(&Path::Key(path, "forwarded"), forwarded, &now.forwarded);
        self.compare(&Path::Key(path, "half_close"), half_close, &now.half_close);
        self.compare(&Path::Key(path, "http2"), http2, &now.http2);
    }

    fn upstream(&mut self, path: &Path<'_>, before: &Upstream, now: &Upstream) {
        let Upstream {
            backends: _,
            selector,
            sticky,
            subset,
            health_check,
            outlier_detection,
            circuit_breaker,
            slow_start,
            discovery,
            tls,
            panic_percent,
            proxy_protocol,
            proxy,
            retry,
            timeouts,
            pool,
            http2,
        } = before;
        self.backends(&Path::Key(path, "backends"), before, now);
        self.compare(&Path::Key(path, "selector"), selector, &now.selector);
        self.compare(&Path::Key(path, "sticky"), sticky, &now.sticky);
        self.compare(&Path::Key(path, "subset"), subset, &now.subset);
        self.compare(&Path::Key(path, "health_check"), health_check, &now.health_check);
        self.compare(&Path::Key(path, "outlier_detection"), outlier_detection, &now.outlier_detection);
        self.compare(&Path::Key(path, "circuit_breaker"), circuit_breaker, &now.circuit_breaker);
        self.compare(&Path::Key(path, "slow_start"), slow_start, &now.slow_start);
        self.compare(&Path::Key(path, "discovery"), discovery, &now.discovery);
        self.compare(&Path::Key(path, "tls"), tls, &now.tls);
        self.compare(&Path::Key(path, "panic_percent"), panic_percent, &now.panic_percent);
        self.compare(&Path::Key(path, "proxy_protocol"), proxy_protocol, &now.proxy_protocol);
        self.compare(&Path::Key(path, "proxy"), proxy, &now.proxy);
        self.compare(&Path::Key(path, "retry"), retry, &now.retry);
        self.compare(&Path::Key(path, "timeouts"), timeouts, &now.timeouts);
        self.compare(&Path::Key(path, "pool"), pool, &now.pool);
        self.compare(&Path::Key(path, "http2"), http2, &now.http2);
    }

    /// Backends by address: their order means little.
    fn backends(&mut self, path: &Path<'_>, before: &Upstream, now: &Upstream) {
        if before.backends == now.backends {
            return;
        }
        let by_address = |upstream: &Upstream| -> BTreeMap<_, _> {
            upstream.backends.iter().map(|backend| (backend.address.to_string(), backend.clone())).collect()
        };
        let (before, now) = (by_address(before), by_address(now));
        self.maps(path, &before, &now, Diff::compare);
    }

    /// What was changed, and how much of it.
    pub(super) fn log(&self) {
        /// Beyond it only the numbers are of use.
        const MOST: usize = 50;
        for change in self.0.iter().take(MOST) {
            tracing::info!(change = change.kind.as_str(), path = change.path, "reload");
        }
        let count = |kind| self.count(kind);
        let (added, removed) = (count(ChangeKind::Added), count(ChangeKind::Removed));
        tracing::info!(added, removed, changed = count(ChangeKind::Changed), "reloaded");
    }
}

impl<'a> IntoIterator for &'a Diff {
    type Item = &'a Change;
    type IntoIter = std::slice::Iter<'a, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Change {
    /// What happened.
    pub fn kind(&self) -> ChangeKind {
        self.kind
    }

    /// The part of the configuration, such as `upstreams.api.backends["127.0.0.1:9003"]`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl ChangeKind {
    /// A word for logs and APIs, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Changed => "changed",
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.path)
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, change) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "\n" })?;
            change.fmt(f)?;
        }
        Ok(())
    }
}
