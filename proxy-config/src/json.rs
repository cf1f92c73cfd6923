//! Strict JSON (RFC 8259) into a tree in which every value knows its line and column.
//!
//! serde stops at the first error and knows no positions after parsing; a tree lets the decoders report every
//! mistake of a file at once, each with its place.

mod number;
mod parser;
mod reader;
mod shown;
mod string;
mod write;

pub(crate) use parser::parse;
pub(crate) use shown::shown;
pub(crate) use write::write_string;

use crate::error::Position;

/// One JSON value and where it starts.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) position: Position,
    pub(crate) value: Value,
}

/// Numbers stay text: each decoder decides which numbers it takes, and no digit is lost on the way.
#[derive(Debug)]
pub(crate) enum Value {
    /// What stood here could not be found out, which has been reported.
    Unknown,
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

/// A key of an object, in the file's order. Duplicates are kept: the decoder refuses them by path.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) node: Node,
}

/// Why the text is not JSON, and where.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) position: Position,
    pub(crate) message: String,
}
