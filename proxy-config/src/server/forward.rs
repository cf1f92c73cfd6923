//! Forward proxies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use http::{HeaderName, Method};
use proxy_core::{Cidr, Filter, Proxy, ProxyBuilder};
use proxy_forward::{
    Action, Anonymity, BasicAuth, Destination, DomainFile, ForwardBuilder, ForwardUpstream, PacFile, Parents,
    PasswordFile, Policy, Ports, Rule, ServerNames,
};
use tokio::task::AbortHandle;

use super::admission::Admission;
use super::http::{limits, timeouts};
use super::{Parts, ServerError, filter};
use crate::path::Path;
use crate::{AllowPrivate, Forward, ForwardAction, ForwardRule, Listener};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A forward proxy, and who may use it where that is asked for.
pub(super) struct Built {
    pub(super) proxy: Proxy,
    pub(super) users: Option<PasswordFile>,
}

/// The proxy of a listener, whose path is `path`; `own` are the addresses that the server itself listens on.
pub(super) fn proxy(
    path: &Path<'_>,
    name: &str,
    listener: &Listener,
    config: &Forward,
    parts: &Parts<'_>,
    own: &[SocketAddr],
) -> Result<Built, ServerError> {
    let admission = Admission::of(path, listener)?;
    let path = &Path::Key(path, listener.kind.key());
    let mut watched = Watched::default();
    let at = |key: &str, error: Source| ServerError::cannot_build(Path::Key(path, key).to_string(), error);
    let policy = policy(config, &mut watched).map_err(|(key, error)| at(key, error))?;
    let users = config.users.as_ref().map(PasswordFile::load).transpose().map_err(|error| at("users", error.into()))?;
    let upstream = upstream(config, own).map_err(|error| at("remove_headers", error))?.policy(policy);
    let upstream = upstream.parents(parents(config, parts).map_err(|error| at("parents", error))?).build();
    let pac = config.pac.as_ref().map(|pac| pac_file(pac, &upstream)).transpose().map_err(|error| at("pac", error))?;
    let proxy = upstream.into_proxy().limits(limits(&config.limits)).timeouts(timeouts(&config.timeouts));
    let mut proxy = pac.into_iter().fold(admission.into_proxy(proxy), ProxyBuilder::filter);
    if let Some(users) = &users {
        watched.run(users.clone().watch());
        let auth = BasicAuth::new(users.clone());
        proxy = proxy.filter(match &config.realm {
            Some(realm) => auth.realm(realm),
            None => auth,
        });
    }
    let filters = filter::filters(path, &config.filters, parts)?.into_iter();
    let proxy = filters.fold(proxy, ProxyBuilder::shared_filter).filter(watched);
    let proxy = parts.observer(name).into_iter().fold(proxy, ProxyBuilder::observer).build();
    let proxy = proxy.map_err(|error| ServerError::cannot_build(path.to_string(), error))?;
    Ok(Built { proxy, users })
}

/// What looks after the files of a proxy, as long as that lives: a filter only in name.
#[derive(Debug, Default)]
struct Watched(Vec<AbortHandle>);

impl Watched {
    fn run(&mut self, watch: impl Future<Output = ()> + Send + 'static) {
        self.0.push(tokio::spawn(watch).abort_handle());
    }

    fn domains(&mut self, path: &PathBuf) -> Result<DomainFile, Source> {
        let file = DomainFile::load(path)?;
        self.run(file.clone().watch());
        Ok(file)
    }
}

impl Filter for Watched {}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

fn upstream(config: &Forward, own: &[SocketAddr]) -> Result<ForwardBuilder, Source> {
    let mut builder = own.iter().fold(ForwardUpstream::builder(), |builder, address| builder.own(*address));
    for opened in &config.allow_private {
        match opened {
            AllowPrivate::Network(network) => builder = builder.allow_private(cidr(network)?),
            AllowPrivate::All => {
                let everything = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
                for start in everything {
                    builder = builder.allow_private(Cidr::new(start, 0)?);
                }
            }
        }
    }
    if let Some(ports) = &config.connect_ports {
        builder = builder.connect_ports(all(ports));
    }
    if let Some(ports) = &config.http_ports {
        builder = builder.http_ports(all(ports));
    }
    if let Some(level) = config.anonymity {
        builder = builder.anonymity(match level {
            crate::Anonymity::Transparent => Anonymity::Transparent,
            crate::Anonymity::Anonymous => Anonymity::Anonymous,
            crate::Anonymity::Elite => Anonymity::Elite,
        });
    }
    if let Some(server_names) = config.server_names {
        builder = builder.server_names(match server_names {
            crate::ServerNames::Off => ServerNames::Ignored,
            crate::ServerNames::Log => ServerNames::Logged,
            crate::ServerNames::Require => ServerNames::Required,
        });
    }
    if let Some(name) = &config.via {
        builder = builder.via(name);
    }
    let mut removed = config.remove_headers.iter();
    removed.try_fold(builder, |builder, name| Ok(builder.scrub(HeaderName::from_bytes(name.as_bytes())?)))
}

