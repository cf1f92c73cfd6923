//! Happy Eyeballs (RFC 8305): several addresses in a staggered race.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use proxy_core::Io;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Dial;

/// How long an address has a head start over the next (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

type Attempt<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send + 'a>>;

/// The first connection to any of the addresses. Families alternate, beginning with that of the first
/// address; one starts 250 ms after the one before it, or as soon as that failed.
///
/// # Errors
/// The first attempt's, where all fail.
///
/// # Cancel safety
/// Dropping the future gives all attempts up.
pub(super) async fn race(dial: &dyn Dial, addresses: &[SocketAddr]) -> io::Result<Box<dyn Io>> {
    let order = alternating(addresses);
    if let [only] = order[..] {
        return dial.dial(only).await;
    }
    let mut race = Race { dial, waiting: order.into_iter(), running: Vec::new(), first_error: None };
    race.start();
    let mut head_start = pin!(sleep_until(Instant::now() + HEAD_START));
    poll_fn(|cx| race.poll(cx, head_start.as_mut())).await
}

struct Race<'a> {
    dial: &'a dyn Dial,
    waiting: std::vec::IntoIter<SocketAddr>,
    running: Vec<Attempt<'a>>,
    first_error: Option<io::Error>,
}

impl<'a> Race<'a> {
    /// Starts the next address, if there is one.
    fn start(&mut self) -> bool {
        let Some(address) = self.waiting.next() else { return false };
        self.running.push(self.dial.dial(address));
        true
    }

    fn poll(&mut self, cx: &mut Task<'_>, mut head_start: Pin<&mut Sleep>) -> Poll<io::Result<Box<dyn Io>>> {
        loop {
            if let Poll::Ready(stream) = self.poll_running(cx) {
                return Poll::Ready(Ok(stream));
            }
            // One that failed makes room for the next at once (RFC 8305 §5).
            let now = self.running.is_empty() || head_start.as_mut().poll(cx).is_ready();
            if now && self.start() {
                head_start.as_mut().reset(Instant::now() + HEAD_START);
                continue;
            }
            if self.running.is_empty() {
                return Poll::Ready(Err(self.first_error.take().unwrap_or(io::ErrorKind::AddrNotAvailable.into())));
            }
            return Poll::Pending;
        }
    }

    /// Ready with the first connection that is made. Attempts that failed are forgotten.
    fn poll_running(&mut self, cx: &mut Task<'_>) -> Poll<Box<dyn Io>> {
        let mut index = 0;
        while let Some(attempt) = self.running.get_mut(index) {
            match attempt.as_mut().poll(cx) {
                Poll::Pending => index += 1,
                Poll::Ready(Ok(stream)) => return Poll::Ready(stream),
                Poll::Ready(Err(error)) => {
                    self.first_error.get_or_insert(error);
                    drop(self.running.remove(index));
                }
            }
        }
        Poll::Pending
    }
}

/// The addresses with the families in turn (RFC 8305 §4), each family in its own order.
fn alternating(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, others): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(preferred.next());
        order.extend(others.next());
    }
    order
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;

    /// What becomes of connecting to each address, by its last group; and when each was tried.
    struct Script {
        ends: Vec<(u64, bool)>,
        started: Instant,
        tried: Mutex<Vec<(SocketAddr, u128)>>,
    }

    #[async_trait]
    impl Dial for Script {
        async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Io>> {
            self.tried.lock().unwrap().push((address, self.started.elapsed().as_millis()));
            let (after, connects) = self.ends[usize::from(address.port())];
            tokio::time::sleep(Duration::from_millis(after)).await;
            match connects {
                true => Ok(Box::new(tokio::io::duplex(1).0)),
                false => Err(io::Error::other(address.port().to_string())),
            }
        }
    }

    /// Races addresses whose port is their place in `ends`: milliseconds, and whether that is a connection.
    /// Says how long it took, how it ended, and when each was tried.
    async fn check(hosts: &[&str], ends: &[(u64, bool)], expected: (u64, Result<(), &str>), tried: &[(u16, u128)]) {
        let addresses =
            hosts.iter().enumerate().map(|(port, host)| SocketAddr::new(host.parse().unwrap(), port as u16));
        let addresses: Vec<_> = addresses.collect();
        let script = Script { ends: ends.to_vec(), started: Instant::now(), tried: Mutex::default() };
        let result = race(&script, &addresses).await;
        let got = script.tried.lock().unwrap().iter().map(|(address, at)| (address.port(), *at)).collect::<Vec<_>>();
        assert_eq!(got, tried, "{hosts:?} {ends:?}");
        let result = result.map(drop).map_err(|error| error.to_string());
        let result = result.as_ref().map(|_| ()).map_err(String::as_str);
        assert_eq!(
            (script.started.elapsed().as_millis(), result),
            (u128::from(expected.0), expected.1),
            "{hosts:?} {ends:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_race_with_a_head_start() {
        let (four, six) = ("9.9.9.9", "2620:fe::fe");
        check(&[four], &[(10, true)], (10, Ok(())), &[(0, 0)]).await;
        check(&[four], &[(10, false)], (10, Err("0")), &[(0, 0)]).await;
        // A fast one is not overtaken.
        check(&[six, four], &[(200, true), (0, true)], (200, Ok(())), &[(0, 0)]).await;
        // One that hangs costs 250 ms, not its timeout.
        check(&[six, four], &[(60_000, false), (10, true)], (260, Ok(())), &[(0, 0), (1, 250)]).await;
        // It may still win.
        check(&[six, four], &[(300, true), (100, true)], (300, Ok(())), &[(0, 0), (1, 250)]).await;
        // One that fails makes room at once.
        check(&[six, four], &[(5, false), (10, true)], (15, Ok(())), &[(0, 0), (1, 5)]).await;
        // The first reason is told.
        check(&[six, four], &[(5, false), (10, false)], (15, Err("0")), &[(0, 0), (1, 5)]).await;
        check(
            &[four, four, four],
            &[(600, false), (600, false), (0, true)],
            (500, Ok(())),
            &[(0, 0), (1, 250), (2, 500)],
        )
        .await;
    }

    #[test]
    fn families_take_turns() {
        let check = |from: &[&str], expected: &[&str]| {
            let addresses: Vec<SocketAddr> = from.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(alternating(&addresses).iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        };
        check(&["[1::]:1", "[2::]:1", "1.1.1.1:1", "[3::]:1"], &["[1::]:1", "1.1.1.1:1", "[2::]:1", "[3::]:1"]);
        check(&["1.1.1.1:1", "2.2.2.2:1", "[1::]:1"], &["1.1.1.1:1", "[1::]:1", "2.2.2.2:1"]);
        check(&[], &[]);
    }
}
