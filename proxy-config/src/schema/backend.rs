//! Backends: the servers of an upstream.

use crate::decode::{Cursor, Unique};
use crate::values::address::{Address, backend_address};

/// `upstreams.<name>.backends[]`: `"host:port"`, or an object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backend {
    /// `address`: such as `127.0.0.1:9001`, `[::1]:9001`, `api.internal:9001` or `unix:/run/api.sock`.
    pub address: Address,
    /// `weight`: its share; 1 when absent, 0 takes nothing but what sticks to it.
    pub weight: u16,
    /// `zone`: where it stands. Those of the proxy's own zone, `local_zone`, are used first.
    pub zone: Option<String>,
    /// `priority`: its tier; 0 when absent, which is the first. A tier is used when those before it are gone.
    pub priority: u8,
    /// `backup`: whether it is used only when the others are gone, whatever their tiers; `false` when absent.
    pub backup: bool,
}

pub(super) fn backends(cursor: Cursor<'_>) -> Option<Vec<Backend>> {
    let mut known = Unique::new();
    let backends = cursor.non_empty_list("an array of backends", |item| {
        let backend = backend(item)?;
        known.claim(backend.address.clone(), &backend.address, item);
        Some(backend)
    })?;
    if backends.iter().all(|backend| backend.weight == 0) {
        return cursor.fail("all weights are 0, so no request could go anywhere");
    }
    Some(backends)
}

fn backend(cursor: Cursor<'_>) -> Option<Backend> {
    if cursor.is_string() {
        let address = backend_address(cursor)?;
        return Some(Backend { address, weight: 1, zone: None, priority: 0, backup: false });
    }
    cursor.object("an address or an object", |fields| {
        let address = fields.required("address", r#"an address such as "127.0.0.1:9001""#, backend_address);
        let weight = fields.optional("weight", |cursor| cursor.integer(0..=u16::MAX)).unwrap_or(1);
        let zone = fields.optional("zone", zone);
        let backup = fields.flag("backup").unwrap_or(false);
        let priority = fields.optional("priority", |cursor| match backup {
            true => cursor.fail("a backup comes after all priorities, and has none"),
            false => cursor.integer(0..=u8::MAX),
        });
        Some(Backend { address: address?, weight, zone, priority: priority.unwrap_or(0), backup })
    })
}

pub(super) fn zone(cursor: Cursor<'_>) -> Option<String> {
    match cursor.string("the name of a zone")? {
        "" => cursor.fail("must not be empty"),
        name => Some(name.to_owned()),
    }
}
