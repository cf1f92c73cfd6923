//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Everything wrong with a configuration, in the order of the file.
///
/// `Display` prints one line per error, `file:line:column: path: message`, without a trailing newline:
///
/// ```
/// let errors = r#"{ "workers": 0, "listeners": {} }"#.parse::<proxy_config::Config>().unwrap_err();
/// assert_eq!(
///     errors.to_string(),
///     "1:14: workers: expected a whole number from 1 to 1024, found 0\n\
///      1:30: listeners: needs at least one entry",
/// );
/// ```
#[derive(Debug)]
pub struct ConfigErrors {
    file: Option<PathBuf>,
    errors: Vec<ConfigError>,
    omitted: usize,
    source: Option<io::Error>,
}

impl ConfigErrors {
    pub(crate) fn new(mut errors: Vec<ConfigError>, omitted: usize) -> Self {
        errors.sort_by_key(|error| error.position);
        Self { file: None, errors, omitted, source: None }
    }

    pub(crate) fn unreadable(source: io::Error) -> Self {
        let error = ConfigError::new(ErrorKind::Unreadable, format!("cannot be read: {source}"));
        Self { file: None, errors: vec![error], omitted: 0, source: Some(source) }
    }

    pub(crate) fn in_file(self, path: &Path) -> Self {
        Self { file: Some(path.to_owned()), ..self }
    }

    /// The file, when the configuration came from one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The errors in the order of the file. Never empty, and at most 100.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.errors.iter()
    }

    /// How many errors there were beyond those of [`iter`](Self::iter).
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "\n" })?;
            let file = self.file.as_deref().map(Path::display);
            match (file, error.position) {
                (Some(file), Some(position)) => write!(f, "{file}:{position}: {error}")?,
                (Some(file), None) => write!(f, "{file}: {error}")?,
                (None, Some(position)) => write!(f, "{position}: {error}")?,
                (None, None) => write!(f, "{error}")?,
            }
        }
        match self.omitted {
            0 => Ok(()),
            omitted => write!(f, "\nand {omitted} more errors"),
        }
    }
}

impl std::error::Error for ConfigErrors {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// One mistake.
///
/// `Display` prints `path: message`, for example
/// `listeners.web.http.routes[2].upstream: no upstream named "apii"; did you mean "api"?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    kind: ErrorKind,
    path: String,
    position: Option<Position>,
    message: String,
}

impl ConfigError {
    pub(crate) fn new(kind: ErrorKind, message: String) -> Self {
        Self { kind, path: String::new(), position: None, message }
    }

    pub(crate) fn at(self, position: Position) -> Self {
        Self { position: Some(position), ..self }
    }

    pub(crate) fn under(self, path: String) -> Self {
        Self { path, ..self }
    }

    /// What sort of mistake it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The part of the configuration, such as `listeners.web.http.routes[2].upstream`; empty for the whole of it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where in the text the part stands; for a missing part, where the object starts that lacks it.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// What is wrong, without the path.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

impl std::error::Error for ConfigError {}

/// What sort of mistake a [`ConfigError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file could not be read.
    Unreadable,
    /// The text is not JSON. Nothing after it has been looked at.
    Syntax,
    /// The JSON says something the schema does not allow.
    Invalid,
}

/// A place in the text. Both numbers start at 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character within the line.
    pub column: usize,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    pub(crate) fn advance(&mut self, over: char) {
        match over {
            '\n' => *self = Self { line: self.line + 1, column: 1 },
            _ => self.column += 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
