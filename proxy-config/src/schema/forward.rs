//! Forward proxies.

use crate::decode::Cursor;
use crate::values::host::host_pattern;

/// `listeners.<name>.forward`
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forward {
    /// `connect_ports`: ports that `CONNECT` may name.
    pub connect_ports: Option<Vec<u16>>,
    /// `allow`: hosts that may be reached; all when absent. In lower case, as `example.com` or `*.example.com`.
    pub allow: Option<Vec<String>>,
    /// `deny`: hosts that may not be reached, stronger than `allow`.
    pub deny: Vec<String>,
    /// `allow_private`: whether private and local addresses may be reached.
    pub allow_private: Option<bool>,
}

pub(super) fn forward(cursor: Cursor<'_>) -> Option<Forward> {
    cursor.object("an object", |fields| {
        let connect_ports = fields
            .optional("connect_ports", |cursor| cursor.list("an array of ports", |port| port.integer(1..=u16::MAX)));
        let allow = fields.optional("allow", hosts);
        let deny = fields.optional("deny", hosts).unwrap_or_default();
        let allow_private = fields.flag("allow_private");
        Some(Forward { connect_ports, allow, deny, allow_private })
    })
}

fn hosts(cursor: Cursor<'_>) -> Option<Vec<String>> {
    cursor.list(r#"an array of hosts such as "*.example.com""#, host_pattern)
}
