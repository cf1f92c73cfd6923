use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::verifier::sha256;
use super::*;
use crate::{Backend, ClientHandshake, Io, Peer, ServerHandshake, Target};

/// An authority of our own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// No two authorities have the same name.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key for these names, in PEM.
    fn issue(&self, names: &[&str]) -> (String, String) {
        self.issue_with(names, |_| {})
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name.push(DnType::CommonName, "a server");
        change(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn certificate(&self, names: &[&str]) -> Certificate {
        let (chain, key) = self.issue(names);
        Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    fn client(&self) -> ClientTlsBuilder {
        ClientTls::builder().authorities(self.pem().as_bytes()).unwrap()
    }
}

/// What both sides came to.
struct Shaken {
    peer: Peer,
    server: std::io::Result<Box<dyn Io>>,
    client: std::io::Result<Box<dyn Io>>,
}

async fn shake(server: &ServerTls, client: &ClientTls) -> Shaken {
    shake_over(server, client, tokio::io::duplex(16 * 1024)).await
}

async fn shake_over(server: &ServerTls, client: &ClientTls, ends: (DuplexStream, DuplexStream)) -> Shaken {
    let mut peer = Peer::default();
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let target = Target::new(Backend::new(address.to_string().parse().unwrap()));
    let (server, client) = tokio::join!(server.perform(Box::new(ends.0), &mut peer), async {
        let mut io = client.perform(Box::new(ends.1), &target).await?;
        // In TLS 1.3 a client is done before the server has looked at its certificate.
        io.write_all(b"ping").await?;
        io.flush().await?;
        Ok(io)
    });
    Shaken { peer, server, client }
}

fn server(certificates: impl IntoIterator<Item = Certificate>) -> ServerTlsBuilder {
    ServerTls::builder(Certificates::new(certificates).unwrap())
}

fn named(client: ClientTlsBuilder, name: &str) -> ClientTls {
    client.server_name(name).unwrap().build().unwrap()
}

#[track_caller]
fn check_pem(chain: &str, key: &str, kind: TlsErrorKind, says: &str) {
    let error = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
    assert_eq!((error.kind(), &*error.to_string()), (kind, says));
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_when_it_is_loaded() {
    use TlsErrorKind::{Certificate as Malformed, ChainOrder, Expired, KeyMismatch, NotYetValid, Pem};
    let (authority, other) = (Authority::new(), Authority::new());
    let (chain, key) = authority.issue(&["a.example"]);
    let (_, foreign) = authority.issue(&["a.example"]);
    let (old, old_key) = authority.issue_with(&["a.example"], |params| params.not_after = date_time_ymd(2001, 1, 1));
    let (new, new_key) = authority.issue_with(&["a.example"], |params| params.not_before = date_time_ymd(2999, 1, 1));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    check_pem("", &key, Pem, "no certificate: a section `BEGIN CERTIFICATE` is expected");
    check_pem(&chain, "", Pem, "no private key: an unencrypted section `BEGIN PRIVATE KEY` is expected");
    check_pem(&chain, &chain, Pem, "no private key: an unencrypted section `BEGIN PRIVATE KEY` is expected");
    check_pem("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", &key, Pem, "malformed PEM");
    check_pem(garbage, &key, Malformed, "the certificate is malformed");
    check_pem(&format!("{chain}{garbage}"), &key, Malformed, "certificate 2 of the chain is malformed");
    check_pem(&chain, &foreign, KeyMismatch, "the private key belongs to another certificate");
    check_pem(&old, &old_key, Expired, "the certificate has expired");
    check_pem(&new, &new_key, NotYetValid, "the certificate is not valid yet");
    let swapped = format!("{}{chain}", authority.pem());
    check_pem(&swapped, &key, ChainOrder, "the certificate was not issued by certificate 2 of the chain");
    let unrelated = format!("{chain}{}", other.issue(&["b.example"]).0);
    check_pem(&unrelated, &key, ChainOrder, "the certificate was not issued by certificate 2 of the chain");
    assert!(Certificate::from_pem(format!("{chain}{}", authority.pem()).as_bytes(), key.as_bytes()).is_ok());
}

#[test]
fn a_file_that_is_wrong_is_named() {
    let missing = Certificate::load("/nowhere/cert.pem", "/nowhere/key.pem").unwrap_err();
    assert_eq!(missing.kind(), TlsErrorKind::File);
    assert!(missing.to_string().starts_with("/nowhere/cert.pem: "), "{missing}");
    assert!(Certificates::new([]).is_err_and(|error| error.kind() == TlsErrorKind::NoCertificate));
}

/// Which certificate a client gets, by its first name.
async fn shown(server: &ServerTls, authority: &Authority, name: &str) -> Option<String> {
    let shaken = shake(server, &named(authority.client().insecure(), name)).await;
    shaken.server.ok()?;
    let info = shaken.peer.tls.unwrap();
    assert_eq!(info.server_name.as_deref(), Some(name));
    info.names.first().map(ToString::to_string)
}

#[tokio::test]
async fn the_name_a_client_asks_for_chooses_the_certificate() {
    let authority = Authority::new();
    let certificates = [&["first.example"][..], &["a.example", "*.b.example"], &["exact.b.example"]];
    let certificates: Vec<_> = certificates.iter().map(|names| authority.certificate(names)).collect();
    let lenient = server(certificates.clone()).build().unwrap();
    for (asked, first) in [
        ("a.example", "a.example"),
        ("x.b.example", "a.example"),
        ("exact.b.example", "exact.b.example"),
        ("b.example", "first.example"),
        ("x.y.b.example", "first.example"),
        ("unknown", "first.example"),
    ] {
        assert_eq!(shown(&lenient, &authority, asked).await.as_deref(), Some(first), "{asked}");
    }
    let strict = server(certificates).unknown_name(UnknownName::Refuse).build().unwrap();
    assert_eq!(shown(&strict, &authority, "unknown").await, None);
    assert_eq!(shown(&strict, &authority, "a.example").await.as_deref(), Some("a.example"));
}

#[tokio::test]
async fn certificates_are_replaced_for_the_next_handshake() {
    let authority = Authority::new();
    let tls = server([authority.certificate(&["old.example"])]).build().unwrap();
    assert_eq!(shown(&tls, &authority, "old.example").await.as_deref(), Some("old.example"));
    tls.certificates().replace([authority.certificate(&["new.example"])]).unwrap();
    assert_eq!(shown(&tls, &authority, "old.example").await.as_deref(), Some("new.example"));
    assert!(tls.certificates().replace([]).is_err());
    assert_eq!(shown(&tls, &authority, "new.example").await.as_deref(), Some("new.example"));
}

#[tokio::test]
async fn bytes_pass_both_ways_and_the_end_is_said() {
    let authority = Authority::new();
    let tls = server([authority.certificate(&["a.example"])]).build().unwrap();
    let shaken = shake(&tls, &named(authority.client(), "a.example")).await;
    let (mut server, mut client) = (shaken.server.unwrap(), shaken.client.unwrap());
    let mut four = [0; 4];
    server.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"ping");
    server.write_all(b"pong").await.unwrap();
    server.shutdown().await.unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"pong");
    let info = shaken.peer.tls.unwrap();
    assert_eq!((info.version, info.resumed, info.alpn.as_deref()), ("TLSv1.3", false, Some(&b"http/1.1"[..])));
    assert!(info.cipher.starts_with("TLS13_"), "{}", info.cipher);
}

#[tokio::test]
async fn a_stream_that_is_cut_is_no_end() {
    let authority = Authority::new();
    let tls = server([authority.certificate(&["a.example"])]).build().unwrap();
    let shaken = shake(&tls, &named(authority.client(), "a.example")).await;
    drop(shaken.server);
    let cut = shaken.client.unwrap().read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(cut.kind(), std::io::ErrorKind::UnexpectedEof);
}

/// Whether each side accepted the other.
async fn agree(server: &ServerTls, client: &ClientTls) -> bool {
    let shaken = shake(server, client).await;
    let Ok(mut io) = shaken.server else { return false };
    shaken.client.is_ok() && io.read_exact(&mut [0; 4]).await.is_ok()
}

#[tokio::test]
async fn a_backend_must_be_whom_it_is_said_to_be() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (chain, key) = authority.issue(&["a.example"]);
    let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    let tls = server([certificate]).build().unwrap();
    let spki = sha256(&KeyPair::from_pem(&key).unwrap().subject_public_key_info());
    let check = async |client: ClientTls, agrees, why: &str| assert_eq!(agree(&tls, &client).await, agrees, "{why}");

    check(named(authority.client(), "a.example"), true, "its own name and authority").await;
    check(named(authority.client(), "b.example"), false, "another name").await;
    check(authority.client().build().unwrap(), false, "its address, which the certificate does not have").await;
    check(named(other.client(), "a.example"), false, "another authority").await;
    check(named(other.client().insecure(), "b.example"), true, "insecure").await;
    check(named(authority.client().pin(&spki).unwrap(), "a.example"), true, "its key is pinned").await;
    check(named(authority.client().pin(&"0".repeat(64)).unwrap(), "a.example"), false, "another is pinned").await;
    let both = authority.client().pin(&"0".repeat(64)).unwrap().pin(&spki.to_uppercase()).unwrap();
    check(named(both, "a.example"), true, "one of two pins").await;
    check(named(other.client().insecure().pin(&"0".repeat(64)).unwrap(), "b.example"), false, "pins hold").await;
    assert!(ClientTls::builder().pin("beef").is_err());
    assert!(ClientTls::builder().server_name("no name").is_err());
}

