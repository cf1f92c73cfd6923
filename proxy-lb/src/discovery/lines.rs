//! Backends as lines of text.

use std::fmt;

use proxy_core::{Address, Backend, BackendBuilder};

/// Backends as lines of text: an address, then what else there is to say.
///
/// `weight` is from 0 to 65535, `id` its name; every other key is a label. Empty lines and what follows a
/// `#` are passed over.
///
/// ```
/// let text = "
///     127.0.0.1:9001
///     127.0.0.1:9002 weight=3 zone=a   # twice the memory
/// ";
/// let backends = proxy_lb::backends_from_lines(text)?;
/// assert_eq!((backends[1].weight(), backends[1].label("zone")), (3, Some("a")));
/// # Ok::<(), proxy_lb::LineError>(())
/// ```
///
/// # Errors
/// At the first line that is malformed, or repeats an id.
pub fn backends_from_lines(text: &str) -> Result<Vec<Backend>, LineError> {
    let mut backends: Vec<Backend> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let at = |reason: String| LineError { number, reason };
        let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
        if line.is_empty() {
            continue;
        }
        let backend = backend(line).map_err(at)?;
        if backends.iter().any(|known| known.id() == backend.id()) {
            return Err(at(format!("`{}` was given before", backend.id())));
        }
        backends.push(backend);
    }
    Ok(backends)
}

/// What is wrong with a line, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    number: usize,
    reason: String,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.reason)
    }
}

impl std::error::Error for LineError {}

fn backend(line: &str) -> Result<Backend, String> {
    let mut words = line.split_whitespace();
    let address: Address = words.next().unwrap_or_default().parse().map_err(|error| format!("{error}"))?;
    Ok(words.try_fold(Backend::builder(address), attribute)?.build())
}

fn attribute(builder: BackendBuilder, word: &str) -> Result<BackendBuilder, String> {
    match word.split_once('=') {
        Some(("weight", weight)) => match weight.parse::<u16>() {
            Ok(weight) => Ok(builder.weight(weight.into())),
            Err(_) => Err(format!("weight `{weight}` is not from 0 to 65535")),
        },
        Some(("id", id)) if !id.is_empty() => Ok(builder.id(id)),
        Some((name, value)) if !name.is_empty() && name != "id" => Ok(builder.label(name, value)),
        _ => Err(format!("`{word}` is not of the form name=value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_backends() {
        let text = "127.0.0.1:1\r\n\n# none\n [::1]:2\tid=x weight=0 zone=a rack=7 #3\napi.internal:80\nunix:/run/x";
        let backends = backends_from_lines(text).unwrap();
        let ids: Vec<_> = backends.iter().map(Backend::id).collect();
        assert_eq!(ids, ["127.0.0.1:1", "x", "api.internal:80", "unix:/run/x"]);
        let x = &backends[1];
        assert_eq!((x.weight(), x.label("zone"), x.label("rack")), (0, Some("a"), Some("7")));
        assert!(backends_from_lines("").unwrap().is_empty());
    }

    #[test]
    fn a_malformed_line_is_named() {
        let check = |text, expected| {
            assert_eq!(backends_from_lines(text).unwrap_err().to_string(), expected);
        };
        check("a:1\nb", "line 2: `b` is not HOST:PORT or unix:/PATH");
        check("a:1 weight=65536", "line 1: weight `65536` is not from 0 to 65535");
        check("a:1 weight=-1", "line 1: weight `-1` is not from 0 to 65535");
        check("a:1 fast", "line 1: `fast` is not of the form name=value");
        check("a:1 id=", "line 1: `id=` is not of the form name=value");
        check("a:1\n\na:1 weight=2", "line 3: `a:1` was given before");
    }
}
