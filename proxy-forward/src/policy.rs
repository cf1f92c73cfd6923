//! Who may go where.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::Method;

use crate::destination::Destination;

mod domains;
mod hosts;
mod rule;
mod window;

pub use domains::{DomainFile, DomainList};
pub(crate) use hosts::Hosts;
pub use rule::{Action, Rule, RuleError};
pub use window::{ParseWindowError, Window};

use window::Moment;

/// Who may go where: rules in order, of which the first that matches decides.
///
/// A rule without conditions matches everything. Of one kind of condition one has to hold, and of each kind
/// that there is. Rules about hosts, ports, clients, users and times decide before a name is resolved; one
/// about [addresses](Rule::address) is asked about each address of the answer, and those that pass it are the
/// ones that are tried.
///
/// A policy narrows what an [`EgressGuard`](crate::EgressGuard) leaves open; it opens nothing.
///
/// ```
/// use proxy_forward::{Action, Policy, Rule};
///
/// let policy = Policy::new(Action::Deny)
///     .rule(Rule::deny("no ads").host("*.ads.example")?)
///     .rule(Rule::allow("the team").user("ada").user("grace"))
///     .rule(Rule::allow("office hours").host("*.example.com")?.during("mon-fri 08:00-18:00".parse()?));
/// # let _ = policy;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Policy {
    rules: Vec<Rule>,
    default: Action,
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

/// What a client asks for, as far as rules look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) destination: &'a Destination,
    pub(crate) method: &'a Method,
    pub(crate) client: Option<IpAddr>,
    pub(crate) user: Option<&'a str>,
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ruling<'a> {
    Allowed,
    /// By the rule of this name.
    Denied(&'a Arc<str>),
    /// By the default.
    DeniedByDefault,
    /// It depends on the address.
    Depends,
}

impl Policy {
    /// A policy without rules: the default decides everything.
    pub fn new(default: Action) -> Self {
        Policy { rules: Vec::new(), default, clock: Arc::new(SystemTime::now) }
    }

