use proxy_core::testing::{Message, Script, ScriptedConnector, TestProxy};
use proxy_core::{Backend, BackendState, Cluster, ClusterBuilder, SharedPool};

use super::*;
use crate::{RoundRobin, Tiers};

const SECRET: &[u8] = b"thirty-two bytes that nobody has";

type Upstreams = StickyUpstream<Cluster<StickySelector<RoundRobin>, SharedPool>>;

/// A proxy over `a:1`, `b:1` and `c:1`, which answer with their names.
struct Stage {
    upstream: Arc<Upstreams>,
    proxy: TestProxy,
}

fn set_up(sticky: Sticky, origins: &ScriptedConnector) -> Stage {
    let backend =
        |(id, tier): (&str, &str)| Backend::builder(id.parse().expect("an address")).label(Tiers::LABEL, tier).build();
    let builder = Cluster::builder(RoundRobin::new()).eligibility(Tiers::new());
    let builder =
        [("a:1", "0"), ("b:1", "0"), ("c:1", "1")].map(backend).into_iter().fold(builder, ClusterBuilder::with);
    let upstream = Arc::new(sticky.build_with(builder, origins.pool()));
    Stage { proxy: TestProxy::over(Arc::clone(&upstream)), upstream }
}

fn answering(name: &str, fields: &str) -> Script {
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{name}", name.len());
    Script::new().read_request().answer(answer).repeat()
}

fn origins(fields: &str) -> ScriptedConnector {
    let origin = ScriptedConnector::default();
    let origin = origin.backend_always("a:1", answering("a", fields)).backend_always("b:1", answering("b", fields));
    origin.backend_always("c:1", answering("c", fields))
}

impl Stage {
    async fn ask(&self, cookie: &str) -> Message {
        let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: x=y; {cookie}\r\n") };
        let mut client = self.proxy.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{cookie}\r\n")).await;
        client.read_response().await
    }

    /// Who answers a client with this cookie, and whether it gets a new one.
    async fn who(&self, cookie: &str) -> (String, bool) {
        let answer = self.ask(cookie).await;
        (answer.text().to_owned(), answer.header("set-cookie").is_some())
    }

    fn set(&self, id: &str, state: BackendState) {
        assert!(self.upstream.inner().backends().set_state(id, state));
    }

    fn weigh(&self, id: &str, weight: u32) {
        let set = self.upstream.inner().backends();
        set.backends().iter().filter(|backend| backend.id() == id).for_each(|backend| backend.set_weight(weight));
        set.refresh();
    }
}

fn inserted() -> Sticky {
    Sticky::inserted("lb", SECRET).expect("a token")
}

