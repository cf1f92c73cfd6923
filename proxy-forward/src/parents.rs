//! Which destinations are reached by which parent.

use crate::destination::Host;
use crate::parent::Parent;
use crate::policy::{Hosts, RuleError};

/// Which destinations are reached by another proxy: rules in order, of which the first that matches decides. What none
/// matches is connected to from here.
///
/// ```
/// use proxy_forward::{ParentProxy, Parents};
///
/// let corporate = ParentProxy::http().credentials("ada", "secret")?.single("proxy.corp.example:3128".parse()?);
/// let parents = Parents::default()
///     .direct(["*.here.example"])?
///     .via(["*.corp.example", "corp.example"], corporate)?
///     .otherwise(ParentProxy::socks5().single("127.0.0.1:9050".parse()?));
/// # let _ = parents;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A parent resolves the names that it is given, and connects by rules of its own. So from here
///
/// - the [policy](crate::Policy) holds as ever. Where one of its rules is about addresses and would decide, the name is
///   resolved here as well, and every address of the answer has to pass: the parent may take any;
/// - the [`EgressGuard`](crate::EgressGuard) holds for destinations that are addresses, and for `localhost`. The address
///   of any other name is for the parent to guard: here it is not even resolved, for want of a name server that knows
///   the outside, and what a parent calls private may be nothing to us;
/// - the parents themselves are not checked: whoever configured them meant them. Clients cannot name one.
#[derive(Clone, Debug, Default)]
pub struct Parents(Vec<(Hosts, Option<Parent>)>);

impl Parents {
    /// These hosts are connected to from here: patterns as for [`Rule::host`](crate::Rule::host).
    ///
    /// # Errors
    /// If one is no pattern.
    pub fn direct<'p>(self, hosts: impl IntoIterator<Item = &'p str>) -> Result<Self, RuleError> {
        self.with(hosts, None)
    }

    /// These hosts are reached by this parent.
    ///
    /// # Errors
    /// If one is no pattern.
    pub fn via<'p>(self, hosts: impl IntoIterator<Item = &'p str>, parent: Parent) -> Result<Self, RuleError> {
        self.with(hosts, Some(parent))
    }

    /// All other hosts are reached by this parent.
    #[must_use]
    pub fn otherwise(mut self, parent: Parent) -> Self {
        self.0.push((Hosts::default(), Some(parent)));
        self
    }

    /// All other hosts are connected to from here, as they are where no rule is left.
    #[must_use]
    pub fn otherwise_direct(mut self) -> Self {
        self.0.push((Hosts::default(), None));
        self
    }

    fn with<'p>(mut self, hosts: impl IntoIterator<Item = &'p str>, parent: Option<Parent>) -> Result<Self, RuleError> {
        let mut patterns = Hosts::default();
        hosts.into_iter().try_for_each(|host| patterns.add(host))?;
        // Without a host it would be for all of them.
        if !patterns.is_empty() {
            self.0.push((patterns, parent));
        }
        Ok(self)
    }

    /// Hosts, suffixes, and whether a parent is for them, in order.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = (Vec<String>, Vec<String>, bool)> {
        self.0.iter().map(|(hosts, parent)| {
            let (exact, below) = hosts.patterns();
            (exact, below, parent.is_some())
        })
    }

    /// The parent for this host; `None` where it is connected to from here.
    pub(crate) fn of(&self, host: &Host) -> Option<&Parent> {
        let rule = self.0.iter().find(|(hosts, _)| hosts.is_empty() || hosts.contain(host));
        rule.and_then(|(_, parent)| parent.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parent::ParentProxy;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let parent = |proxy: ParentProxy| proxy.single("parent.example:1".parse().unwrap());
        let parents = Parents::default()
            .direct(["here.example", "10.0.0.1"])
            .and_then(|parents| parents.via(["*.example"], parent(ParentProxy::http())))
            .and_then(|parents| parents.direct([]))
            .unwrap()
            .otherwise(parent(ParentProxy::socks5()));
        let check = |host: &str, expected: Option<&str>| {
            let found = parents.of(&host.parse().unwrap()).map(|parent| format!("{:?}", parent.proxy()));
            assert_eq!(found.as_deref(), expected, "{host}");
        };
        let (http, socks) = (Some("ParentProxy(Http)"), Some("ParentProxy(Socks5)"));
        check("here.example", None);
        check("10.0.0.1", None);
        check("there.example", http);
        check("a.here.example", http);
        check("example", socks);
        check("10.0.0.2", socks);
        assert!(Parents::default().of(&"a.example".parse().unwrap()).is_none());
        assert!(Parents::default().direct(["*"]).is_err());
    }
}
