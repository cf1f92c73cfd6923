use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;

use super::*;

const MAX: usize = 4096;

/// A header of version 2.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

/// 192.0.2.1:5000 to 192.0.2.2:80.
const TCP4: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 0x13, 0x88, 0, 80];

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

/// With the right checksum as its last value.
fn checksummed(rest: &[u8]) -> Vec<u8> {
    let mut whole = v2(0x21, 0x11, &[rest, &tlv(CHECKSUM, &[0; 4])].concat());
    let (sum, at) = (CRC32C.checksum(&whole), whole.len() - 4);
    whole[at..].copy_from_slice(&sum.to_be_bytes());
    whole
}

#[test]
fn headers_say_who_the_client_is() {
    let check = |bytes: &[u8], expected: Option<(&str, &str)>| {
        let Start::Header(header, length) = start(bytes, MAX) else { panic!("{}", bytes.escape_ascii()) };
        assert_eq!(length, bytes.len());
        let expected = expected.map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap()));
        assert_eq!(header.addresses, expected, "{}", bytes.escape_ascii());
        // Byte by byte it is a header no sooner, and what follows is not part of it.
        assert!((0..bytes.len()).all(|end| start(&bytes[..end], MAX) == Start::Incomplete));
        let followed = [bytes, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(start(&followed, MAX), Start::Header(header, length));
    };
    let client = Some(("192.0.2.1:5000", "192.0.2.2:80"));
    check(b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n", client);
    check(b"PROXY TCP4 192.0.2.1 192.0.2.2 0 65535\r\n", Some(("192.0.2.1:0", "192.0.2.2:65535")));
    check(b"PROXY TCP6 2001:db8::1 ::1 5000 80\r\n", Some(("[2001:db8::1]:5000", "[::1]:80")));
    check(b"PROXY UNKNOWN\r\n", None);
    check(b"PROXY UNKNOWN ffff:f... whatever stands here\r\n", None);
    check(&[b"PROXY UNKNOWN ", &[b'x'; 91][..], b"\r\n"].concat(), None);
    check(&v2(0x21, 0x11, TCP4), client);
    check(&v2(0x21, 0x11, &[TCP4, &tlv(0xe1, b"mine"), &tlv(PADDING, &[0; 9])].concat()), client);
    check(&checksummed(TCP4), client);
    check(&checksummed(&[TCP4, &tlv(UNIQUE_ID, b"one")].concat()), client);
    check(
        &v2(0x21, 0x21, &[1; 36]),
        Some(("[101:101:101:101:101:101:101:101]:257", "[101:101:101:101:101:101:101:101]:257")),
    );
    // Not of a stream, or of nobody in particular.
    check(&v2(0x21, 0x12, TCP4), None);
    check(&v2(0x21, 0x31, &[0; 216]), None);
    check(&v2(0x21, 0x00, b""), None);
    check(&v2(0x21, 0x00, &tlv(AUTHORITY, b"a.example")), None);
    check(&v2(0x20, 0x00, b""), None);
    check(&v2(0x20, 0x11, TCP4), None);
    // Of a LOCAL one, nothing behind the length counts.
    check(&v2(0x20, 0x11, b"short"), None);
}

#[test]
fn values_are_kept_in_order() {
    let rest = [TCP4, &tlv(AUTHORITY, b"a.example"), &tlv(0xe0, b"x"), &tlv(0xe0, b"y"), &tlv(PADDING, b"")].concat();
    let Start::Header(header, _) = start(&checksummed(&rest), MAX) else { panic!("a header") };
    assert_eq!((header.authority(), header.unique_id()), (Some("a.example"), None));
    let values: Vec<_> = header.values().collect();
    assert_eq!(values, [(AUTHORITY, &b"a.example"[..]), (0xe0, b"x"), (0xe0, b"y")]);
}

