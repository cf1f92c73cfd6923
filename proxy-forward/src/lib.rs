//! A forward proxy: it acts for its clients, wherever they want to go and may.
//!
//! ```no_run
//! use proxy_core::{TcpListener, serve};
//! use proxy_forward::ForwardUpstream;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let address = "127.0.0.1:3128".parse()?;
//!     let proxy = ForwardUpstream::builder().own(address).build().into_proxy();
//!     serve(TcpListener::bind(address)?, proxy.build()?).await;
//!     Ok(())
//! }
//! ```
//!
//! `curl -x http://127.0.0.1:3128 https://example.com/` goes through it. It differs from a reverse proxy in its
//! [`Upstream`](proxy_core::Upstream) alone, [`ForwardUpstream`]: the rest is `proxy-core`, and so every filter,
//! limit and metric works here.
//!
//! | you want | take |
//! |---|---|
//! | to reach an address inside | [`ForwardBuilder::allow_private`]; by default it reaches the public internet alone: [`EgressGuard`] |
//! | to say who may go where, and when | [`Policy`] of [`Rule`]s, [`DomainFile`] for long lists |
//! | names and passwords | [`BasicAuth`] with a [`PasswordFile`], or [`Credentials`] of your own |
//! | clients that speak SOCKS | [`SocksListener`] around any listener |
//! | other ports than those of the web | [`Ports`] |
//! | origins not to know who asks | [`Anonymity`] |
//! | names from elsewhere than the system | [`Resolver`] over a [`Lookup`] of your own |
//! | browsers to find the proxy by themselves | [`PacFile`] |
//! | tunnels to lead where they say they lead | [`ServerNames`] |
//! | to go by another proxy, HTTP or SOCKS, or by one of several | [`ParentProxy`], [`Parents`] |
//! | tests without sockets | a [`Dial`] of your own |

mod anonymity;
mod auth;
mod destination;
mod dialler;
mod egress;
mod flights;
mod origins;
mod pac;
mod parent;
mod parents;
mod policy;
mod refusal;
mod resolver;
mod socks;
mod upstream;
mod user;
mod watched;

pub use anonymity::Anonymity;
pub use auth::{BasicAuth, Credentials, Login, PasswordFile, PasswordFileError};
pub use destination::{Destination, DestinationError, Host};
pub use dialler::{Dial, TcpDial};
pub use egress::{AddressClass, Checked, EgressGuard};
pub use pac::PacFile;
pub use parent::{Parent, ParentConnector, ParentError, ParentProxy};
pub use parents::Parents;
pub use policy::{Action, DomainFile, DomainList, ParseWindowError, Policy, Rule, RuleError, Window};
pub use refusal::Refusal;
pub use resolver::{Answer, Lookup, ResolveError, Resolver, ResolverSettings, SystemLookup};
pub use socks::{SocksListener, SocksStream};
pub use upstream::{ForwardBuilder, ForwardUpstream, Ports, ServerNames};
pub use user::User;
