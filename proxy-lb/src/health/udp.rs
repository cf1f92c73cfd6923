//! A backend is well if it answers a datagram.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use proxy_core::{Address, Backend};
use tokio::net::UdpSocket;

use super::{Check, CheckFailure};

/// What of an answer is looked at.
const LOOKED_AT: usize = 4096;

/// A backend is well if it answers a datagram: any UDP service, in whatever it speaks.
///
/// ```
/// use proxy_lb::UdpCheck;
///
/// // DNS: who serves the root's name servers? Well is who answers this question, without an error.
/// let question = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01";
/// let check = UdpCheck::new(&question[..]).answer_begins(&b"\x00\x01"[..]);
/// # let _ = check;
/// ```
#[derive(Clone)]
pub struct UdpCheck {
    question: Arc<[u8]>,
    answer: Arc<[u8]>,
}

impl UdpCheck {
    /// Sends this, and takes any answer for a good one.
    pub fn new(question: impl Into<Arc<[u8]>>) -> Self {
        UdpCheck { question: question.into(), answer: Arc::default() }
    }

    /// Takes only answers for good that begin with these bytes, of which the first 4 KiB are looked at.
    #[must_use]
    pub fn answer_begins(mut self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.answer = bytes.into();
        self
    }
}

#[async_trait]
impl Check for UdpCheck {
    async fn check(&self, backend: &Backend) -> Result<(), CheckFailure> {
        let address = match backend.address() {
            Address::Tcp(address) => *address,
            Address::Name(host, port) => resolve(host, *port).await?,
            _ => return Err(CheckFailure::new("no address for UDP")),
        };
        let any = match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        // Others' datagrams do not get through, and a refusal does.
        socket.connect(address).await?;
        socket.send(&self.question).await?;
        let mut room = vec![0; LOOKED_AT];
        let count = socket.recv(&mut room).await?;
        match room[..count].starts_with(&self.answer) {
            true => Ok(()),
            false => Err(CheckFailure::new("another answer")),
        }
    }
}

async fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let found = tokio::net::lookup_host((host, port)).await?.next();
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address"))
}

impl fmt::Debug for UdpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpCheck").field("question", &self.question.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_answers_rightly_is_well() {
        for host in ["127.0.0.1", "::1"] {
            let server = UdpSocket::bind((host, 0)).await.unwrap();
            let backend = Backend::new(server.local_addr().unwrap().into());
            let ask = async |check: UdpCheck| {
                let answer = async {
                    let mut room = [0; 16];
                    let (count, client) = server.recv_from(&mut room).await.unwrap();
                    assert_eq!(&room[..count], b"how?");
                    server.send_to(b"well", client).await.unwrap();
                };
                tokio::join!(check.check(&backend), answer).0
            };
            let check = UdpCheck::new(&b"how?"[..]);
            assert_eq!(ask(check.clone()).await, Ok(()));
            assert_eq!(ask(check.clone().answer_begins(&b"we"[..])).await, Ok(()));
            let ill = ask(check.clone().answer_begins(&b"ill"[..])).await.unwrap_err();
            assert_eq!(ill.to_string(), "another answer");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_known_at_once() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let backend = Backend::new(socket.local_addr().unwrap().into());
        drop(socket);
        let refused = UdpCheck::new(&b"?"[..]).check(&backend).await.unwrap_err();
        assert!(refused.to_string().starts_with("Connection refused"), "{refused}");
    }
}
