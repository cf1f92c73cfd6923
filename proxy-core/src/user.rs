//! Who asks.

use std::sync::Arc;

/// Who makes a request, once that is known. A filter that knows keeps it in the [`Context`](crate::Context) under this
/// type: rules of a forward proxy, limits by user, metrics and logs look there.
///
/// ```
/// use proxy_core::User;
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
