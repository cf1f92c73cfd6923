//! The administration interface.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::listener::{Port, claim};
use super::secret::Secret;
use super::sticky::secret;
use crate::decode::{Cursor, Fields, Unique};
use crate::values::address::{listen_address, socket_path};

/// `admin`: the administration interface. At least one of the keys `listen` and `unix`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admin {
    /// `listen`: its address.
    pub listen: Option<SocketAddr>,
    /// `unix`: the absolute path of a socket that only the owner of the process may open.
    pub unix: Option<PathBuf>,
    /// `token`: what clients have to know, 16 characters or more. Needed where `listen` is not loopback; the
    /// socket does not ask for it.
    pub token: Option<Secret>,
}

pub(super) fn admin(cursor: Cursor<'_>, taken: &mut Unique<Port>) -> Option<Admin> {
    cursor.object("an object", |fields| {
        let listen = fields.optional("listen", |cursor| {
            let address = listen_address(cursor)?;
            claim(taken, address, Port::Stream, cursor);
            Some(address)
        });
        let unix = fields.optional("unix", |cursor| cursor.parsed("the absolute path of a socket", socket_path));
        let token = fields.optional("token", secret);
        fields.at_least_one(&["listen", "unix"], "nobody could reach it")?;
        refuse_public(fields, listen);
        Some(Admin { listen, unix, token })
    })
}

/// Whoever reaches the interface can take backends out of service.
fn refuse_public(fields: &Fields<'_>, listen: Option<SocketAddr>) {
    let is_public = listen.is_some_and(|address| !address.ip().to_canonical().is_loopback());
    if is_public && !fields.has("token") {
        fields.object().revisit_key("listen", |cursor| {
            cursor.fail::<()>(r#"other machines could reach it: needs a "token", or else a loopback address such as "127.0.0.1:9900""#);
        });
    }
}

/// A path, relative to the working directory unless it is absolute.
pub(super) fn file_path(cursor: Cursor<'_>) -> Option<PathBuf> {
    match cursor.string("the path of a file")? {
        "" => cursor.fail("must not be empty"),
        path if path.contains('\0') => cursor.fail("must not hold a NUL character"),
        path => Some(path.into()),
    }
}