#[tokio::test]
async fn a_backend_of_another_authority_is_invalid_data() {
    let (authority, other) = (Authority::new(), Authority::new());
    let tls = server([authority.certificate(&["a.example"])]).build().unwrap();
    let failed = shake(&tls, &named(other.client(), "a.example")).await.client.err().unwrap();
    assert_eq!(failed.kind(), std::io::ErrorKind::InvalidData, "the pool tells it by this: {failed}");
}

#[tokio::test]
async fn clients_show_certificates_where_they_are_asked() {
    let (authority, clients, other) = (Authority::new(), Authority::new(), Authority::new());
    let auth = ClientAuth::required(clients.pem().as_bytes()).unwrap();
    let optional = ClientAuth::optional(clients.pem().as_bytes()).unwrap();
    let certificates = [authority.certificate(&["a.example"])];
    let required = server(certificates.clone()).client_auth(auth).build().unwrap();
    let optional = server(certificates).client_auth(optional).build().unwrap();
    let with = |certificate: Option<Certificate>| {
        let client = authority.client();
        named(certificate.map_or(client.clone(), |it| client.certificate(it)), "a.example")
    };
    let (good, bad) = (clients.certificate(&["Ada.Clients"]), other.certificate(&["ada.clients"]));
    assert!(agree(&required, &with(Some(good.clone()))).await);
    assert!(!agree(&required, &with(Some(bad.clone()))).await);
    assert!(!agree(&required, &with(None)).await);
    assert!(agree(&optional, &with(None)).await);
    assert!(!agree(&optional, &with(Some(bad))).await);
    let info = shake(&optional, &with(Some(good.clone()))).await.peer.tls.unwrap();
    let shown = info.client.as_ref().unwrap();
    assert_eq!(shown.dns_names, ["ada.clients".into()]);
    assert_eq!(&*shown.fingerprint, sha256(&good.key().cert[0]));
}

