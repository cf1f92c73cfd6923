//! What is better not written into a configuration: passwords and the like.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::operations::file_path;
use crate::decode::Cursor;

/// A text, or `{"file": path}` for what a file holds. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(
    /// `file`: the path of a file that holds it; a line end after it is left out. Read again at each reload.
    String,
);

impl Secret {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `what` says which sort of text to write.
pub(super) fn secret(cursor: Cursor<'_>, what: &str) -> Option<Secret> {
    if cursor.is_string() {
        return cursor.string(what).map(|text| Secret(text.to_owned()));
    }
    cursor.object(&format!("{what}, or {{\"file\": path}}"), |fields| {
        let path = fields.required("file", "the path of a file", file_path)?;
        read(&path).map_or_else(|error| fields.object().fail(format!("{}: {error}", path.display())), Some)
    })
}

fn read(path: &Path) -> io::Result<Secret> {
    /// Longer than any password, shorter than a device.
    const LARGEST: u64 = 64 << 10;
    let mut text = String::new();
    let size = File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if size as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 KiB"));
    }
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    let trimmed = trimmed.strip_suffix('\r').unwrap_or(trimmed);
    text.truncate(trimmed.len());
    Ok(Secret(text))
}
