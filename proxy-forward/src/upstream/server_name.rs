//! A tunnel's server name, held against its destination.

use std::net::IpAddr;
use std::sync::Arc;

use proxy_core::{Context, ErrorKind, TunnelCheck, TunnelStart};

use super::asked::Asked;
use crate::destination::{Destination, Host};
use crate::policy::{Ask, Policy, Ruling};
use crate::user::User;

/// What becomes of a tunnel whose TLS handshake asks for another server than the tunnel is for.
///
/// A tunnel to a *name* has to begin with a handshake that asks for this name. One to an *address* may ask for the
/// address, for nothing, or for any name that the [`Policy`] would let this client go to: so no rule about names is
/// passed by with an address, and clients that resolve names themselves are served. What hides its name (Encrypted
/// ClientHello) shows another one, and is refused where it must match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerNames {
    /// Nobody looks.
    #[default]
    Ignored,
    /// It is logged (info), and goes on. So is what does not begin with TLS.
    Logged,
    /// It is closed, with the alert `unrecognized_name`. So is what does not begin with TLS, or not within 5 s. Only for
    /// [ports](super::Ports) of TLS.
    Required,
}

/// Who asked for what.
struct Asker {
    destination: Destination,
    client: Option<IpAddr>,
    user: Option<User>,
    policy: Arc<Policy>,
}

/// The check of a tunnel that is about to be opened.
pub(super) fn check(policy: ServerNames, rules: &Arc<Policy>, asked: &Asked, ctx: &Context) -> Option<TunnelCheck> {
    if policy == ServerNames::Ignored {
        return None;
    }
    let asker = Asker {
        destination: asked.destination.clone(),
        client: ctx.client(),
        user: ctx.get::<User>().cloned(),
        policy: Arc::clone(rules),
    };
    Some(TunnelCheck::new(move |start| {
        let Err(kind) = asker.judge(start) else { return Ok(()) };
        match policy {
            ServerNames::Required => Err(kind),
            _ => {
                asker.note(start, kind);
                Ok(())
            }
        }
    }))
}

impl Asker {
    fn judge(&self, start: &TunnelStart) -> Result<(), ErrorKind> {
        let named = match start {
            TunnelStart::Tls(name) => name.as_deref(),
            TunnelStart::Other(kind) => return Err(*kind),
            _ => return Err(ErrorKind::NotTls),
        };
        let matches = match (self.destination.host(), named.map(str::parse)) {
            (Host::Name(_), None) | (_, Some(Err(_))) => false,
            (Host::Address(_), None) => true,
            (Host::Address(address), Some(Ok(host @ Host::Name(_)))) => self.may_go_to(host, *address),
            (host, Some(Ok(named))) => *host == named,
        };
        if matches { Ok(()) } else { Err(ErrorKind::ServerNameMismatch) }
    }

    /// Whether the policy allows this name, at this address.
    fn may_go_to(&self, name: Host, address: IpAddr) -> bool {
        let Ok(destination) = Destination::new(name, self.destination.port()) else { return false };
        let user = self.user.as_ref().map(User::name);
        let ask = Ask { destination: &destination, method: &http::Method::CONNECT, client: self.client, user };
        self.policy.judge(&ask, Some(address)) == Ruling::Allowed
    }

    fn note(&self, start: &TunnelStart, kind: ErrorKind) {
        tracing::info!(
            code = kind.code(),
            destination = self.destination.to_string(),
            server_name = match start {
                TunnelStart::Tls(name) => name.as_deref(),
                _ => None,
            },
            client = self.client.map(tracing::field::display),
            user = self.user.as_ref().map(User::name),
            "tunnel for another server",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Action, Rule};

    #[test]
    fn a_name_is_held_against_the_destination() {
        let rules = Policy::new(Action::Allow)
            .rule(Rule::deny("ads").host("*.ads.example").unwrap())
            .rule(Rule::deny("nine").host("nine.example").unwrap().address("9.0.0.0/8".parse().unwrap()));
        let rules = Arc::new(rules);
        let check = |destination: &str, start: TunnelStart, expected: Result<(), ErrorKind>| {
            let destination = Destination::parse(destination, Some(443)).unwrap();
            let asker = Asker { destination, client: None, user: None, policy: Arc::clone(&rules) };
            assert_eq!(asker.judge(&start), expected, "{} {start:?}", asker.destination);
        };
        let named = |name: &str| TunnelStart::Tls(Some(name.into()));
        let mismatch = Err(ErrorKind::ServerNameMismatch);
        check("One.example.", named("one.example"), Ok(()));
        check("one.example", named("two.example"), mismatch);
        check("one.example", named("a.one.example"), mismatch);
        check("one.example", named("a b"), mismatch);
        check("one.example", named("9.9.9.9"), mismatch);
        check("one.example", TunnelStart::Tls(None), mismatch);
        check("one.example", TunnelStart::Other(ErrorKind::NotTls), Err(ErrorKind::NotTls));
        check("9.9.9.9", TunnelStart::Tls(None), Ok(()));
        check("9.9.9.9", named("9.9.9.9"), Ok(()));
        check("9.9.9.9", named("9.9.9.10"), mismatch);
        check("9.9.9.9", named("one.example"), Ok(()));
        check("9.9.9.9", named("a.ads.example"), mismatch);
        check("9.9.9.9", named("nine.example"), mismatch);
        check("8.8.8.8", named("nine.example"), Ok(()));
        check("8.8.8.8", named("0x8.8"), mismatch);
    }
}
