use std::collections::HashSet;
use std::net::Ipv4Addr;

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, RecordType};
use proptest::prelude::{any, prop_assert, proptest};
use proxy_core::{Backend, BackendState};

use super::*;

/// Backends at these addresses, each in a zone.
fn backends(all: &[(&str, &str)]) -> BackendSet {
    BackendSet::new(
        all.iter().map(|(address, zone)| {
            Backend::builder(address.parse().unwrap()).label(crate::SameZone::LABEL, zone).build()
        }),
    )
}

/// The usual ones: two in `a`, one of them with an IPv6 address too, and two in `b`.
fn usual() -> BackendSet {
    backends(&[
        ("10.0.0.1:80", "a"),
        ("[2001:db8::1]:80", "a"),
        ("10.0.0.2:80", "a"),
        ("10.0.0.3:80", "b"),
        ("10.0.0.3:81", "b"),
        ("somewhere:80", "b"),
    ])
}

fn responder(set: &BackendSet) -> DnsResponder {
    let builder = DnsResponder::builder("lb.example").unwrap().name("app.lb.example.", set.clone()).unwrap();
    let builder = builder.name("deep.er.lb.example", set.clone()).unwrap();
    let builder =
        builder.network("192.0.2.0/24".parse().unwrap(), "a").network("198.51.100.0/24".parse().unwrap(), "b");
    builder.name_server("ns.lb.example", ["203.0.113.53".parse().unwrap()]).unwrap().seed(7).build()
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    query
}

fn subnet(mut query: Message, address: &str, source: u8, scope: u8) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new(address.parse().unwrap(), source, scope)));
    query.set_edns(edns);
    query
}

const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

fn ask(responder: &DnsResponder, query: &Message, from: IpAddr) -> Message {
    let answer = responder.0.reply(&query.to_vec().unwrap(), from, Transport::Udp).expect("an answer");
    let answer = Message::from_vec(&answer).expect("it is well-formed");
    assert_eq!((answer.metadata.id, answer.edns.is_some()), (query.metadata.id, query.edns.is_some()));
    answer
}

/// The addresses, in no order.
fn addresses(answer: &Message) -> Vec<String> {
    let mut all: Vec<_> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    all.sort();
    all
}

#[test]
fn names_are_answered_with_backends() {
    let responder = responder(&usual());
    let check = |name: &str, kind, code, expected: &[&str]| {
        let answer = ask(&responder, &query(name, kind), ELSEWHERE);
        assert_eq!(
            (answer.metadata.response_code, addresses(&answer)),
            (code, expected.iter().map(ToString::to_string).collect()),
            "{name} {kind}"
        );
        assert_eq!(answer.metadata.authoritative, code != ResponseCode::Refused, "{name}");
        let is_negative = answer.answers.is_empty() && code != ResponseCode::Refused;
        assert_eq!(answer.authorities.len(), usize::from(is_negative), "{name} {kind}: how long that may be kept");
        assert!(answer.answers.iter().all(|record| record.ttl == 5));
    };
    use ResponseCode::{NXDomain, NoError, Refused};
    check("app.lb.example.", RecordType::A, NoError, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    check("APP.lb.Example.", RecordType::A, NoError, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    check("app.lb.example.", RecordType::AAAA, NoError, &["2001:db8::1"]);
    check("app.lb.example.", RecordType::MX, NoError, &[]);
    check("app.lb.example.", RecordType::ANY, NoError, &["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1"]);
    check("lb.example.", RecordType::NS, NoError, &["ns.lb.example."]);
    check("lb.example.", RecordType::SOA, NoError, &["ns.lb.example. hostmaster.lb.example. 1 3600 600 86400 5"]);
    check("lb.example.", RecordType::A, NoError, &[]);
    check("ns.lb.example.", RecordType::A, NoError, &["203.0.113.53"]);
    check("ns.lb.example.", RecordType::AAAA, NoError, &[]);
    check("er.lb.example.", RecordType::A, NoError, &[]);
    check("nobody.lb.example.", RecordType::A, NXDomain, &[]);
    check("x.app.lb.example.", RecordType::A, NXDomain, &[]);
    check("example.", RecordType::A, Refused, &[]);
    check("app.lb.example.org.", RecordType::A, Refused, &[]);
    check("evil-lb.example.", RecordType::A, Refused, &[]);
    check(".", RecordType::NS, Refused, &[]);
    check("lb.example.", RecordType::AXFR, Refused, &[]);
    let mixed = ask(&responder, &query("aPp.Lb.eXample.", RecordType::A), ELSEWHERE);
    assert_eq!(mixed.answers[0].name.to_string(), "aPp.Lb.eXample.", "a resolver may look at the case it chose");
}

#[test]
fn only_those_that_are_well_are_in_answers() {
    let set = usual();
    let responder = responder(&set);
    let of = |kind| addresses(&ask(&responder, &query("app.lb.example.", kind), ELSEWHERE));
    set.set_state("10.0.0.1:80", BackendState::Unhealthy);
    set.set_state("10.0.0.2:80", BackendState::Draining);
    assert_eq!(of(RecordType::A), ["10.0.0.3"]);
    for backend in set.backends() {
        set.set_state(backend.id(), BackendState::Unhealthy);
    }
    let answer = ask(&responder, &query("app.lb.example.", RecordType::A), ELSEWHERE);
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::ServFail, 0));
    set.set_state("[2001:db8::1]:80", BackendState::Healthy);
    assert_eq!(of(RecordType::A), [""; 0]);
    assert_eq!(of(RecordType::AAAA), ["2001:db8::1"]);
}

