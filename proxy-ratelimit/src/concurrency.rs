//! How many requests run at a time.

mod filter;
mod gate;
mod gates;
mod gradient;
mod priority;

pub use filter::ConcurrencyLimit;
pub use gradient::{Gradient, GradientSettings, Sample};
pub use priority::Priorities;
