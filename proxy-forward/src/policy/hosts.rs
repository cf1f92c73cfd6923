//! Which hosts a rule is for.

use std::net::IpAddr;

use regex_lite::{Regex, RegexBuilder};

use super::{DomainFile, RuleError};
use crate::destination::Host;

/// What a compiled expression may take: one that takes more is slow as well.
const MAX_REGEX: usize = 64 * 1024;

#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    exact: Vec<Host>,
    /// Names with a dot in front.
    below: Vec<Box<str>>,
    regexes: Vec<Regex>,
    lists: Vec<DomainFile>,
}

impl Hosts {
    pub(crate) fn add(&mut self, pattern: &str) -> Result<(), RuleError> {
        let (below, text) = match pattern.strip_prefix("*.") {
            Some(text) => (true, text),
            None => (false, pattern),
        };
        let host: Host = text.parse().map_err(|_| {
            RuleError::new(pattern, "expected a host such as `example.com`, or `*.example.com` for all names below it")
        })?;
        match host {
            Host::Name(name) if below => self.below.push(format!(".{name}").into()),
            Host::Address(_) if below => return Err(RuleError::new(pattern, "there are no names below an address")),
            Host::Address(address) => self.exact.push(Host::Address(address.to_canonical())),
            name => self.exact.push(name),
        }
        Ok(())
    }

    pub(super) fn add_regex(&mut self, pattern: &str) -> Result<(), RuleError> {
        let whole = format!("^(?:{pattern})$");
        let regex = RegexBuilder::new(&whole).size_limit(MAX_REGEX).build();
        self.regexes.push(regex.map_err(|error| RuleError::new(pattern, error.to_string()))?);
        Ok(())
    }

    pub(super) fn add_domains(&mut self, file: DomainFile) {
        self.lists.push(file);
    }

    /// Hosts, and suffixes of names with a dot in front, each as text without brackets.
    pub(crate) fn patterns(&self) -> (Vec<String>, Vec<String>) {
        let exact = self.exact.iter().map(|host| match host {
            Host::Name(name) => name.to_string(),
            Host::Address(address) => address.to_string(),
        });
        (exact.collect(), self.below.iter().map(ToString::to_string).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty() && self.regexes.is_empty() && self.lists.is_empty()
    }

    pub(crate) fn contain(&self, host: &Host) -> bool {
        match host {
            Host::Name(name) => self.contain_name(name) || self.exact.contains(host),
            Host::Address(address) => self.contain_address(*address),
        }
    }

    fn contain_name(&self, name: &str) -> bool {
        self.below.iter().any(|suffix| name.len() > suffix.len() && name.ends_with(&**suffix))
            || self.regexes.iter().any(|regex| regex.is_match(name))
            || self.lists.iter().any(|list| list.contains(name))
    }

    fn contain_address(&self, address: IpAddr) -> bool {
        let host = Host::Address(address.to_canonical());
        self.exact.contains(&host)
            || (!self.regexes.is_empty() && {
                let text = host.to_string();
                self.regexes.iter().any(|regex| regex.is_match(&text))
            })
    }
}
