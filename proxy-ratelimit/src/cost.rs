//! What a request costs.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use http::Method;

use crate::Subject;

/// What a request costs. One, unless said otherwise.
#[derive(Clone, Default)]
pub struct Cost(Kind);

#[derive(Clone, Default)]
enum Kind {
    #[default]
    One,
    ByMethod(Arc<[(Method, u64)]>),
    ByBody {
        unit: NonZeroU64,
        unknown: u64,
    },
    Closure(Arc<dyn Fn(&Subject<'_>) -> u64 + Send + Sync>),
}

impl Cost {
    /// One each.
    pub fn one() -> Self {
        Cost::default()
    }

    /// By method; methods that are not there cost one.
    pub fn by_method(costs: impl IntoIterator<Item = (Method, u64)>) -> Self {
        Cost(Kind::ByMethod(costs.into_iter().collect()))
    }

    /// One, and one more for each `unit` bytes of body, or begun; `unknown` for a body whose length is
    /// not announced.
    pub fn by_body(unit: NonZeroU64, unknown: u64) -> Self {
        Cost(Kind::ByBody { unit, unknown })
    }

    /// Whatever the closure says. Zero is free.
    pub fn from_fn(f: impl Fn(&Subject<'_>) -> u64 + Send + Sync + 'static) -> Self {
        Cost(Kind::Closure(Arc::new(f)))
    }

    pub(crate) fn of(&self, subject: &Subject<'_>) -> u64 {
        match &self.0 {
            Kind::One => 1,
            Kind::ByMethod(costs) => {
                let found = costs.iter().find(|(method, _)| method == subject.method());
                found.map_or(1, |(_, cost)| *cost)
            }
            Kind::ByBody { unit, unknown } => {
                let body = subject.body_length().map_or(*unknown, |length| length.div_ceil(unit.get()));
                body.saturating_add(1)
            }
            Kind::Closure(closure) => closure(subject),
        }
    }
}

impl fmt::Debug for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::One => f.write_str("one"),
            Kind::ByMethod(costs) => f.debug_map().entries(costs.iter().map(|(method, cost)| (method, cost))).finish(),
            Kind::ByBody { unit, .. } => write!(f, "by {unit} bytes of body"),
            Kind::Closure(_) => f.write_str("closure"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs() {
        let parts = |method| http::Request::builder().method(method).body(()).unwrap().into_parts().0;
        let (get, post) = (parts(Method::GET), parts(Method::POST));
        let check = |cost: &Cost, parts, body, expected| {
            assert_eq!(cost.of(&Subject::http(parts, body)), expected, "{cost:?}");
        };
        check(&Cost::one(), &post, Some(9), 1);
        let by_method = Cost::by_method([(Method::POST, 10), (Method::HEAD, 0)]);
        check(&by_method, &post, None, 10);
        check(&by_method, &get, None, 1);
        let by_body = Cost::by_body(NonZeroU64::new(1024).unwrap(), 50);
        check(&by_body, &get, Some(0), 1);
        check(&by_body, &post, Some(1025), 3);
        check(&by_body, &post, None, 51);
        check(&Cost::from_fn(|request| request.path().len() as u64), &get, None, 1);
    }
}
