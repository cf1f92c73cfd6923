//! Which ports are open.

use std::ops::RangeInclusive;

/// Ports of destinations that a forward proxy connects to, whatever its policy says. What serves another
/// protocol must not be talked to with a request that a web page made up.
///
/// ```
/// use proxy_forward::Ports;
///
/// let ports = Ports::of([443, 8443]).and(9000..=9099);
/// assert!(ports.contains(9001) && !ports.contains(25));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

impl Ports {
    /// These ports and no others.
    pub fn of(ports: impl IntoIterator<Item = u16>) -> Self {
        Ports(ports.into_iter().map(|port| port..=port).collect())
    }

    /// Every port.
    pub fn all() -> Self {
        Ports(vec![1..=u16::MAX])
    }

    /// The default of CONNECT: 443.
    pub fn tls() -> Self {
        Ports::of([443])
    }

    /// The default of requests: 80, 443, 591, and all from 1024 on but those of the services that browsers
    /// keep away from (by the Fetch standard, "bad ports").
    pub fn web() -> Self {
        const BAD: [u16; 18] = [
            1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697,
        ];
        let mut ports = Ports::of([80, 443, 591]);
        let mut from = 1024;
        for bad in BAD {
            ports = ports.and(from..=bad - 1);
            from = bad + 1;
        }
        // 10080 is the last of them.
        ports.and(from..=10_079).and(10_081..=u16::MAX)
    }

    /// These ports as well.
    #[must_use]
    pub fn and(mut self, ports: RangeInclusive<u16>) -> Self {
        self.0.push(ports);
        self
    }

    /// Whether this port is open.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|ports| ports.contains(&port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_to_web_servers() {
        let ports = Ports::web();
        for port in [80, 443, 591, 1024, 1718, 3000, 6001, 8000, 8080, 10_079, 10_081, 65_535] {
            assert!(ports.contains(port), "{port}");
        }
        for port in [0, 1, 22, 25, 110, 143, 587, 1719, 2049, 5060, 6000, 6667, 6697, 10_080] {
            assert!(!ports.contains(port), "{port}");
        }
    }
}
