//! Upstreams that are folders of files.

use std::error::Error;

use proxy_files::FilesBuilder;

use super::ServerError;
use crate::path::Path;
use crate::{Config, Files};

/// `path` is that of the upstream.
pub(super) fn files(path: &Path<'_>, config: &Files) -> Result<proxy_files::Files, ServerError> {
    let builder = proxy_files::Files::builder(&config.root)
        .precompressed(config.precompressed.unwrap_or(false))
        .listing(config.listing.unwrap_or(false))
        .hidden(config.hidden.unwrap_or(false))
        .follow_links(config.follow_links.unwrap_or(false))
        .slow_storage(config.slow_storage.unwrap_or(false));
    let builder = config.index.iter().fold(builder, FilesBuilder::index);
    let builder = config.strip_prefix.iter().fold(builder, FilesBuilder::strip_prefix);
    builder.build().map_err(|error| {
        let why = error.source().map_or_else(String::new, |source| format!(": {source}"));
        ServerError::cannot_build(Path::Key(path, "files").to_string(), format!("{error}{why}"))
    })
}

/// The folders that cannot be opened.
pub(super) fn check(config: &Config) -> Vec<ServerError> {
    let path = Path::Key(&Path::Root, "upstreams");
    let folders = config.upstreams.iter().filter_map(|(name, upstream)| Some((name, upstream.files.as_ref()?)));
    folders.filter_map(|(name, folder)| files(&Path::Key(&path, name), folder).err()).collect()
}
