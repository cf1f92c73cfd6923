//! Which requests go first when there is too much.

use http::HeaderName;

use crate::Subject;

/// Classes of requests by the value of a header: under load the lower ones are refused first, and the
/// higher ones leave the queue first.
///
/// A class may use its share of the limit: with 100, 90 and 50 the lowest class is refused as soon as
/// half of the limit is in use, while the highest can have all of it. A client can claim any class:
/// set the header in a filter before, or trust your clients.
///
/// ```
/// use http::HeaderName;
/// use proxy_ratelimit::Priorities;
///
/// let priorities = Priorities::new(HeaderName::from_static("x-priority"))
///     .class("critical", 100)
///     .class("normal", 90)
///     .class("batch", 50)
///     .default_class("normal");
/// # let _ = priorities;
/// ```
#[derive(Clone, Debug)]
pub struct Priorities {
    header: HeaderName,
    /// Highest first: the value, and the percentage of the limit.
    classes: Vec<(String, u8)>,
    default: usize,
}

impl Priorities {
    /// By this header. Without classes all requests are alike.
    pub fn new(header: HeaderName) -> Self {
        Priorities { header, classes: Vec::new(), default: 0 }
    }

    /// A class lower than those before: its value of the header, and how much of the limit it may
    /// use, in percent.
    #[must_use]
    pub fn class(mut self, value: &str, percent: u8) -> Self {
        self.classes.push((value.to_owned(), percent.min(100)));
        self.default = self.classes.len() - 1;
        self
    }

    /// The class of requests with another value or none. Default: the lowest. A name that is not a
    /// class changes nothing.
    #[must_use]
    pub fn default_class(mut self, value: &str) -> Self {
        if let Some(class) = self.classes.iter().position(|(name, _)| name == value) {
            self.default = class;
        }
        self
    }

    /// The class of a request, 0 being the highest.
    pub(super) fn of(&self, subject: &Subject<'_>) -> usize {
        let Some(value) = subject.header(&self.header) else { return self.default };
        self.classes.iter().position(|(name, _)| name.as_bytes() == value).unwrap_or(self.default)
    }

    /// How much of the limit each class may use, in percent.
    pub(super) fn shares(&self) -> Vec<u8> {
        match self.classes.is_empty() {
            true => vec![100],
            false => self.classes.iter().map(|(_, percent)| *percent).collect(),
        }
    }
}
