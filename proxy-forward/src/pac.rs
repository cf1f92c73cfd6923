//! How browsers find the proxy: a script that says for which addresses to use it.

use std::fmt::{self, Write};
use std::net::IpAddr;

use async_trait::async_trait;
use http::{HeaderValue, Method, StatusCode, header};
use proxy_core::{Cidr, Context, Filter, Flow, Request, Response, Result};

use crate::destination::Destination;
use crate::egress::{EgressGuard, SPECIAL_V4};
use crate::parents::Parents;

const PATH: &str = "/proxy.pac";

/// A filter that serves `/proxy.pac`, made from the rules of a [`ForwardUpstream`](crate::ForwardUpstream):
/// [`ForwardUpstream::pac_file`](crate::ForwardUpstream::pac_file).
///
/// By it a browser goes by the proxy, but for
///
/// - what the [`EgressGuard`] keeps the proxy from: names for the machine itself, and special addresses that were not
///   opened. They are the browser's own neighbours;
/// - hosts that are [direct](Parents::direct) for the proxy, too, and names without a dot that no parent is for;
/// - schemes that a proxy of HTTP does not serve.
///
/// What the [`Policy`](crate::Policy) denies goes by the proxy, which says why it is denied.
///
/// It answers requests that a server would get, `GET /proxy.pac`, and never one that is meant for another host. Put it
/// before [`BasicAuth`](crate::BasicAuth): a browser has no password yet when it asks.
#[derive(Clone)]
pub struct PacFile {
    /// The script behind the name of the proxy.
    rules: String,
    proxy: Option<Destination>,
}

impl PacFile {
    pub(crate) fn new(guard: &EgressGuard, parents: &Parents) -> Self {
        PacFile { rules: rules(guard, parents), proxy: None }
    }

    /// The name and the port by which browsers reach the proxy. Default: as they reach this file.
    #[must_use]
    pub fn at(mut self, proxy: Destination) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// The script for browsers that reach the proxy at this address, over TLS or not.
    pub fn script(&self, proxy: &Destination, tls: bool) -> String {
        let kind = if tls { "HTTPS" } else { "PROXY" };
        format!("var proxy = \"{kind} {proxy}\";\n{}", self.rules)
    }

    fn answer(&self, request: &Request, ctx: &Context) -> Option<Response> {
        let head = request.head();
        // Another form of the target is for another host, whatever its path.
        let is_ours = *head.method() == Method::GET || *head.method() == Method::HEAD;
        if !is_ours || head.target().split(|byte| *byte == b'?').next() != Some(PATH.as_bytes()) {
            return None;
        }
        let tls = ctx.scheme() == "https";
        let reached = || Destination::parse(head.authority()?, Some(if tls { 443 } else { 80 })).ok();
        let proxy = self.proxy.clone().or_else(reached)?;
        let mut response = Response::text(StatusCode::OK, self.script(&proxy, tls));
        let headers = response.head_mut().headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ns-proxy-autoconfig"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Some(response)
    }
}

#[async_trait]
impl Filter for PacFile {
    async fn on_request(&self, request: &mut Request, ctx: &mut Context) -> Result<Flow> {
        Ok(self.answer(request, ctx).map_or(Flow::Continue, Flow::Respond))
    }
}

impl fmt::Debug for PacFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacFile").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

/// What is the same for every browser. Of the language no more than the browsers of old know.
const FIND: &str = r#"
function within(number, ranges) {
  for (var i = 0; i < ranges.length; i++) {
    var size = Math.pow(2, 32 - ranges[i][1]);
    if (number >= ranges[i][0] && number < ranges[i][0] + size) return true;
  }
  return false;
}

function isKept(host) {
  if (host === "localhost" || /\.localhost$/.test(host)) return !opened6 && !within(2130706433, opened);
  if (host.indexOf(":") >= 0) return !/^[23]/.test(host) && !opened6;
  var parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(host);
  if (!parts) return false;
  var number = ((+parts[1] * 256 + +parts[2]) * 256 + +parts[3]) * 256 + +parts[4];
  return within(number, special) && !within(number, opened);
}

function matches(host, rule) {
  var i;
  if (!rule[0].length && !rule[1].length) return true;
  for (i = 0; i < rule[0].length; i++) if (host === rule[0][i]) return true;
  for (i = 0; i < rule[1].length; i++) {
    var below = rule[1][i];
    if (host.length > below.length && host.slice(-below.length) === below) return true;
  }
  return false;
}

function FindProxyForURL(url, host) {
  host = host.toLowerCase().replace(/^\[|\]$/g, "").replace(/\.$/, "");
  if (!/^(https?|wss?):/i.test(url) || isKept(host)) return "DIRECT";
  for (var i = 0; i < rules.length; i++) if (matches(host, rules[i])) return rules[i][2] ? proxy : "DIRECT";
  return host.indexOf(".") < 0 && host.indexOf(":") < 0 ? "DIRECT" : proxy;
}
"#;

fn rules(guard: &EgressGuard, parents: &Parents) -> String {
    let mut script = String::new();
    let special = SPECIAL_V4.iter().map(|(base, prefix)| range((*base).to_bits(), *prefix));
    let opened = guard.opened().iter().filter_map(range_v4);
    let opened_v6 = guard.opened().iter().any(|range| range.network().is_ipv6());
    list(&mut script, "special", special);
    list(&mut script, "opened", opened);
    script.push_str(if opened_v6 { "var opened6 = true;\n" } else { "var opened6 = false;\n" });
    list(
        &mut script,
        "rules",
        parents
            .patterns()
            .map(|(exact, below, by_parent)| format!("[{}, {}, {by_parent}]", strings(&exact), strings(&below))),
    );
    script.push_str(FIND);
    script
}

fn list(script: &mut String, name: &str, items: impl Iterator<Item = String>) {
    let items: Vec<_> = items.collect();
    // A string takes every write.
    let _ = writeln!(script, "var {name} = [{}];", items.join(", "));
}

fn range(base: u32, prefix: u8) -> String {
    format!("[{base}, {prefix}]")
}

fn range_v4(range_of: &Cidr) -> Option<String> {
    match range_of.network() {
        IpAddr::V4(base) => Some(range(base.to_bits(), range_of.prefix())),
        IpAddr::V6(_) => None,
    }
}

/// Hosts have no quotes in them, and nothing that would need one.
fn strings(hosts: &[String]) -> String {
    let quoted: Vec<_> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
    format!("[{}]", quoted.join(", "))
}
