//! A folder as an upstream.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use http::{Method, StatusCode, header};
use proxy_core::{Context, Error, ErrorKind, Request, RequestHead, Response, Result, Upstream};

use crate::beneath::{Patience, Root, is_absence};
use crate::coding::Accepted;
use crate::look_up::{Found, Query, Settings};
use crate::wanted::{Wanted, is_name, prefix};
use crate::{answer, date};

/// The files of a folder. What is answered to what: see the [crate](crate).
///
/// ```
/// use proxy_files::Files;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let files = Files::builder(".").strip_prefix("/static/").index(["index.html"]).build()?;
/// let proxy = proxy_core::Proxy::over(files);
/// # Ok(())
/// # }
/// ```
///
/// To an HTTP/1 client without TLS the kernel sends a file by itself (`sendfile`) where 32 KiB or more are
/// asked for and no filter changes the body; everywhere else, and for several ranges at once, its bytes are read.
#[derive(Clone, Debug)]
pub struct Files(Arc<Settings>);

/// Settings of [`Files`].
#[derive(Clone, Debug)]
#[must_use]
pub struct FilesBuilder {
    root: PathBuf,
    prefix: String,
    index: Vec<String>,
    precompressed: bool,
    listing: bool,
    hidden: bool,
    follow_links: bool,
    slow_storage: bool,
}

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The folder cannot be opened, or is none.
    #[error("the folder {} cannot be opened", .path.display())]
    #[non_exhaustive]
    Root {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The prefix is no path of plain names.
    #[error("{0:?} is no prefix such as \"/static/\"")]
    Prefix(String),
    /// An index is no name of a file.
    #[error("{0:?} is no name of a file")]
    Index(String),
}

impl Files {
    /// Serves this folder: `/a/b` is the file `a/b` in it.
    pub fn builder(root: impl Into<PathBuf>) -> FilesBuilder {
        FilesBuilder {
            root: root.into(),
            prefix: "/".to_owned(),
            index: vec!["index.html".to_owned()],
            precompressed: false,
            listing: false,
            hidden: false,
            follow_links: false,
            slow_storage: false,
        }
    }

    async fn find(&self, query: Query) -> io::Result<Found> {
        let settings = &self.0;
        if settings.root.can_be_impatient() && !settings.slow_storage {
            match settings.look_up(&query, Patience::None) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                found => return found,
            }
        }
        let settings = Arc::clone(settings);
        let found = tokio::task::spawn_blocking(move || settings.look_up(&query, Patience::Enough)).await;
        found.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn answer(&self, found: Found, request: &RequestHead, client: &RequestHead, now: SystemTime) -> Response {
        let mut response = match found {
            Found::File(found) => answer::file(found, request, now),
            Found::List(entries) => answer::list(client.path(), &entries, !self.is_root(request)),
            Found::Moved => return answer::moved(client),
            Found::NotAcceptable => answer::failed(StatusCode::NOT_ACCEPTABLE),
        };
        if self.0.precompressed {
            answer::set(&mut response, header::VARY, "accept-encoding");
        }
        response
    }

    fn is_root(&self, request: &RequestHead) -> bool {
        self.wanted(request).is_ok_and(|wanted| wanted.path().as_os_str().is_empty())
    }

    fn wanted(&self, request: &RequestHead) -> Result<Wanted, crate::wanted::NoName> {
        Wanted::parse(request.path(), &self.0.prefix, self.0.hidden)
    }

    async fn respond(&self, request: &RequestHead, context: &Context, now: SystemTime) -> Result<Response> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(answer::not_allowed());
        }
        let Ok(wanted) = self.wanted(request) else { return Ok(answer::failed(StatusCode::NOT_FOUND)) };
        let accepted = if self.0.precompressed { Accepted::of(request.headers()) } else { Accepted::default() };
        match self.find(Query { wanted, accepted }).await {
            // A filter may have changed the path: a client is moved from the one that it knows.
            Ok(found) => Ok(self.answer(found, request, context.request().unwrap_or(request), now)),
            Err(error) if is_absence(&error) || error.kind() == io::ErrorKind::NotFound => {
                Ok(answer::failed(StatusCode::NOT_FOUND))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(answer::failed(StatusCode::FORBIDDEN)),
            Err(error) => Err(Error::new(ErrorKind::FileIo).with_source(error)),
        }
    }
}

#[async_trait]
impl Upstream for Files {
    /// # Errors
    /// [`ErrorKind::FileIo`] where the system fails, for example because it is out of descriptors. What is not
    /// there, or must not be read, has an answer: 404, 403.
    ///
    /// # Cancel safety
    /// Nothing is lost; a thread that waits for the disk ends by itself.
    async fn send(&self, request: Request, context: &mut Context) -> Result<Response> {
        // The body is nobody's: the engine reads what little of it there is.
        let (head, _) = request.into_parts();
        let now = SystemTime::now();
        let mut response = self.respond(&head, context, now).await?;
        // RFC 9110 §6.6.1: who answers by himself, and has a clock, says when.
        if let Some(now) = date::written(now) {
            response.head_mut().headers_mut().append(header::DATE, now);
        }
        Ok(response)
    }
}

impl FilesBuilder {
    /// What of a request's path is not part of the file's: with `/static/`, `/static/a` is the file `a`, and what
    /// does not begin with it is not there. The root when unset.
    pub fn strip_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// What is sent for a folder: the first of these that is in it. `index.html` when unset.
    pub fn index(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.index = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sends `name.br`, `name.zst` or `name.gz` in place of `name` to clients that take it; off when unset. They are
    /// not compared with the file: whoever changes it makes them anew. Each costs a look-up for clients that take it.
    pub fn precompressed(mut self, on: bool) -> Self {
        self.precompressed = on;
        self
    }

    /// Lists folders without an index; off when unset.
    pub fn listing(mut self, on: bool) -> Self {
        self.listing = on;
        self
    }

    /// Serves names that begin with a dot; off when unset.
    pub fn hidden(mut self, on: bool) -> Self {
        self.hidden = on;
        self
    }

    /// Follows symbolic links that lead to something in the folder; off when unset, and always where the kernel has
    /// no `openat2`. Links out of it, and absolute ones, are never followed. The folder itself may be a link.
    pub fn follow_links(mut self, on: bool) -> Self {
        self.follow_links = on;
        self
    }

    /// Looks up everything on a thread for blocking work; off when unset. For file systems that wait for
    /// more than a disk.
    pub fn slow_storage(mut self, on: bool) -> Self {
        self.slow_storage = on;
        self
    }

    /// Opens the folder, to see that it is there. Waits for the disk.
    ///
    /// # Errors
    /// If it is not, or a setting is no path or name.
    pub fn build(self) -> Result<Files, BuildError> {
        let Some(prefix) = prefix(&self.prefix) else { return Err(BuildError::Prefix(self.prefix)) };
        if let Some(bad) = self.index.iter().find(|name| !is_name(name.as_bytes())) {
            return Err(BuildError::Index(bad.clone()));
        }
        let root = match Root::new(self.root.clone(), self.follow_links) {
            Ok(root) => root,
            Err(source) => return Err(BuildError::Root { path: self.root, source }),
        };
        Ok(Files(Arc::new(Settings {
            root,
            prefix,
            index: self.index.into_iter().map(PathBuf::from).collect(),
            precompressed: self.precompressed,
            listing: self.listing,
            hidden: self.hidden,
            slow_storage: self.slow_storage,
        })))
    }
}
