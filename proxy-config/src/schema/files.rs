//! Folders whose files are served.

use std::path::PathBuf;

use crate::decode::Cursor;

/// `upstreams.<name>.files`: the files of a folder answer, instead of backends. Only for HTTP, and beside no other key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Files {
    /// `root`: the folder.
    pub root: PathBuf,
    /// `strip_prefix`: what of a request's path is not part of the file's, such as `"/static/"`; nothing when absent.
    pub strip_prefix: Option<String>,
    /// `index`: names of files that are sent for a folder, the first that is there; `["index.html"]` when absent.
    pub index: Option<Vec<String>>,
    /// `precompressed`: sends `name.br`, `name.zst` or `name.gz` to clients that take it; `false` when absent.
    pub precompressed: Option<bool>,
    /// `listing`: lists folders without an index; `false` when absent.
    pub listing: Option<bool>,
    /// `hidden`: serves names that begin with a dot; `false` when absent.
    pub hidden: Option<bool>,
    /// `follow_links`: follows symbolic links that lead to something in the folder; `false` when absent.
    pub follow_links: Option<bool>,
    /// `slow_storage`: looks files up on threads for blocking work, for network file systems; `false` when absent.
    pub slow_storage: Option<bool>,
}

pub(super) fn files(cursor: Cursor<'_>) -> Option<Files> {
    cursor.object("an object", |fields| {
        let root =
            fields.required("root", r#"a folder such as "/srv/www""#, |cursor| match cursor.string("a folder")? {
                "" => cursor.fail("must not be empty"),
                path => Some(PathBuf::from(path)),
            });
        let strip_prefix = fields.optional("strip_prefix", prefix);
        let index = fields.optional("index", |cursor| cursor.list("an array of names", name));
        Some(Files {
            strip_prefix,
            index,
            precompressed: fields.flag("precompressed"),
            listing: fields.flag("listing"),
            hidden: fields.flag("hidden"),
            follow_links: fields.flag("follow_links"),
            slow_storage: fields.flag("slow_storage"),
            root: root?,
        })
    })
}

fn prefix(cursor: Cursor<'_>) -> Option<String> {
    let path = cursor.string("the beginning of a path")?;
    let names = path.strip_prefix('/').map(|names| names.strip_suffix('/').unwrap_or(names));
    match names {
        Some(names) if path == "/" || names.split('/').all(|name| is_name(name) && !name.contains('%')) => {
            Some(path.to_owned())
        }
        _ => cursor.fail(r#"must be a path of plain names, such as "/static/""#),
    }
}

fn name(cursor: Cursor<'_>) -> Option<String> {
    match cursor.string("the name of a file")? {
        name if !is_name(name) => cursor.fail("must be a plain name, without a path"),
        name => Some(name.to_owned()),
    }
}

fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.chars().any(|c| matches!(c, '/' | '\\') || c.is_control())
}
