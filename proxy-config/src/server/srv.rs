//! Backends from SRV records. That takes a resolver of its own, and so the feature `dns`; without it `srv` is
//! [unsupported](crate::Config::unsupported).

#[cfg(not(feature = "dns"))]
mod absent;
#[cfg(feature = "dns")]
mod records;

#[cfg(not(feature = "dns"))]
pub(super) use absent::discovery;
#[cfg(feature = "dns")]
pub(super) use records::discovery;
