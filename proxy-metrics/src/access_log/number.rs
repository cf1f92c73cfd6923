//! Numbers as text, without the machinery of `fmt`: a line has a dozen of them.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

pub(super) fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// With as many digits, zeros in front; what does not fit is cut off in front.
pub(super) fn padded<const DIGITS: usize>(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Seconds with six decimals.
pub(super) fn seconds(out: &mut Vec<u8>, time: Duration) {
    decimal(out, time.as_secs());
    out.push(b'.');
    padded::<6>(out, time.subsec_micros().into());
}

pub(super) fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            decimal(out, first.into());
            for octet in rest {
                out.push(b'.');
                decimal(out, octet.into());
            }
        }
        // Writing to memory does not fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl Fn(&mut Vec<u8>), expected: &str) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn numbers_read_as_they_should() {
        check(|out| decimal(out, 0), "0");
        check(|out| decimal(out, u64::MAX), "18446744073709551615");
        check(|out| padded::<3>(out, 7), "007");
        check(|out| seconds(out, Duration::from_nanos(1_000_001_999)), "1.000001");
        check(|out| seconds(out, Duration::ZERO), "0.000000");
        check(|out| address(out, [192, 0, 2, 10].into()), "192.0.2.10");
        check(|out| address(out, "2001:db8::1".parse().expect("an address")), "2001:db8::1");
    }
}