#[tokio::test]
async fn a_revoked_client_is_refused() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let serial = SerialNumber::from(42);
    let (chain, key) = clients.issue_with(&["ada"], |params| params.serial_number = Some(serial.clone()));
    let revoked = RevokedCertParams {
        serial_number: serial,
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(2999, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&clients.0).unwrap().pem().unwrap();
    let auth = ClientAuth::required(clients.pem().as_bytes()).unwrap().with_crls(list.as_bytes()).unwrap();
    let tls = server([authority.certificate(&["a.example"])]).client_auth(auth).build().unwrap();
    let revoked = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    let check = async |certificate| agree(&tls, &named(authority.client().certificate(certificate), "a.example")).await;
    assert!(!check(revoked).await);
    assert!(check(clients.certificate(&["bob"])).await);
    assert!(ClientAuth::required(clients.pem().as_bytes()).unwrap().with_crls(b"").is_err());
}

/// Whether the second of two handshakes resumes the first.
async fn resumes(first: &ServerTls, second: &ServerTls, client: &ClientTls) -> bool {
    let shaken = shake(first, client).await;
    let (mut server, mut io) = (shaken.server.unwrap(), shaken.client.unwrap());
    server.write_all(b"pong").await.unwrap();
    server.flush().await.unwrap();
    // The tickets come along with it.
    io.read_exact(&mut [0; 4]).await.unwrap();
    shake(second, client).await.peer.tls.unwrap().resumed
}

