use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

use super::*;
use crate::Limits;
use crate::http1::parse;

fn request(fields: &str) -> RequestHead {
    let text = format!("GET / HTTP/1.1\r\nHost: h:80\r\n{fields}\r\n");
    parse::request(text.as_bytes(), &Limits::default()).unwrap().unwrap().head
}

fn lines(headers: &Headers) -> String {
    let mut out = Vec::new();
    headers.write_to(&mut out);
    String::from_utf8(out).unwrap().replace("\r\n", "\n").replacen("Host: h:80\n", "", 1)
}

fn peer(address: &str) -> Peer {
    let mut peer = Peer::new(format!("{address}:4711").parse().unwrap());
    peer.local = Some("127.0.0.1:8080".parse().unwrap());
    peer
}

fn trusting() -> Forwarding {
    Forwarding::none().trust(["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()])
}

/// What is sent on of these fields of a request from this peer.
fn check(settings: &Forwarding, from: &str, fields: &str, expected: &str) {
    let mut head = request(fields);
    settings.apply(&mut head, &peer(from), "http", false);
    assert_eq!(lines(head.headers()), expected, "{fields:?} from {from}");
}

const OURS: &str = "X-Forwarded-For: 1.2.3.4\nX-Forwarded-Proto: http\nVia: 1.1 proxy\n";

#[test]
fn hop_by_hop_fields_go() {
    let check = |fields: &str, expected: &str| check(&Forwarding::none(), "1.2.3.4", fields, expected);
    check("Accept: a\r\n", "Accept: a\n");
    check("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nA: 1\r\n", "A: 1\n");
    check("Connection: close, X-A ,x-b\r\nconnection: x-c\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\nx-a: 4\r\n", "");
    check("Proxy-Connection: keep-alive\r\nProxy-Authorization: x\r\nUpgrade: websocket\r\n", "");
    check("Transfer-Encoding: chunked\r\nTrailer: x\r\n", "Trailer: x\n");
    check("TE: trailers\r\n", "TE: trailers\n");
    check("Connection: te\r\nTE: gzip;q=0.5, Trailers\r\n", "TE: trailers\n");
    check("TE: gzip\r\n", "");
    check("Connection: \u{e4}, ,\r\nA: 1\r\n", "A: 1\n");
}

#[test]
fn what_an_exchange_stands_on_cannot_be_nominated_away() {
    let fields = "Content-Length: 0\nCookie: a\nAuthorization: b\nVia: 1.1 x\nSec-Fetch-Site: cross-site\nTrailer: t\n";
    let nominate = "Connection: host, content-length, Cookie, authorization, via, sec-fetch-site, trailer\r\n";
    check(&Forwarding::none(), "1.2.3.4", &(nominate.to_owned() + &fields.replace('\n', "\r\n")), fields);
    let nominate = "Connection: X-Forwarded-For, forwarded\r\nX-Forwarded-For: 5.6.7.8\r\nForwarded: for=5.6.7.8\r\n";
    check(&trusting(), "10.0.0.1", nominate, "X-Forwarded-For: 5.6.7.8\nForwarded: for=5.6.7.8\n");
}

#[test]
fn too_many_nominations_mean_every_field() {
    let many = format!("Connection: {}\r\nA: 1\r\nX-Other: 2\r\nCookie: c\r\n", "x,".repeat(5000));
    check(&Forwarding::none(), "1.2.3.4", &many, "Cookie: c\n");
}

#[test]
fn an_upgrade_is_passed_on_when_asked_for() {
    let check = |fields: &str, upgrade, expected: (bool, &str)| {
        let mut head = request(fields);
        let upgrades = Forwarding::none().apply(&mut head, &peer("1.2.3.4"), "http", upgrade);
        assert_eq!((upgrades, &*lines(head.headers())), expected, "{fields:?}");
    };
    let websocket = "Connection: Upgrade, x\r\nUpgrade: websocket\r\nX: 1\r\nSec-WebSocket-Key: k\r\n";
    check(websocket, true, (true, "Upgrade: websocket\nSec-WebSocket-Key: k\nConnection: upgrade\n"));
    check(websocket, false, (false, "Sec-WebSocket-Key: k\n"));
    check("A: 1\r\n", true, (false, "A: 1\n"));
    let h2c = "Connection: upgrade, http2-settings\r\nUpgrade: foo, H2C\r\nHTTP2-Settings: x\r\n";
    check(h2c, true, (false, ""));
}

#[test]
fn untrusted_claims_are_overwritten() {
    let claims = "X-Forwarded-For: 9.9.9.9\r\nX-Real-IP: 9\r\nx-forwarded-proto: https\r\nX-Forwarded-Host: evil\r\n\
                  X-Forwarded-Port: 1\r\nForwarded: for=9\r\n";
    check(&Forwarding::default(), "1.2.3.4", claims, OURS);
    check(&Forwarding::default(), "[::ffff:1.2.3.4]", claims, OURS);
    check(&Forwarding::none(), "1.2.3.4", claims, "");
    check(&trusting(), "1.2.3.4", claims, "");
    check(&Forwarding::default(), "1.2.3.4", "", OURS);
    check(
        &Forwarding::default().via(false).x_forwarded_host(false).x_forwarded_proto(false),
        "[2001:db8::1]",
        "",
        "X-Forwarded-For: 2001:db8::1\n",
    );
}

#[test]
fn claims_of_every_name_and_spelling_are_removed() {
    let fields = "X-Forwarded-Prefix: /a\r\nx-forwarded-ssl: on\r\nX-Forwarded: 1\r\n";
    let spelled = "X_Forwarded_For: 9\r\nX-Forwarded_Proto: https\r\nx_real_ip: 9\r\nX_FORWARDED_SERVER: s\r\n\
                   Content_Length: 5\r\nTransfer_Encoding: chunked\r\nKeep_Alive: 5\r\nProxy_Authorization: x\r\n";
    let others = "X_Request_Id: 1\r\nX-Forward: 2\r\n";
    let all = format!("{fields}{spelled}{others}");
    check(&trusting(), "1.2.3.4", &all, &others.replace("\r\n", "\n"));
    check(&trusting(), "10.0.0.1", &all, &format!("{fields}{others}").replace("\r\n", "\n"));
    // Nominating them changes nothing, and neither does a hop-by-hop field beside them.
    check(
        &trusting(),
        "1.2.3.4",
        &format!("Connection: close, x_forwarded_for\r\n{all}"),
        &others.replace("\r\n", "\n"),
    );
}

#[test]
fn trusted_claims_are_kept_and_continued() {
    let check = |settings: Forwarding, fields: &str, expected: &str| check(&settings, "10.0.0.1", fields, expected);
    let all = || trusting().x_forwarded_for(true);
    check(
        all(),
        "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n",
        "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.0.0.1\n",
    );
    check(all(), "X-Forwarded-For:\r\n", "X-Forwarded-For: 10.0.0.1\n");
    check(all(), "", "X-Forwarded-For: 10.0.0.1\n");
    check(trusting(), "X-Forwarded-For: 1.1.1.1\r\n", "X-Forwarded-For: 1.1.1.1\n");
    check(trusting().x_forwarded_proto(true), "X-Forwarded-Proto: https\r\n", "X-Forwarded-Proto: https\n");
    check(trusting().x_forwarded_port(true), "X-Forwarded-Port: 443\r\n", "X-Forwarded-Port: 443\n");
    check(trusting().x_forwarded_port(true), "", "X-Forwarded-Port: 8080\n");
    check(trusting().x_real_ip(true), "", "X-Real-IP: 10.0.0.1\n");
    let with_client = "X-Forwarded-For: 1.1.1.1\r\n";
    check(trusting().x_real_ip(true), with_client, "X-Forwarded-For: 1.1.1.1\nX-Real-IP: 1.1.1.1\n");
    check(
        trusting().forwarded(true),
        "Forwarded: for=1.1.1.1\r\n",
        "Forwarded: for=1.1.1.1, for=10.0.0.1;host=\"h:80\";proto=http\n",
    );
    check(trusting().via(true), "Via: 1.0 a\r\n", "Via: 1.0 a\nVia: 1.1 proxy\n");
}

#[test]
fn forwarded_follows_its_grammar() {
    let settings = Forwarding::none().forwarded(true);
    check(&settings, "1.2.3.4", "", "Forwarded: for=1.2.3.4;host=\"h:80\";proto=http\n");
    check(&settings, "[2001:db8::1]", "", "Forwarded: for=\"[2001:db8::1]\";host=\"h:80\";proto=http\n");
    let mut head = RequestHead::new(http::Method::GET, "/").unwrap();
    settings.apply(&mut head, &Peer::default(), "https", false);
    assert_eq!(head.headers().get("forwarded"), Some(&b"for=unknown;proto=https"[..]));
}

#[test]
fn a_peer_without_address_is_not_trusted() {
    let mut head = request("X-Forwarded-For: 9.9.9.9\r\n");
    Forwarding::default().trust(["0.0.0.0/0".parse().unwrap()]).apply(&mut head, &Peer::default(), "http", false);
    assert!(!head.headers().contains("x-forwarded-for"));
}

#[test]
fn the_client_is_the_last_address_not_trusted() {
    let check = |from: &str, fields: &str, expected: &str| {
        let client = trusting().client_addr(&request(fields), from.parse().unwrap());
        assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{fields:?} from {from}");
    };
    check("1.2.3.4", "X-Forwarded-For: 5.5.5.5\r\n", "1.2.3.4");
    check("::ffff:1.2.3.4", "", "1.2.3.4");
    check("10.0.0.1", "", "10.0.0.1");
    check("10.0.0.1", "X-Forwarded-For: 5.5.5.5\r\n", "5.5.5.5");
    check("10.0.0.1", "X-Forwarded-For: 9.9.9.9, 5.5.5.5, 10.0.0.2\r\n", "5.5.5.5");
    check("10.0.0.1", "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 5.5.5.5:80\r\n", "5.5.5.5");
    check("10.0.0.1", "X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.3");
    check("10.0.0.1", "X-Forwarded-For: 9.9.9.9, unknown, 10.0.0.2\r\n", "10.0.0.2");
    check("10.0.0.1", "X-Forwarded-For: 9.9.9.9, unknown\r\n", "10.0.0.1");
    check("::1", "X-Forwarded-For: [2001:db8::1]:443\r\n", "2001:db8::1");
}

#[test]
fn responses_lose_hop_by_hop_fields_too() {
    let check = |fields: &str, keep: bool, expected: &str| {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let mut head = parse::response(text.as_bytes(), &Limits::default()).unwrap().unwrap().head;
        strip_response(head.headers_mut(), keep);
        assert_eq!(lines(head.headers()), expected, "{fields:?}");
    };
    check("Server: s\r\n", false, "Server: s\n");
    check(
        "Connection: close, x-a, set-cookie\r\nX-A: 1\r\nSet-Cookie: c\r\nKeep-Alive: x\r\n",
        false,
        "Set-Cookie: c\n",
    );
    check("Transfer-Encoding: chunked\r\nProxy-Authenticate: x\r\nTrailer: t\r\n", false, "Trailer: t\n");
    let switching = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    check(switching, true, "Upgrade: websocket\nConnection: upgrade\n");
    check(switching, false, "");
    check("Server: s\r\n", true, "Server: s\n");
}

/// Also where a plugin or a test built the head, so that everything in it is an edit.
#[test]
fn built_heads_are_held_to_the_same_rules() {
    let mut head = RequestHead::new(http::Method::GET, "/").unwrap();
    for (name, value) in
        [("connection", "x-a"), ("x-a", "1"), ("keep-alive", "1"), ("x-forwarded-for", "9"), ("b", "2")]
    {
        head.headers_mut().add(name.as_bytes(), value.as_bytes());
    }
    Forwarding::none().apply(&mut head, &peer("1.2.3.4"), "http", false);
    assert_eq!(lines(head.headers()), "b: 2\n");
}

const NAMES: [&str; 14] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Upgrade",
    "Proxy-Authorization",
    "X-Forwarded-For",
    "Forwarded",
    "X-Real-IP",
    "Via",
    "Cookie",
    "X-A",
    "X-B",
    "Accept",
];

proptest! {
    #[test]
    fn nothing_for_one_connection_is_sent_on(
        fields in vec((select(NAMES.to_vec()), select(NAMES.to_vec()), any::<bool>()), 0..20),
        trusted in any::<bool>(),
    ) {
        let spell = |name: &str, lower| if lower { name.to_ascii_lowercase() } else { name.to_owned() };
        let text: String = fields.iter().map(|(name, value, lower)| format!("{}: {value}\r\n", spell(name, *lower))).collect();
        let from = if trusted { "10.0.0.1" } else { "1.2.3.4" };
        let mut head = request(&text);
        Forwarding::default().trust(trusting().trusted).apply(&mut head, &peer(from), "http", false);
        let headers = head.headers();
        for name in &NAMES[..6] {
            prop_assert!(!headers.contains(name), "{name}");
        }
        let nominated = |name: &str| fields.iter().any(|(field, value, _)| *field == "Connection" && *value == name);
        for name in ["X-A", "X-B", "Accept"] {
            let sent = fields.iter().any(|(field, ..)| *field == name);
            prop_assert_eq!(headers.contains(name), sent && !nominated(name), "{}", name);
        }
        prop_assert_eq!(headers.contains("cookie"), fields.iter().any(|(field, ..)| *field == "Cookie"));
        let chain: Vec<_> = headers.get_all("x-forwarded-for").collect();
        prop_assert_eq!(chain.len(), 1);
        prop_assert!(chain[0].ends_with(from.as_bytes()));
        prop_assert!(trusted || chain[0] == from.as_bytes());
        prop_assert!(trusted || !(headers.contains("forwarded") || headers.contains("x-real-ip")));
        prop_assert_eq!(headers.get_all("via").last(), Some(&b"1.1 proxy"[..]));
    }
}
