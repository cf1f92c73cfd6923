//! What operators look at: the administration interface and the access log.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::listener::{Port, claim};
use crate::decode::{Cursor, Unique};
use crate::values::address::listen_address;

/// `admin`: the administration interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admin {
    /// `listen`: its address.
    pub listen: SocketAddr,
}

/// `access_log`: one line per request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessLog {
    /// `format`: what a line looks like.
    pub format: AccessLogFormat,
    /// `path`: the file.
    pub path: PathBuf,
}

/// What a line of the access log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessLogFormat {
    /// `"json"`: an object per line.
    #[default]
    Json,
    /// `"common"`: the Common Log Format.
    Common,
    /// `"combined"`: the same with referrer and user agent.
    Combined,
}

pub(super) fn admin(cursor: Cursor<'_>, taken: &mut Unique<Port>) -> Option<Admin> {
    cursor.object("an object", |fields| {
        let listen = fields.required("listen", r#"an address such as "127.0.0.1:9900""#, |cursor| {
            let address = listen_address(cursor)?;
            claim(taken, address, Port::Stream, cursor);
            Some(address)
        });
        Some(Admin { listen: listen? })
    })
}

pub(super) fn access_log(cursor: Cursor<'_>) -> Option<AccessLog> {
    cursor.object("an object", |fields| {
        let format = fields.optional("format", format).unwrap_or_default();
        let path = fields.required("path", "the path of a file", file_path);
        Some(AccessLog { format, path: path? })
    })
}

fn format(cursor: Cursor<'_>) -> Option<AccessLogFormat> {
    cursor.tagged(
        "access log format",
        &[
            ("combined", |settings| settings.none(AccessLogFormat::Combined)),
            ("common", |settings| settings.none(AccessLogFormat::Common)),
            ("json", |settings| settings.none(AccessLogFormat::Json)),
        ],
    )
}

/// A path, relative to the working directory unless it is absolute.
pub(super) fn file_path(cursor: Cursor<'_>) -> Option<PathBuf> {
    match cursor.string("the path of a file")? {
        "" => cursor.fail("must not be empty"),
        path if path.contains('\0') => cursor.fail("must not hold a NUL character"),
        path => Some(path.into()),
    }
}
