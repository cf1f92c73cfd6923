//! Upgrades where hyper is on the other side: behind a [`ServiceUpstream`](crate::ServiceUpstream),
//! and before a [`Proxy`](crate::Proxy) that is used as a service.
//!
//! Both need hyper's types, so both are behind the feature `tower-upgrade`. Without it the same two
//! items are here, and no upgrade succeeds.

#[cfg(feature = "tower-upgrade")]
mod served;
#[cfg(not(feature = "tower-upgrade"))]
mod unserved;

#[cfg(feature = "tower-upgrade")]
pub(crate) use served::{ClientUpgrade, call};
#[cfg(not(feature = "tower-upgrade"))]
pub(crate) use unserved::{ClientUpgrade, call};
