//! Characters with their line and column.

use super::SyntaxError;
use crate::error::Position;

pub(super) struct Reader<'a> {
    rest: &'a str,
    position: Position,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, position: Position::START }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        self.position.advance(next);
        Some(next)
    }

    /// Consumes `expected` if it comes next.
    pub(super) fn eat(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.next();
        }
        found
    }

    /// Consumes the literal `word` if it comes next.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.rest.starts_with(word);
        if found {
            word.chars().for_each(|c| self.position.advance(c));
            self.rest = &self.rest[word.len()..];
        }
        found
    }

    pub(super) fn skip_whitespace(&mut self) {
        // RFC 8259 §2: these four and no other Unicode spaces.
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.next();
        }
    }

    /// An error that names what was expected and what stands here instead.
    pub(super) fn expected(&self, what: &str) -> SyntaxError {
        let found = match self.peek() {
            Some('/' | '#') => "a comment, which JSON does not have".to_owned(),
            Some(found) => format!("{found:?}"),
            None => "the end of the file".to_owned(),
        };
        self.error(format!("expected {what}, found {found}"))
    }

    pub(super) fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError { position: self.position, message: message.into() }
    }
}
