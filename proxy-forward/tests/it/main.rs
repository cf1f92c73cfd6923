//! Forward proxies in memory: scripted origins, answers from a table, paused time.

mod egress;
mod forward;
mod parents;
mod refusals;
mod server_names;
mod socks;
mod stage;
