use proptest::prelude::{any, proptest};
use proptest::test_runner::Config;

use super::*;

const MAX: usize = 16 * 1024;

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(body)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &vector16(&[&[0][..], &vector16(name)].concat()))
}

fn alpn(names: &[&str]) -> Vec<u8> {
    let names: Vec<u8> = names.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat()).collect();
    extension(16, &vector16(&names))
}

/// The message, with its head, of a hello with these extensions.
fn message(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0]); // no session
    body.extend([0, 2, 0x13, 0x01]);
    body.extend([1, 0]);
    body.extend(vector16(extensions));
    headed(&body)
}

fn headed(body: &[u8]) -> Vec<u8> {
    [&[1, 0][..], &u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

/// In records of so many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &vector16(part)].concat()).collect()
}

fn asks_for(name: Option<&str>, protocols: &[&str]) -> Peeked {
    let protocols = protocols.iter().map(|name| name.as_bytes().into()).collect();
    Peeked::Hello(ClientHello { server_name: name.map(Into::into), protocols })
}

#[test]
fn a_hello_says_where_it_goes() {
    let check = |extensions: &[Vec<u8>], name, protocols: &[&str]| {
        let message = message(&extensions.concat());
        for size in [MAX, 100, 40, 7] {
            assert_eq!(peek(&records(&message, size), MAX), asks_for(name, protocols), "in records of {size}");
        }
    };
    let grease = || extension(0x1a1a, &[0]);
    check(&[sni(b"a.example")], Some("a.example"), &[]);
    check(&[grease(), sni(b"A.Example."), alpn(&["h2", "http/1.1"])], Some("a.example"), &["h2", "http/1.1"]);
    check(&[alpn(&["acme-tls/1"]), grease(), grease()], None, &["acme-tls/1"]);
    check(&[sni(b"192.0.2.1")], Some("192.0.2.1"), &[]);
    check(&[sni(b"::1")], Some("::1"), &[]);
    check(&[], None, &[]);
    // Without a place for extensions at all.
    let short = headed(&[&[3, 1][..], &[0; 32], &[0], &[0, 2, 0, 5], &[1, 0]].concat());
    assert_eq!(peek(&records(&short, 100), MAX), asks_for(None, &[]));
}

#[test]
fn what_no_client_should_send_is_refused() {
    use ErrorKind::{BadClientHello, NotTls};
    let check = |bytes: &[u8], kind| assert_eq!(peek(bytes, MAX), Peeked::Refused(kind), "{}", bytes.escape_ascii());
    let bad = |extensions: &[u8]| check(&records(&message(extensions), MAX), BadClientHello);
    for other in [&b"GET / HTTP/1.1\r\n"[..], b"\0", b"\x16\x02", b"\x16\x03\x05", b"\x15\x03\x01", b"\x80\x2e\x01\x03"]
    {
        check(other, NotTls);
    }
    let good = message(&sni(b"a.example"));
    // Records: empty, too long, of another kind in the middle, one more message behind.
    check(&[22, 3, 1, 0, 0], BadClientHello);
    check(&[22, 3, 1, 0x40, 1], BadClientHello);
    check(&[&records(&good, 20)[..25], &[21, 3, 1, 0, 2]].concat(), NotTls);
    check(&records(&[&good[..], &[1]].concat(), MAX), BadClientHello);
    check(&records(&good, 1), BadClientHello); // more records than anybody needs
    // Messages: another one, longer than the limit, which is seen at once.
    check(&records(&[2, 0, 0, 1, 0], MAX), BadClientHello);
    check(&[22, 3, 1, 0, 50, 1, 0, 0x40, 0], BadClientHello);
    check(&[22, 3, 1, 0, 50, 1, 0xff, 0xff, 0xff], BadClientHello);
    // Vectors that end too early or too late.
    let without_extensions = 4 + 2 + 32 + 1 + 4 + 2; // which is legal
    for end in (5..good.len()).filter(|end| *end != without_extensions) {
        check(&records(&headed(&good[4..end]), MAX), BadClientHello);
    }
    check(&records(&headed(&[&good[4..], &[0]].concat()), MAX), BadClientHello);
    let body = |from: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[4 + from..4 + from + bytes.len()].copy_from_slice(bytes);
        check(&records(&changed, MAX), BadClientHello);
    };
    body(0, &[2]); // version
    body(34, &[33]); // session
    body(35, &[0, 3]); // an odd list of ciphers
    body(35, &[0, 0]);
    body(39, &[0]); // no compression
    // Names and protocols.
    bad(&sni(b""));
    bad(&sni(b"."));
    bad(&sni(b"a.."));
    bad(&sni(b".a"));
    bad(&sni(b"a..b"));
    bad(&sni(b"a b"));
    bad(&sni(b"a\0.example"));
    bad(&sni(b"a/../b"));
    bad(&sni("bücher.example".as_bytes()));
    bad(&sni(&[b'a'; 256]));
    bad(&[sni(b"a"), sni(b"a")].concat());
    bad(&extension(0, &[]));
    bad(&extension(0, &vector16(&[&[1][..], &vector16(b"a")].concat())));
    bad(&extension(0, &vector16(&[&[0][..], &vector16(b"a"), &[0], &vector16(b"b")].concat())));
    bad(&extension(0, &[&vector16(&[&[0][..], &vector16(b"a")].concat())[..], &[0]].concat()));
    bad(&alpn(&[]));
    bad(&alpn(&["h2", ""]));
    bad(&[alpn(&["h2"]), alpn(&["h2"])].concat());
    bad(&extension(16, &[0, 3, 2, b'h']));
}

#[test]
fn a_hello_may_be_as_long_as_the_limit() {
    let bytes = records(&message(&[sni(b"a.example"), extension(21, &[0; 4000])].concat()), 1000);
    assert_eq!(peek(&bytes, bytes.len()), asks_for(Some("a.example"), &[]));
    assert_eq!(peek(&bytes, bytes.len() - 1), Peeked::Refused(ErrorKind::BadClientHello));
}

proptest! {
    #![proptest_config(Config { cases: 500, failure_persistence: None, ..Config::default() })]

    /// However it is cut into records, and however few bytes are there: the answer is the same, and it is never asked
    /// for more bytes than the hello has, nor for none.
    #[test]
    fn a_hello_arrives_in_any_pieces(size in 8..200_usize, changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..3)) {
        let mut bytes = records(&message(&[sni(b"a.example"), alpn(&["h2"])].concat()), size);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let all = peek(&bytes, MAX);
        let mut end = 0;
        loop {
            match peek(&bytes[..end], MAX) {
                Peeked::Incomplete { wanted } => {
                    assert!(wanted > end, "{wanted} of {end}");
                    if wanted > bytes.len() {
                        // A length was changed: it has to be so with all of the bytes, too.
                        assert!(matches!(all, Peeked::Incomplete { .. } | Peeked::Refused(_)), "{all:?}");
                        break;
                    }
                    end = wanted;
                }
                decided => {
                    assert_eq!(decided, all);
                    break;
                }
            }
        }
        for end in 0..bytes.len() {
            let early = peek(&bytes[..end], MAX);
            assert!(matches!(early, Peeked::Incomplete { .. }) || early == all, "{early:?}, {all:?}");
        }
    }
}