/// `name=value` of what a response sets.
fn pair(answer: &Message) -> String {
    let cookie = answer.header("set-cookie").expect("a cookie");
    cookie.split(';').next().expect("a pair").to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_client_stays_where_it_was() {
    let stage = set_up(inserted(), &origins(""));
    let (first, second) = (stage.ask("").await, stage.ask("").await);
    assert_eq!((first.text(), second.text()), ("a", "b"));
    for _ in 0..3 {
        assert_eq!(stage.who(&pair(&first)).await, ("a".into(), false));
        assert_eq!(stage.who(&pair(&second)).await, ("b".into(), false));
    }
    let value = first.header("set-cookie").expect("a cookie");
    assert!(value.ends_with("; Path=/; HttpOnly; SameSite=Lax") && !value.contains("a:1"), "{value}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_as_good_as_none() {
    let stage = set_up(inserted(), &origins(""));
    let other = Sticky::inserted("lb", b"another secret").expect("a token");
    let foreign = pair(&set_up(other, &origins("")).ask("").await);
    for cookie in ["lb=", "lb=a:1", "lb=00", &foreign, "lbx=1"] {
        let (_, new) = stage.who(cookie).await;
        assert!(new, "{cookie}");
    }
    let age = inserted().max_age(Duration::from_secs(3600));
    let aged = set_up(age, &origins("")).ask("").await;
    assert!(aged.header("set-cookie").expect("a cookie").contains("; Max-Age=3600; HttpOnly"));
}

/// Two proxies with one secret agree, as one does with itself after a restart.
#[tokio::test(start_paused = true)]
async fn proxies_understand_each_other() {
    let first = set_up(inserted(), &origins("")).ask("").await;
    let other = set_up(inserted(), &origins(""));
    other.ask("").await;
    assert_eq!(other.who(&pair(&first)).await, ("a".into(), false));
}

#[tokio::test(start_paused = true)]
async fn it_sticks_to_what_drains_and_not_to_what_is_down() {
    let check = async |change: &dyn Fn(&Stage), expected: (&str, bool)| {
        let stage = set_up(inserted(), &origins(""));
        let cookie = pair(&stage.ask("").await);
        change(&stage);
        assert_eq!(stage.who(&cookie).await, (expected.0.to_owned(), expected.1));
    };
    check(&|stage| stage.set("a:1", BackendState::Draining), ("a", false)).await;
    check(&|stage| stage.weigh("a:1", 0), ("a", false)).await;
    check(&|stage| stage.set("a:1", BackendState::Unhealthy), ("b", true)).await;
    check(&|stage| stage.set("a:1", BackendState::Maintenance), ("b", true)).await;
    let replace = |stage: &Stage| {
        let backends = stage.upstream.inner().backends().backends();
        stage.upstream.inner().backends().replace(backends.into_iter().skip(1)).unwrap();
    };
    check(&replace, ("b", true)).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_of_the_backup_stays_there() {
    let stage = set_up(inserted(), &origins(""));
    ["a:1", "b:1"].iter().for_each(|id| stage.set(id, BackendState::Unhealthy));
    let cookie = pair(&stage.ask("").await);
    ["a:1", "b:1"].iter().for_each(|id| stage.set(id, BackendState::Healthy));
    assert_eq!(stage.who(&cookie).await, ("c".into(), false));
}

/// A draining backend is no candidate, so nobody but the selector can know that it was tried.
#[tokio::test(start_paused = true)]
async fn a_backend_that_fails_is_left() {
    let origin = ScriptedConnector::default().backend("a:1", [answering("a", "")]);
    let stage = set_up(inserted(), &origin.backend_always("b:1", answering("b", "")));
    let first = stage.ask("").await;
    stage.set("a:1", BackendState::Draining);
    stage.upstream.inner().pool().evict(&stage.upstream.inner().backends().backends()[0]);
    assert_eq!(stage.who(&pair(&first)).await, ("b".into(), true));
}

#[tokio::test(start_paused = true)]
async fn a_cookie_of_the_backends_is_learnt() {
    let origin = ScriptedConnector::default()
        .backend_always("a:1", answering("a", "Set-Cookie: other=1\r\nSet-Cookie: sid=one; Path=/\r\n"))
        .backend_always("b:1", answering("b", ""));
    let stage = set_up(Sticky::learnt("sid", 100).expect("a token"), &origin);
    assert_eq!(stage.ask("").await.text(), "a");
    assert_eq!(stage.ask("").await.text(), "b", "nothing to learn");
    for _ in 0..3 {
        assert_eq!(stage.ask("sid=one").await.text(), "a");
    }
    // A value that nobody knows is remembered with whoever answered and set no other.
    assert_eq!(stage.ask("").await.text(), "a");
    for _ in 0..3 {
        assert_eq!(stage.ask("sid=two").await.text(), "b");
    }
    stage.set("b:1", BackendState::Unhealthy);
    assert_eq!(stage.ask("sid=two").await.text(), "a");
}

#[test]
fn what_is_remembered_is_bounded() {
    let memory = Memory::new(100);
    let backend = Backend::new("a:1".parse().expect("an address"));
    let marks: Vec<_> = (0..10_000u32).map(|value| memory.mark(&value.to_le_bytes())).collect();
    marks.iter().for_each(|mark| memory.learn(*mark, &backend));
    let known = marks.iter().filter(|mark| memory.recall(**mark).is_some()).count();
    assert!((1..=100).contains(&known), "{known}");
}

#[test]
fn names_are_tokens() {
    for name in ["", "a b", "a=b", "a;b", "ä"] {
        assert_eq!(Sticky::inserted(name, SECRET).err(), Some(InvalidCookieName(name.to_owned())));
    }
}
