//! What a line looks like.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderName;
use proxy_core::{Context, Outcome};

use super::escape;
use super::field::Field;

/// What a line of the access log looks like.
///
#[doc = include_str!("../../ACCESS_LOG.md")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFormat(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Template(Arc<[Part]>),
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(Box<[u8]>),
    Field(Field),
    Header(HeaderName),
}

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// There is no field of this name.
    #[error("there is no field `{0}`; `$$` is a dollar sign")]
    NoField(String),
    /// This is no name of a header field.
    #[error("`{0}` is no name of a header field")]
    NoHeader(String),
    /// `${` has no `}`.
    #[error("`${{` without `}}`")]
    Open,
    /// Lines are told apart by their ends.
    #[error("a line end or another control character within a line")]
    Control,
}

/// What an object of the JSON format says, in this order.
const JSON: [Field; 25] = [
    Field::Time,
    Field::Id,
    Field::Trace,
    Field::Listener,
    Field::Client,
    Field::User,
    Field::Method,
    Field::Target,
    Field::Protocol,
    Field::Host,
    Field::Status,
    Field::Route,
    Field::Upstream,
    Field::Backend,
    Field::Attempts,
    Field::Received,
    Field::Sent,
    Field::Queue,
    Field::Connect,
    Field::FirstByte,
    Field::Total,
    Field::Reason,
    Field::Code,
    Field::Referer,
    Field::UserAgent,
];

const COMMON: &str = "$client - $user [$time_common] \"$request\" $status $sent";
const COMBINED: &str = "$client - $user [$time_common] \"$request\" $status $sent \"$referer\" \"$user_agent\"";

impl LogFormat {
    /// An object a line.
    pub fn json() -> Self {
        LogFormat(Kind::Json)
    }

    /// The Common Log Format.
    pub fn common() -> Self {
        LogFormat::builtin(COMMON)
    }

    /// The same with referrer and user agent.
    pub fn combined() -> Self {
        LogFormat::builtin(COMBINED)
    }

    /// A text with fields in it.
    ///
    /// ```
    /// use proxy_metrics::LogFormat;
    ///
    /// let format: LogFormat = LogFormat::template("$client $status ${header:x-tenant} $total")?;
    /// assert!(LogFormat::template("$sattus").is_err());
    /// # let _ = format;
    /// # Ok::<(), proxy_metrics::TemplateError>(())
    /// ```
    ///
    /// # Errors
    /// If a name is not known, a brace is missing, or the text is more than one line.
    pub fn template(text: &str) -> Result<Self, TemplateError> {
        parse(text).map(|parts| LogFormat(Kind::Template(parts.into())))
    }

    fn builtin(text: &str) -> Self {
        LogFormat::template(text).unwrap_or_else(|error| unreachable!("a test reads it: {error}"))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, outcome: &Outcome, context: &Context, now: SystemTime) {
        match &self.0 {
            Kind::Json => write_json(out, outcome, context, now),
            Kind::Template(parts) => parts.iter().for_each(|part| part.write(out, outcome, context, now)),
        }
    }
}

fn write_json(out: &mut Vec<u8>, outcome: &Outcome, context: &Context, now: SystemTime) {
    let mut before: &[u8] = b"{\"";
    for field in JSON {
        out.extend_from_slice(before);
        out.extend_from_slice(field.name().as_bytes());
        out.extend_from_slice(b"\":");
        field.write_json(out, outcome, context, now);
        before = b",\"";
    }
    out.push(b'}');
}

impl Part {
    fn write(&self, out: &mut Vec<u8>, outcome: &Outcome, context: &Context, now: SystemTime) {
        match self {
            Part::Text(text) => out.extend_from_slice(text),
            Part::Field(field) => field.write_text(out, outcome, context, now),
            Part::Header(name) => match context.request().and_then(|head| head.headers().get(name)) {
                Some(value) => escape::text(out, value),
                None => out.push(b'-'),
            },
        }
    }
}

fn parse(text: &str) -> Result<Vec<Part>, TemplateError> {
    if text.contains(char::is_control) {
        return Err(TemplateError::Control);
    }
    let mut pieces = text.split('$');
    let (mut parts, mut plain) = (Vec::new(), pieces.next().unwrap_or_default().to_owned());
    let mut doubled = false;
    for piece in pieces {
        if std::mem::take(&mut doubled) {
            plain.push_str(piece);
        } else if piece.is_empty() {
            // `$$`: the next piece is text. At the end of the text it is a `$` without a name.
            plain.push('$');
            doubled = true;
        } else {
            let (name, rest) = name(piece)?;
            parts.push(Part::Text(std::mem::take(&mut plain).into_bytes().into()));
            parts.push(field(name)?);
            rest.clone_into(&mut plain);
        }
    }
    if doubled {
        return Err(TemplateError::NoField(String::new()));
    }
    parts.push(Part::Text(plain.into_bytes().into()));
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    Ok(parts)
}

/// The name that a piece begins with, and what follows.
fn name(piece: &str) -> Result<(&str, &str), TemplateError> {
    match piece.strip_prefix('{') {
        Some(piece) => piece.split_once('}').ok_or(TemplateError::Open),
        None => {
            let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
            Ok(piece.split_at(end))
        }
    }
}

fn field(name: &str) -> Result<Part, TemplateError> {
    if let Some(header) = name.strip_prefix("header:") {
        let header = header.parse().map_err(|_| TemplateError::NoHeader(header.to_owned()))?;
        return Ok(Part::Header(header));
    }
    let found = Field::ALL.iter().find(|field| field.name() == name);
    found.map(|field| Part::Field(*field)).ok_or_else(|| TemplateError::NoField(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let text = |text: &str| Part::Text(text.as_bytes().into());
        let header = Part::Header(HeaderName::from_static("x-a"));
        let table = [
            ("", Ok(vec![])),
            ("plain", Ok(vec![text("plain")])),
            ("$status", Ok(vec![Part::Field(Field::Status)])),
            (
                "a $status-${status}s",
                Ok(vec![text("a "), Part::Field(Field::Status), text("-"), Part::Field(Field::Status), text("s")]),
            ),
            ("$$status", Ok(vec![text("$status")])),
            ("5$$$status", Ok(vec![text("5$"), Part::Field(Field::Status)])),
            ("${header:X-A}", Ok(vec![header])),
            ("$statuss", Err(TemplateError::NoField("statuss".into()))),
            ("$", Err(TemplateError::NoField(String::new()))),
            ("$ x", Err(TemplateError::NoField(String::new()))),
            ("${status", Err(TemplateError::Open)),
            ("${header:a b}", Err(TemplateError::NoHeader("a b".into()))),
            ("a\nb", Err(TemplateError::Control)),
        ];
        for (template, expected) in table {
            assert_eq!(parse(template), expected, "{template:?}");
        }
        let _ = (LogFormat::common(), LogFormat::combined());
    }

    #[test]
    fn the_documentation_is_current() {
        let mut table = String::from("| field | meaning |\n|---|---|\n");
        for field in Field::ALL {
            table.push_str(&format!("| `{}` | {} |\n", field.name(), field.help()));
        }
        let text = include_str!("../../ACCESS_LOG.md");
        assert!(text.contains(&table), "ACCESS_LOG.md lacks this table:\n{table}");
    }
}
