//! Who asks.

use std::sync::Arc;

/// Who makes a request, once that is known. A filter keeps it in the [`Context`](proxy_core::Context) under
/// this type: a filter of one's own may do so as well, and rules about users follow it.
///
/// ```
/// use proxy_forward::User;
///
/// let mut context = proxy_core::Context::internal();
/// context.insert(User::new("ada"));
/// assert_eq!(context.get::<User>().map(User::name), Some("ada"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User(Arc<str>);

impl User {
    /// The user of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        User(name.into())
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}