#[tokio::test]
async fn sessions_are_resumed_also_by_a_server_that_was_rebuilt_with_its_tickets() {
    let authority = Authority::new();
    let client = named(authority.client(), "a.example");
    let certificate = authority.certificate(&["a.example"]);
    let tickets = Tickets::new().unwrap();
    let build = |tickets: Option<&Tickets>| {
        let builder = server([certificate.clone()]);
        tickets.map_or(builder.clone(), |it| builder.tickets(it.clone())).build().unwrap()
    };
    assert!(resumes(&build(Some(&tickets)), &build(Some(&tickets)), &client).await);
    let client = named(authority.client(), "a.example");
    assert!(!resumes(&build(None), &build(None), &client).await, "other tickets");
}

#[tokio::test]
async fn only_the_versions_that_are_wanted_are_spoken() {
    let authority = Authority::new();
    let certificate = authority.certificate(&["a.example"]);
    let new = server([certificate.clone()]).oldest(TlsVersion::Tls13).build().unwrap();
    assert!(agree(&new, &named(authority.client(), "a.example")).await);
    let mut old = named(authority.client(), "a.example");
    old.only_tls12();
    assert!(!agree(&new, &old).await);
    let both = server([certificate]).build().unwrap();
    assert_eq!(shake(&both, &old).await.peer.tls.unwrap().version, "TLSv1.2");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_has_its_time() {
    let authority = Authority::new();
    let deadline = Duration::from_secs(3);
    let tls =
        server([authority.certificate(&["a.example"])]).handshake_timeout(deadline).max_handshakes(1).build().unwrap();
    let (near, _far) = tokio::io::duplex(64);
    let (other, _end) = tokio::io::duplex(64);
    let started = tokio::time::Instant::now();
    let (mut first, mut second) = (Peer::default(), Peer::default());
    // The second waits for its turn, within the same deadline.
    let (first, second) =
        tokio::join!(tls.perform(Box::new(near), &mut first), tls.perform(Box::new(other), &mut second));
    for result in [first, second] {
        assert_eq!(result.err().unwrap().kind(), std::io::ErrorKind::TimedOut);
    }
    assert_eq!(started.elapsed(), deadline);
}

#[tokio::test]
async fn what_is_no_tls_is_refused() {
    let authority = Authority::new();
    let tls = server([authority.certificate(&["a.example"])]).build().unwrap();
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\x16\x03\x01\xff\xff",
        b"\x00",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    ] {
        let (near, mut far) = tokio::io::duplex(1024);
        far.write_all(bytes).await.unwrap();
        far.shutdown().await.unwrap();
        let mut peer = Peer::default();
        assert!(tls.perform(Box::new(near), &mut peer).await.is_err(), "{bytes:?}");
        assert!(peer.tls.is_none());
    }
}

#[test]
fn validity_is_that_of_the_time_it_is_loaded() {
    let authority = Authority::new();
    let (chain, key) = authority.issue_with(&["a.example"], |params| params.not_after = date_time_ymd(2400, 1, 1));
    let load = |now| {
        use rustls::pki_types::pem::PemObject;
        let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        Certificate::new(super::certificate::parse_chain(chain.as_bytes()).unwrap(), key, now)
    };
    let year = Duration::from_secs(366 * 86_400);
    assert!(load(SystemTime::now()).is_ok());
    assert!(load(SystemTime::UNIX_EPOCH + 431 * year).is_err_and(|error| error.kind() == TlsErrorKind::Expired));
}
