//! Active health checks: every backend is asked again and again.

mod check;
mod checker;
mod grpc;
mod http;
mod pace;
mod settings;
mod streak;
mod tcp;
mod udp;

pub use check::{Check, CheckFailure};
pub use checker::HealthChecker;
pub use grpc::GrpcCheck;
pub use http::HttpCheck;
pub use settings::{HealthSettings, StartState};
pub use tcp::TcpCheck;
pub use udp::UdpCheck;
