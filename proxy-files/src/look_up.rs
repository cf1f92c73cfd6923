//! What there is for a request. All of it may wait for a disk, or says that it would have to.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::beneath::{Opened, Patience, Root, is_absence};
use crate::coding::{Accepted, Coding};
use crate::listing::{self, Entry};
use crate::wanted::Wanted;

/// Where files are looked for, and how.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) root: Root,
    pub(crate) prefix: Vec<Vec<u8>>,
    pub(crate) index: Vec<PathBuf>,
    pub(crate) precompressed: bool,
    pub(crate) listing: bool,
    pub(crate) hidden: bool,
    pub(crate) slow_storage: bool,
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) wanted: Wanted,
    pub(crate) accepted: Accepted,
}

/// What there is.
#[derive(Debug)]
pub(crate) enum Found {
    File(FoundFile),
    /// The entries of a folder.
    List(Vec<Entry>),
    /// A folder, and the path has no slash at its end.
    Moved,
    /// The client takes no form in which it is there.
    NotAcceptable,
}

/// A file that is open.
#[derive(Debug)]
pub(crate) struct FoundFile {
    pub(crate) file: Arc<File>,
    pub(crate) length: u64,
    pub(crate) modified: Option<SystemTime>,
    /// It is a sibling, compressed.
    pub(crate) coding: Option<Coding>,
    /// Of the file that was asked for, not of the sibling.
    pub(crate) media_type: Option<&'static str>,
}

impl Settings {
    pub(crate) fn look_up(&self, query: &Query, patience: Patience) -> io::Result<Found> {
        let root = self.root.open(patience)?;
        let path = query.wanted.path();
        if query.wanted.is_folder() {
            return self.folder(&root, query, patience);
        }
        let file = root.open(path)?;
        Ok(self.plain(&root, path, file, &query.accepted)?.unwrap_or(Found::Moved))
    }

    fn folder(&self, root: &Opened<'_>, query: &Query, patience: Patience) -> io::Result<Found> {
        let folder = query.wanted.path();
        for name in &self.index {
            let path = folder.join(name);
            match root.open(&path) {
                Ok(file) => match self.plain(root, &path, file, &query.accepted) {
                    Ok(Some(found)) => return Ok(found),
                    Ok(None) => {}
                    Err(error) if is_absence(&error) => {}
                    Err(error) => return Err(error),
                },
                Err(error) if is_absence(&error) => {}
                Err(error) => return Err(error),
            }
        }
        match (self.listing, patience) {
            (false, _) => Err(io::ErrorKind::NotFound.into()),
            // Reading a folder waits.
            (true, Patience::None) => Err(io::ErrorKind::WouldBlock.into()),
            (true, Patience::Enough) => {
                let entries = listing::read(&root.open_folder(folder)?, self.hidden, root.follows_links())?;
                Ok(Found::List(entries))
            }
        }
    }

    /// The file, or the sibling that the client likes best; `None` for a folder.
    fn plain(&self, root: &Opened<'_>, path: &Path, file: File, accepted: &Accepted) -> io::Result<Option<Found>> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Ok(None);
        }
        if !metadata.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let media_type = mime_guess::from_path(path).first_raw();
        for coding in accepted.codings.iter().filter(|_| self.precompressed) {
            match Self::sibling(root, path, *coding) {
                Ok(Some((file, length, modified))) => {
                    let (file, coding) = (Arc::new(file), Some(*coding));
                    return Ok(Some(Found::File(FoundFile { file, length, modified, coding, media_type })));
                }
                Ok(None) => {}
                Err(error) if is_absence(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if accepted.refuses_plain {
            return Ok(Some(Found::NotAcceptable));
        }
        let (length, modified) = (metadata.len(), metadata.modified().ok());
        Ok(Some(Found::File(FoundFile { file: Arc::new(file), length, modified, coding: None, media_type })))
    }

    /// A plain file of the same name and the suffix of this coding.
    fn sibling(root: &Opened<'_>, path: &Path, coding: Coding) -> io::Result<Option<(File, u64, Option<SystemTime>)>> {
        let mut name = OsString::from(path);
        name.push(coding.suffix());
        let file = root.open(Path::new(&name))?;
        let metadata = file.metadata()?;
        let found = (file, metadata.len(), metadata.modified().ok());
        Ok(metadata.is_file().then_some(found))
    }
}