#[test]
fn what_begins_like_a_header_and_is_none_is_malformed() {
    let check = |bytes: &[u8]| assert_eq!(start(bytes, MAX), Start::Malformed, "{}", bytes.escape_ascii());
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80 \r\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 5000 80\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 080\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 05000 80\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +5000 80\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 -1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 65536\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 \r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 5000 80\r\n",
        "PROXY TCP4 192.0.2 192.0.2.2 5000 80\r\n",
        "PROXY TCP4 ::1 ::1 5000 80\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 5000 80\r\n",
        "PROXY TCP6 [::1] ::1 5000 80\r\n",
        "PROXY TCP6 fe80::1%1 ::1 5000 80\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 5000 80\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 5000 80\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 5000 80\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\r\n",
        "PROXY UNKNOWN\rx\r\n",
        "PROXY UNKNOWN x\nGET / HTTP/1.1\r\n",
    ] {
        check(line.as_bytes());
    }
    check(&[b"PROXY UNKNOWN ", &[b'x'; 92][..], b"\r\n"].concat());
    check(&[b"PROXY TCP4 ", &[b'1'; 200][..]].concat());
    // Refused before the rest is there, however long that is said to be.
    check(&[&SIGNATURE[..], &[0x11, 0x11, 0, 12]].concat());
    check(&[&SIGNATURE[..], &[0x22, 0x11, 0, 12]].concat());
    check(&[&SIGNATURE[..], &[0x21, 0x13, 0, 12]].concat());
    check(&[&SIGNATURE[..], &[0x21, 0x41, 0, 12]].concat());
    check(&[&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat());
    check(&[&SIGNATURE[..], &[0x20, 0x00, 0xff, 0xff]].concat());
    // Addresses that do not fit, and values that do not fill their place.
    check(&v2(0x21, 0x11, &TCP4[..11]));
    check(&v2(0x21, 0x11, b""));
    check(&v2(0x21, 0x21, &[1; 35]));
    check(&v2(0x21, 0x31, &[0; 215]));
    check(&v2(0x21, 0x11, &[TCP4, &[4]].concat()));
    check(&v2(0x21, 0x11, &[TCP4, &[4, 0]].concat()));
    check(&v2(0x21, 0x11, &[TCP4, &[4, 0, 1]].concat()));
    check(&v2(0x21, 0x11, &[TCP4, &tlv(PADDING, b""), &[0xe0, 0xff, 0xff, 1]].concat()));
    check(&v2(0x21, 0x11, &[TCP4, &tlv(AUTHORITY, &[0xff])].concat()));
    check(&v2(0x21, 0x11, &[TCP4, &tlv(UNIQUE_ID, &[b'x'; 129])].concat()));
    check(&v2(0x21, 0x11, &[TCP4, &tlv(0x20, &[1, 0, 0, 0])].concat()));
    // Checksums: wrong, of a wrong length, twice.
    check(&v2(0x21, 0x11, &[TCP4, &tlv(CHECKSUM, &[1, 2, 3, 4])].concat()));
    check(&v2(0x21, 0x11, &[TCP4, &tlv(CHECKSUM, &[0; 3])].concat()));
    check(&checksummed(&[TCP4, &tlv(CHECKSUM, &[0; 4])].concat()));
    let mut flipped = checksummed(TCP4);
    flipped[17] ^= 1;
    check(&flipped);
}

#[test]
fn other_bytes_are_the_connections_own() {
    let check = |bytes: &[u8]| assert_eq!(start(bytes, MAX), Start::Other, "{}", bytes.escape_ascii());
    check(b"GET / HTTP/1.1\r\n");
    check(b"PROXY/");
    check(b"PROPFIND / HTTP/1.1\r\n");
    check(b"proxy TCP4");
    check(b"\r\n\r\nGET");
    check(b"\r\n\r\n\0\r\nQUIT\r");
    check(b"\x16\x03\x01");
    check(b"\0");
}

/// Headers, and what is nearly one.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let header = prop_oneof![
        Just(b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n".to_vec()),
        Just(checksummed(&[TCP4, &tlv(AUTHORITY, b"a")].concat())),
        (any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(command, family, rest)| v2(0x20 | command & 1, family & 0x33, &rest)),
    ];
    (header, proptest::collection::vec((any::<usize>(), any::<u8>()), 0..3), any::<usize>()).prop_map(
        |(mut bytes, changes, end)| {
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len() - end % 8 % bytes.len());
            bytes
        },
    )
}

proptest! {
    #![proptest_config(Config { cases: 2000, failure_persistence: None, ..Config::default() })]

    /// What was decided of a prefix stands, whatever follows; and no header takes more than there is.
    #[test]
    fn a_decision_does_not_depend_on_how_bytes_arrive(bytes in nearly()) {
        let all = start(&bytes, MAX);
        for end in 0..bytes.len() {
            let early = start(&bytes[..end], MAX);
            assert!(early == Start::Incomplete || early == all, "{early:?} of {end}, {all:?}: {}", bytes.escape_ascii());
        }
        if let Start::Header(_, length) = all {
            assert!(length <= bytes.len() && length <= MAX);
        }
    }
}