/// Within 4 standard deviations of 4,000 answers.
#[test]
fn the_first_address_comes_by_weight() {
    let set = BackendSet::new(
        [("10.0.0.1:80", 3), ("10.0.0.2:80", 1)]
            .map(|(address, weight)| Backend::builder(address.parse().unwrap()).weight(weight).build()),
    );
    let responder = DnsResponder::builder("e").unwrap().name("e", set).unwrap().seed(3).answers(1).build();
    let heavy =
        (0..4000).filter(|_| addresses(&ask(&responder, &query("e.", RecordType::A), ELSEWHERE)) == ["10.0.0.1"]);
    assert!(heavy.count().abs_diff(3000) <= 110);
}

#[test]
fn clients_get_the_backends_of_their_zone() {
    let set = usual();
    let responder = responder(&set);
    let a = ["10.0.0.1", "10.0.0.2"];
    let asked = || query("app.lb.example.", RecordType::A);
    let from = |address: &str| addresses(&ask(&responder, &asked(), address.parse().unwrap()));
    assert_eq!(from("192.0.2.7"), a);
    assert_eq!(from("::ffff:192.0.2.7"), a);
    assert_eq!(from("198.51.100.7"), ["10.0.0.3"]);
    assert_eq!(from("203.0.113.7").len(), 3);
    // The resolver's word for its client counts more than where it is itself.
    let with = |address: &str, source| {
        let answer = ask(&responder, &subnet(asked(), address, source, 0), "198.51.100.7".parse().unwrap());
        let echoed = match answer.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Subnet)) {
            Some(EdnsOption::Subnet(subnet)) => {
                (subnet.addr().to_string(), subnet.source_prefix(), subnet.scope_prefix())
            }
            other => panic!("{other:?}"),
        };
        (addresses(&answer), echoed)
    };
    assert_eq!(with("192.0.2.0", 24), (a.map(str::to_owned).to_vec(), ("192.0.2.0".to_owned(), 24, 24)));
    assert_eq!(with("192.0.2.128", 25).1, ("192.0.2.128".to_owned(), 25, 24));
    assert_eq!(
        with("203.0.113.0", 24),
        (vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned(), "10.0.0.3".to_owned()], ("203.0.113.0".to_owned(), 24, 5))
    );
    assert_eq!(with("0.0.0.0", 0), (vec!["10.0.0.3".to_owned()], ("0.0.0.0".to_owned(), 0, 0)));
    // A zone that has nobody left is served by the others.
    set.set_state("10.0.0.1:80", BackendState::Unhealthy);
    set.set_state("10.0.0.2:80", BackendState::Unhealthy);
    set.set_state("[2001:db8::1]:80", BackendState::Unhealthy);
    assert_eq!(from("192.0.2.7"), ["10.0.0.3"]);
}

#[test]
fn long_answers_are_cut_over_udp_and_whole_over_tcp() {
    let many: Vec<_> = (0..100).map(|at| (format!("10.0.1.{at}:80"), "a")).collect();
    let many: Vec<_> = many.iter().map(|(address, zone)| (address.as_str(), *zone)).collect();
    let responder = DnsResponder::builder("e").unwrap().name("e", backends(&many)).unwrap().answers(100).build();
    let plain = query("e.", RecordType::A);
    let cut = ask(&responder, &plain, ELSEWHERE);
    assert!(cut.metadata.truncation && cut.answers.is_empty() && cut.queries == plain.queries);
    let large = subnet(plain.clone(), "0.0.0.0", 0, 0);
    let answer = responder.0.reply(&large.to_vec().unwrap(), ELSEWHERE, Transport::Udp).unwrap();
    assert!(answer.len() <= 1232 && Message::from_vec(&answer).unwrap().metadata.truncation);
    let whole = responder.0.reply(&plain.to_vec().unwrap(), ELSEWHERE, Transport::Tcp).unwrap();
    let whole = Message::from_vec(&whole).unwrap();
    assert_eq!((whole.metadata.truncation, addresses(&whole).into_iter().collect::<HashSet<_>>().len()), (false, 100));
}

