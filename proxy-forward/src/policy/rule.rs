//! One rule of a policy.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::Method;
use proxy_core::Cidr;

use super::hosts::Hosts;
use super::window::{Moment, Window};
use super::{Ask, DomainFile};

/// What a rule does with the requests it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Lets them pass.
    Allow,
    /// Refuses them, with 403 and the name of the rule.
    Deny,
}

/// A rule of a [`Policy`](super::Policy): conditions, and what happens where they hold.
#[derive(Clone, Debug)]
pub struct Rule {
    name: Arc<str>,
    action: Action,
    hosts: Hosts,
    addresses: Vec<Cidr>,
    ports: Vec<RangeInclusive<u16>>,
    methods: Vec<Method>,
    clients: Vec<Cidr>,
    users: Vec<Box<str>>,
    windows: Vec<Window>,
}

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}`: {reason}")]
pub struct RuleError {
    pattern: String,
    reason: String,
}

impl RuleError {
    pub(super) fn new(pattern: &str, reason: impl Into<String>) -> Self {
        RuleError { pattern: pattern.to_owned(), reason: reason.into() }
    }
}

impl Rule {
    /// A rule of this name that lets pass what it matches.
    pub fn allow(name: &str) -> Self {
        Rule::new(name, Action::Allow)
    }

    /// A rule of this name that refuses what it matches. The client is told the name.
    pub fn deny(name: &str) -> Self {
        Rule::new(name, Action::Deny)
    }

    fn new(name: &str, action: Action) -> Self {
        Rule {
            name: name.into(),
            action,
            hosts: Hosts::default(),
            addresses: Vec::new(),
            ports: Vec::new(),
            methods: Vec::new(),
            clients: Vec::new(),
            users: Vec::new(),
            windows: Vec::new(),
        }
    }

    /// For this host: `example.com`, or `*.example.com` for every name below it, at any depth, not
    /// `example.com` itself. An IPv6 address stands in brackets.
    ///
    /// # Errors
    /// If it is neither.
    pub fn host(mut self, pattern: &str) -> Result<Self, RuleError> {
        self.hosts.add(pattern)?;
        Ok(self)
    }

    /// For hosts that this regular expression matches from end to end, in lower case. Syntax: crate
    /// `regex-lite`.
    ///
    /// # Errors
    /// If it is none, or takes more than 64 KiB when compiled.
    pub fn host_regex(mut self, pattern: &str) -> Result<Self, RuleError> {
        self.hosts.add_regex(pattern)?;
        Ok(self)
    }

    /// For the domains of a list, and all names below them.
    #[must_use]
    pub fn domains(mut self, file: DomainFile) -> Self {
        self.hosts.add_domains(file);
        self
    }

    /// For addresses in this range: those that a name resolves to, or that a client names.
    #[must_use]
    pub fn address(mut self, range: Cidr) -> Self {
        self.addresses.push(range);
        self
    }

    /// For these ports of the destination.
    #[must_use]
    pub fn ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.ports.push(ports);
        self
    }

    /// For requests of this method. A tunnel's is CONNECT, that of a SOCKS client as well.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.methods.push(method);
        self
    }

    /// For clients in this range.
    #[must_use]
    pub fn client(mut self, range: Cidr) -> Self {
        self.clients.push(range);
        self
    }

    /// For this user, once it is [known](crate::User).
    #[must_use]
    pub fn user(mut self, name: &str) -> Self {
        self.users.push(name.into());
        self
    }

    /// At this time of the week.
    #[must_use]
    pub fn during(mut self, window: Window) -> Self {
        self.windows.push(window);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does.
    pub fn action(&self) -> Action {
        self.action
    }

    pub(super) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether all conditions hold but those about time and address.
    pub(super) fn concerns(&self, ask: &Ask<'_>) -> bool {
        let port = ask.destination.port();
        let among = |ranges: &[Cidr], address: Option<IpAddr>| {
            ranges.is_empty() || address.is_some_and(|address| ranges.iter().any(|range| range.contains(address)))
        };
        (self.ports.is_empty() || self.ports.iter().any(|ports| ports.contains(&port)))
            && (self.methods.is_empty() || self.methods.contains(ask.method))
            && (self.users.is_empty() || ask.user.is_some_and(|user| self.users.iter().any(|name| **name == *user)))
            && among(&self.clients, ask.client)
            && (self.hosts.is_empty() || self.hosts.contain(ask.destination.host()))
    }

    pub(super) fn is_timely(&self, now: &mut impl FnMut() -> Moment) -> bool {
        self.windows.is_empty() || self.windows.iter().any(|window| window.contains(now()))
    }

    pub(super) fn has_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }

    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|range| range.contains(address))
    }
}
