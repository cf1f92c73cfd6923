//! A build with a resolver of its own.

use std::net::SocketAddr;

use proxy_core::{Backend, BackendState};
use proxy_lb::{Discovery, DnsRecords, DnsServer, Tiers};

/// By the records of this name, from these name servers or else the system's.
pub(in crate::server) fn discovery(
    name: &str,
    name_servers: &[SocketAddr],
    start: Option<BackendState>,
) -> Option<Discovery> {
    let records = DnsRecords::srv(name).name_servers(name_servers.iter().copied());
    Some(Discovery::new(records.make(move |server| backend(server, start))))
}

fn backend(server: &DnsServer, start: Option<BackendState>) -> Backend {
    let builder = Backend::builder(server.address.into()).weight(server.weight.into());
    let builder = builder.label(Tiers::LABEL, &server.priority.to_string());
    match start {
        Some(state) => builder.start(state, "not checked yet").build(),
        None => builder.build(),
    }
}