fn pac_file(config: &crate::Pac, upstream: &ForwardUpstream) -> Result<PacFile, Source> {
    let file = upstream.pac_file();
    let named = config.proxy.as_deref().map(|text| Destination::parse(text, None)).transpose()?;
    Ok(named.into_iter().fold(file, PacFile::at))
}

/// Which hosts go by which upstream.
fn parents(config: &Forward, parts: &Parts<'_>) -> Result<Parents, Source> {
    config.parents.iter().try_fold(Parents::default(), |parents, rule| {
        let parent = rule.upstream.as_deref().map(|name| parts.parent(name).ok_or("no proxies")).transpose()?;
        let hosts = rule.hosts.iter().flatten().map(String::as_str);
        Ok(match (parent, &rule.hosts) {
            (Some(parent), None) => parents.otherwise(parent),
            (Some(parent), Some(_)) => parents.via(hosts, parent)?,
            (None, Some(_)) => parents.direct(hosts)?,
            (None, None) => parents.otherwise_direct(),
        })
    })
}

fn all(ports: &[RangeInclusive<u16>]) -> Ports {
    ports.iter().cloned().fold(Ports::of([]), Ports::and)
}

fn cidr(network: &crate::Cidr) -> Result<Cidr, Source> {
    Ok(Cidr::new(network.address(), network.prefix())?)
}

/// The rules in their order; an error comes with the key that it is about.
fn policy(config: &Forward, watched: &mut Watched) -> Result<Policy, (&'static str, Source)> {
    let default = match (config.default, &config.allow) {
        (Some(ForwardAction::Allow), _) | (None, None) => Action::Allow,
        (Some(ForwardAction::Deny), _) | (None, Some(_)) => Action::Deny,
    };
    let mut policy = Policy::new(default);
    if !config.deny.is_empty() {
        policy = policy.rule(with_hosts(Rule::deny("deny"), &config.deny).map_err(|error| ("deny", error))?);
    }
    if !config.deny_files.is_empty() {
        let rule = with_files(Rule::deny("deny_files"), &config.deny_files, watched);
        policy = policy.rule(rule.map_err(|error| ("deny_files", error))?);
    }
    for rule in &config.rules {
        policy = policy.rule(self::rule(rule, watched).map_err(|error| ("rules", error))?);
    }
    match &config.allow {
        // An empty list would be a rule without a condition.
        Some(hosts) if !hosts.is_empty() => {
            Ok(policy.rule(with_hosts(Rule::allow("allow"), hosts).map_err(|error| ("allow", error))?))
        }
        _ => Ok(policy),
    }
}

fn rule(config: &ForwardRule, watched: &mut Watched) -> Result<Rule, Source> {
    let rule = match config.action {
        ForwardAction::Allow => Rule::allow(&config.name),
        ForwardAction::Deny => Rule::deny(&config.name),
    };
    let rule = with_files(with_hosts(rule, &config.hosts)?, &config.files, watched)?;
    let rule = config.host_regex.iter().try_fold(rule, |rule, regex| rule.host_regex(regex))?;
    let rule = config.addresses.iter().try_fold(rule, |rule, range| Ok::<_, Source>(rule.address(cidr(range)?)))?;
    let rule = config.clients.iter().try_fold(rule, |rule, range| Ok::<_, Source>(rule.client(cidr(range)?)))?;
    let rule = config.ports.iter().cloned().fold(rule, Rule::ports);
    let mut methods = config.methods.iter();
    let rule =
        methods.try_fold(rule, |rule, method| Ok::<_, Source>(rule.method(Method::from_bytes(method.as_bytes())?)))?;
    let rule = config.users.iter().fold(rule, |rule, name| rule.user(name));
    config.times.iter().try_fold(rule, |rule, time| Ok(rule.during(time.parse()?)))
}

fn with_hosts(rule: Rule, hosts: &[String]) -> Result<Rule, Source> {
    Ok(hosts.iter().try_fold(rule, |rule, host| rule.host(host))?)
}

fn with_files(rule: Rule, files: &[PathBuf], watched: &mut Watched) -> Result<Rule, Source> {
    files.iter().try_fold(rule, |rule, path| Ok(rule.domains(watched.domains(path)?)))
}