#[test]
fn what_is_no_query_is_not_answered_as_one() {
    let responder = responder(&usual());
    let good = || query("app.lb.example.", RecordType::A);
    let check = |query: &Message, code| {
        let answer = ask(&responder, query, ELSEWHERE);
        // Two codes have the number 16.
        assert_eq!(u16::from(answer.metadata.response_code), u16::from(code), "{query}");
        assert!(answer.answers.is_empty(), "{query}");
    };
    let changed = |change: &dyn Fn(&mut Message)| {
        let mut query = good();
        change(&mut query);
        query
    };
    for code in [OpCode::Status, OpCode::Notify, OpCode::Update] {
        check(&changed(&|query| query.metadata.op_code = code), ResponseCode::NotImp);
    }
    check(&changed(&|query| query.queries.clear()), ResponseCode::FormErr);
    check(&changed(&|query| query.queries.extend(good().queries)), ResponseCode::FormErr);
    let of_chaos = changed(&|query| {
        query.queries[0].set_query_class(DNSClass::CH);
    });
    check(&of_chaos, ResponseCode::Refused);
    check(
        &changed(&|query| {
            let mut edns = Edns::new();
            edns.set_version(1);
            query.set_edns(edns);
        }),
        ResponseCode::BADVERS,
    );
    // Bits behind the prefix: those of whole bytes are not sent.
    for (address, source, scope) in
        [("192.0.3.0", 23, 0), ("192.0.2.0", 24, 24), ("2001:db8:1::", 47, 0), ("::ffff:1.2.3.4", 128, 0)]
    {
        check(&subnet(good(), address, source, scope), ResponseCode::FormErr);
    }
}

/// Bytes that are hostile: nothing, or a code.
#[test]
fn hostile_bytes_get_a_code_or_nothing() {
    let responder = responder(&usual());
    let reply = |bytes: &[u8]| responder.0.reply(bytes, ELSEWHERE, Transport::Udp);
    let good = query("app.lb.example.", RecordType::A).to_vec().unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut query = good.clone();
        query[at..at + bytes.len()].copy_from_slice(bytes);
        query
    };
    for nothing in [vec![], vec![0], good[..2].to_vec(), good[..11].to_vec(), with(2, &[0x80]), with(2, &[0xff])] {
        assert_eq!(reply(&nothing), None, "{nothing:?}");
    }
    let mut pointer_loop = good[..12].to_vec();
    pointer_loop.extend([0xc0, 12, 0, 1, 0, 1]);
    let mut forward = good[..12].to_vec();
    forward.extend([0xc0, 40, 0, 1, 0, 1]);
    let mut long_label = good[..12].to_vec();
    long_label.extend([200; 201]);
    let mut long_name = good[..12].to_vec();
    long_name.extend([&[63][..], &[b'a'; 63]].concat().repeat(5));
    long_name.extend([0, 0, 1, 0, 1]);
    let mut two_opts = good.clone();
    two_opts[11] = 2;
    two_opts.extend([0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0].repeat(2));
    let mut short_subnet = good.clone();
    short_subnet[11] = 1;
    short_subnet.extend([0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 8, 0, 8, 0, 4, 0, 1, 32, 0]);
    let mut odd_family = good.clone();
    odd_family[11] = 1;
    odd_family.extend([0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 8, 0, 8, 0, 4, 0, 9, 0, 0]);
    for hostile in [
        good[..12].to_vec(),
        good[..20].to_vec(),
        with(4, &[0xff, 0xff]),
        with(6, &[0xff, 0xff]),
        with(8, &[0xff, 0xff]),
        with(10, &[0xff, 0xff]),
        pointer_loop,
        forward,
        long_label,
        long_name,
        two_opts,
        short_subnet,
        odd_family,
    ] {
        let answer = Message::from_vec(&reply(&hostile).expect("a code")).expect("it is well-formed");
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr, "{hostile:?}");
        assert_eq!(answer.metadata.id.to_be_bytes(), hostile[..2]);
    }
}

proptest! {
    /// Whatever comes: no panic, no answer to an answer, and nothing longer than may be sent.
    #[test]
    fn anything_may_come(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..60_usize, good in any::<bool>()) {
        let responder = responder(&usual());
        let mut query = if good { query("app.lb.example.", RecordType::A).to_vec().unwrap() } else { Vec::new() };
        let at = at.min(query.len());
        query.splice(at..query.len().min(at + 3), bytes);
        let answer = responder.0.reply(&query, ELSEWHERE, Transport::Udp);
        if let Some(answer) = answer {
            prop_assert!(answer.len() <= 1232 && query[2] & 0x80 == 0 && answer[2] & 0x80 != 0);
        }
    }
}

#[test]
fn names_that_cannot_be_are_refused() {
    for bad in ["", ".", "a..b", &"x".repeat(64), "lb.\u{e9}xample"] {
        assert!(DnsResponder::builder(bad).is_err(), "{bad}");
    }
    let zone = || DnsResponder::builder("lb.example").unwrap();
    assert!(zone().name("other.example", usual()).is_err());
    assert!(zone().name("lb.example", usual()).is_ok());
    assert_eq!(zone().name("x.org", usual()).unwrap_err().to_string(), "\"x.org\" is no name of the zone");
}