    /// Adds a rule, behind those that are there.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Tells rules with a [time](Rule::during) the time. Default: the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where it depends on the address, `None` says so.
    pub(crate) fn judge(&self, ask: &Ask<'_>, address: Option<IpAddr>) -> Ruling<'_> {
        let mut moment = None;
        let mut now = || *moment.get_or_insert_with(|| Moment::at((self.clock)()));
        for rule in self.rules.iter().filter(|rule| rule.concerns(ask)) {
            if !rule.is_timely(&mut now) {
                continue;
            }
            match (rule.has_addresses(), address) {
                (true, None) => return Ruling::Depends,
                (true, Some(address)) if !rule.has_address(address) => continue,
                _ => {}
            }
            return match rule.action() {
                Action::Allow => Ruling::Allowed,
                Action::Deny => Ruling::Denied(rule.shared_name()),
            };
        }
        match self.default {
            Action::Allow => Ruling::Allowed,
            Action::Deny => Ruling::DeniedByDefault,
        }
    }
}

impl Default for Policy {
    /// Allows everything.
    fn default() -> Self {
        Policy::new(Action::Allow)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("rules", &self.rules).field("default", &self.default).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Case(&'static str, Method, &'static str, Option<&'static str>, Option<&'static str>);

    /// `allowed`, `default`, `depends` or the name of the rule that denies.
    fn judge(policy: &Policy, Case(destination, method, client, user, address): Case) -> String {
        let destination = Destination::parse(destination, Some(443)).unwrap();
        let client = Some(client.parse().unwrap());
        let ask = Ask { destination: &destination, method: &method, client, user };
        match policy.judge(&ask, address.map(|address| address.parse().unwrap())) {
            Ruling::Allowed => "allowed".into(),
            Ruling::Denied(name) => name.to_string(),
            Ruling::DeniedByDefault => "default".into(),
            Ruling::Depends => "depends".into(),
        }
    }

    fn policy() -> Result<Policy, Box<dyn std::error::Error>> {
        Ok(Policy::new(Action::Deny)
            .rule(Rule::deny("ads").host("ads.example.com")?.host("*.tracker.example")?)
            .rule(Rule::deny("numbers").host_regex("[a-z]+[0-9]{3,}\\..*")?)
            .rule(Rule::deny("guests do not post").client("10.9.0.0/16".parse()?).method(Method::POST))
            .rule(Rule::allow("admins").user("root").client("10.0.0.1".parse()?))
            .rule(Rule::deny("ours").address("93.184.0.0/16".parse()?))
            .rule(Rule::allow("web").host("*.example.com")?.ports(443..=443).ports(8000..=8999))
            .rule(Rule::allow("at night").host("night.example.org")?.during("sat-sun 22:00-06:00".parse()?))
            // Saturday, 1 January 2000, 23:00.
            .clock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(946_767_600)))
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = policy().unwrap();
        let check = |case: Case, expected: &str| {
            let text = format!("{} {} {:?} {:?}", case.0, case.1, case.3, case.4);
            assert_eq!(judge(&policy, case), expected, "{text}");
        };
        let (get, post, peer) = (Method::GET, Method::POST, "10.0.0.2");
        check(Case("ads.example.com", get.clone(), peer, None, None), "ads");
        check(Case("ADS.example.com.", get.clone(), peer, None, None), "ads");
        check(Case("x.ads.example.com", get.clone(), peer, None, Some("9.9.9.9")), "allowed");
        check(Case("a.b.tracker.example", get.clone(), peer, None, None), "ads");
        check(Case("tracker.example", get.clone(), peer, None, Some("9.9.9.9")), "default");
        check(Case("abc123.example.com", get.clone(), peer, None, None), "numbers");
        check(Case("www.abc123.example.com", get.clone(), peer, None, Some("9.9.9.9")), "allowed");
        check(Case("www.example.com", post.clone(), "10.9.1.1", None, None), "guests do not post");
        check(Case("www.example.com", get.clone(), "10.9.1.1", None, Some("9.9.9.9")), "allowed");
        check(Case("www.example.com", get.clone(), peer, None, None), "depends");
        check(Case("www.example.com", get.clone(), peer, None, Some("93.184.1.1")), "ours");
        check(Case("www.example.com", get.clone(), peer, None, Some("::ffff:93.184.1.1")), "ours");
        check(Case("anywhere.org:22", get.clone(), "10.0.0.1", Some("root"), None), "allowed");
        check(Case("anywhere.org:22", get.clone(), "10.0.0.1", Some("ada"), Some("9.9.9.9")), "default");
        check(Case("anywhere.org:22", get.clone(), peer, Some("root"), Some("9.9.9.9")), "default");
        check(Case("www.example.com:8443", get.clone(), peer, None, Some("9.9.9.9")), "allowed");
        check(Case("www.example.com:80", get.clone(), peer, None, Some("9.9.9.9")), "default");
        check(Case("night.example.org", get, peer, None, Some("9.9.9.9")), "allowed");
    }

    #[test]
    fn a_rule_counts_in_its_time_only() {
        let policy = policy().unwrap();
        for (hours, expected) in
            [(0, "allowed"), (6, "allowed"), (7, "default"), (23, "allowed"), (31, "default"), (48, "default")]
        {
            let later =
                policy.clone().clock(move || SystemTime::UNIX_EPOCH + Duration::from_secs(946_767_600 + hours * 3600));
            let case = Case("night.example.org", Method::GET, "10.0.0.2", None, Some("9.9.9.9"));
            assert_eq!(judge(&later, case), expected, "{hours} h later");
        }
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for bad in ["", "*", "a..b", "http://a", "a/b", "*.", "a b"] {
            assert!(Rule::deny("x").host(bad).is_err(), "{bad:?}");
        }
        assert!(Rule::deny("x").host_regex("(").is_err());
        assert!(Rule::deny("x").host_regex(&"a{1000}".repeat(1000)).is_err());
    }
}
