//! Ways in that are none: every one is refused, and nothing is dialled.

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_forward::Ports;

use crate::stage::{Stage, connect, get};

/// Hosts that are this machine, one beside it, or one that hands out credentials, in every spelling that some
/// resolver or stack takes for them.
const HOSTS: &[&str] = &[
    // 127.0.0.1 as it is, and as `inet_aton` reads it.
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.1.",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7F000001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "0177.0.0.01",
    "00000177.0.0.1",
    "127.0.0.01",
    "127.00.0.1",
    "127.0.0.0x1",
    "127.255.255.254",
    "0",
    "0.0.0.0",
    "0.0.0.0.",
    "0x0",
    "00",
    "0.1.2.3",
    "4294967295",
    "4294967296",
    "1.2.3.4.5",
    "256.256.256.256",
    // Percent-encoded, in other scripts, with user information in front.
    "%31%32%37.0.0.1",
    "127%2e0.0.1",
    "127.0.0.1%00.one.example",
    "one.example%2f@127.0.0.1",
    "user@127.0.0.1",
    "user:password@127.0.0.1",
    "one.example@127.0.0.1",
    "127.0.0.1\\@one.example",
    "127.0.0.1#.one.example",
    // IPv6, and IPv4 inside of it.
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::1]",
    "[2001:0:7f00:1::1]",
    "[2001:0:808:808::80ff:fffe]",
    "[2606:4700::5efe:127.0.0.1]",
    "[::1%25lo]",
    "[::1%lo]",
    "[127.0.0.1]",
    "::1",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a00:1::]",
    "[fe80::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "[ff02::1]",
    "[2001:db8::1]",
    "[100::1]",
    // Networks inside, and everything that is no host of the internet.
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "167772161",
    "0xa9fea9fe",
    "2852039166",
    // Names.
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "loopback.example",
    "mapped.example",
    "private.example",
    "both.example",
    "metadata.example",
    "nat64.example",
    "zero.example",
    "changes.example",
    "missing.example",
    "127.0.0.1.loopback.example",
    "",
    ".",
    "..",
    "a..b",
    "*.example",
];

fn stage() -> Stage {
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.connect_ports(Ports::all()));
    let add = |name: &str, addresses: &[&[&str]]| stage.names.add(name, addresses);
    for name in ["localhost", "a.localhost"] {
        add(name, &[&["127.0.0.1", "::1"]]);
    }
    add("loopback.example", &[&["127.0.0.1"]]);
    add("127.0.0.1.loopback.example", &[&["127.0.0.1"]]);
    add("mapped.example", &[&["::ffff:127.0.0.1"]]);
    add("private.example", &[&["192.168.1.1"]]);
    add("both.example", &[&["10.0.0.1", "fd00::1", "172.16.0.1"]]);
    add("metadata.example", &[&["169.254.169.254"]]);
    add("nat64.example", &[&["64:ff9b::a9fe:a9fe"]]);
    add("zero.example", &[&["0.0.0.0", "::"]]);
    add("changes.example", &[&["127.0.0.1"], &["93.184.215.1"], &["127.0.0.1"]]);
    stage
}

#[tokio::test(start_paused = true)]
async fn nothing_inside_is_reached_in_any_spelling() {
    assert!(HOSTS.len() >= 80, "{}", HOSTS.len());
    let stage = stage();
    for host in HOSTS {
        for request in [
            get(&format!("http://{host}/")),
            get(&format!("http://{host}:8080/latest/meta-data/")),
            connect(&format!("{host}:443")),
        ] {
            let status = stage.status(&request).await;
            assert!([400, 403, 502].contains(&status), "{status} to {request:?}");
            assert_eq!(stage.origins.tried(), Vec::<String>::new(), "{request:?}");
        }
    }
}

/// An answer that passed is what is dialled, whatever the name's next answer is.
#[tokio::test(start_paused = true)]
async fn the_address_that_was_checked_is_the_one_that_is_dialled() {
    let stage = stage();
    stage.names.add("rebinds.example", &[&["93.184.215.9"], &["127.0.0.1"]]);
    for _ in 0..3 {
        assert_eq!(stage.ask(get("http://rebinds.example/")).await.status(), 200);
        assert_eq!(stage.status(connect("rebinds.example:443")).await, 200);
    }
    assert_eq!(stage.names.asked(), 1);
    // Once the answer has lost its time the next one is checked in turn.
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    assert_eq!(stage.ask(get("http://rebinds.example/")).await.status(), 403);
    assert!(
        stage.origins.tried().iter().all(|address| address.starts_with("93.184.215.9:")),
        "{:?}",
        stage.origins.tried()
    );
}

/// Of an answer with addresses of both kinds only those outside are tried.
#[tokio::test(start_paused = true)]
async fn an_answer_with_an_address_inside_leads_outside_only() {
    let origins = ScriptedConnector::always(Script::refuse());
    let stage = Stage::with(origins, |builder| builder.connect_ports(Ports::all()));
    stage.names.add("mixed.example", &[&["127.0.0.1", "93.184.215.9", "::1", "10.0.0.1"]]);
    assert_eq!(stage.ask(connect("mixed.example:22")).await.status(), 502);
    assert_eq!(stage.origins.tried(), ["93.184.215.9:22"]);
}

#[tokio::test(start_paused = true)]
async fn ports_of_other_protocols_are_closed() {
    let stage = Stage::new(Script::ok());
    for port in [1, 22, 25, 110, 143, 587, 2049, 6000, 6667] {
        assert_eq!(stage.ask(get(&format!("http://one.example:{port}/"))).await.status(), 403, "{port}");
        assert_eq!(stage.ask(connect(&format!("one.example:{port}"))).await.status(), 403, "{port}");
    }
    for authority in ["one.example:80", "one.example:8443"] {
        assert_eq!(stage.ask(connect(authority)).await.status(), 403, "{authority}");
    }
    for authority in ["one.example:0", "one.example", "one.example:", "one.example:65536", "one.example:http"] {
        assert_eq!(stage.ask(connect(authority)).await.status(), 400, "{authority}");
    }
    assert_eq!((stage.origins.connections(), stage.names.asked()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_proxys_own_listener_is_closed_where_all_is_open() {
    let origins = ScriptedConnector::always(Script::ok());
    let stage = Stage::with(origins, |builder| {
        let open = ["0.0.0.0/0", "::/0"].map(|range| range.parse().unwrap());
        let builder = open.into_iter().fold(builder, proxy_forward::ForwardBuilder::allow_private);
        builder.own("0.0.0.0:3128".parse().unwrap()).connect_ports(Ports::all())
    });
    for host in ["127.0.0.1", "127.9.9.9", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1"] {
        assert_eq!(stage.ask(get(&format!("http://{host}:3128/"))).await.status(), 403, "{host}");
        assert_eq!(stage.ask(connect(&format!("{host}:3128"))).await.status(), 403, "{host}");
    }
    assert_eq!(stage.origins.connections(), 0);
    assert_eq!(stage.ask(get("http://127.0.0.1:3129/")).await.status(), 200);
}
