//! Raw TCP through real sockets: who gets a connection, and how each end learns of the other's.

use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy_core::{
    Attempt, AttemptResult, Backend, BackendState, Cluster, ClusterBuilder, Context, ErrorKind, Filter, Listener,
    Observer, Outcome, Peer, Phase, Selector, SharedPool, TcpListener, TcpProxy, TcpProxyBuilder, TcpRoute,
    TcpSettings, UpstreamTimeouts, serve_tcp,
};
use proxy_lb::{LeastConnections, RoundRobin, SourceIpHash};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(10);
const MS: Duration = Duration::from_millis(1);

/// A server whose connections the test holds in its hands.
struct Origin {
    listener: tokio::net::TcpListener,
    address: SocketAddr,
}

impl Origin {
    async fn bind() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Origin { address: listener.local_addr().unwrap(), listener }
    }

    async fn accept(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }

    fn backend(&self) -> Backend {
        Backend::new(self.address.into())
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("it takes no ten seconds")
}

/// What a filter and an observer are told.
#[derive(Clone)]
struct Ends(mpsc::UnboundedSender<(Outcome, Option<String>)>, Arc<Mutex<Vec<AttemptResult>>>);

impl Filter for Ends {
    fn on_done(&self, outcome: &Outcome, context: &Context) {
        let _ = self.0.send((outcome.clone(), context.backend().map(|backend| backend.id().to_owned())));
    }
}

impl Observer for Ends {
    fn on_attempt(&self, _: &Backend, attempt: &Attempt) {
        self.1.lock().unwrap().push(attempt.result);
    }
}

struct Front {
    address: SocketAddr,
    ended: mpsc::UnboundedReceiver<(Outcome, Option<String>)>,
    attempts: Arc<Mutex<Vec<AttemptResult>>>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl Front {
    fn over<S: Selector>(
        cluster: ClusterBuilder<S>,
        configure: impl FnOnce(TcpProxyBuilder) -> TcpProxyBuilder,
        pool: Option<SharedPool>,
    ) -> Self {
        let (send, ended) = mpsc::unbounded_channel();
        let attempts = Arc::<Mutex<Vec<_>>>::default();
        let ends = Ends(send, Arc::clone(&attempts));
        let cluster = cluster.observer(Arc::new(ends.clone()));
        let builder = match pool {
            Some(pool) => TcpProxy::builder().upstream("origin", cluster.build_with(pool)),
            None => TcpProxy::builder().upstream("origin", cluster.build()),
        };
        let proxy = configure(builder.filter(ends)).route(TcpRoute::to("origin")).build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (address, (stop, stopped)) = (listener.local_addr().unwrap(), oneshot::channel::<()>());
        let server = serve_tcp(listener, proxy).with_graceful_shutdown(async { stopped.await.unwrap_or(()) });
        let server = tokio::spawn(server.drain_timeout(50 * MS).into_future());
        Front { address, ended, attempts, stop: Some(stop), server }
    }

    fn to(origin: &Origin, settings: TcpSettings) -> Self {
        let cluster = Cluster::builder(RoundRobin::new()).with(origin.backend());
        Front::over(cluster, |builder| builder.settings(settings), None)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn ended(&mut self) -> Outcome {
        soon(self.ended.recv()).await.expect("the server runs").0
    }
}

/// The two ends of a connection through the proxy.
async fn pair(front: &Front, origin: &Origin) -> (TcpStream, TcpStream) {
    let mut client = front.connect().await;
    client.write_all(b"?").await.unwrap();
    let mut server = origin.accept().await;
    assert_eq!(server.read_u8().await.unwrap(), b'?');
    (client, server)
}

/// Both ways of moving bytes.
fn both() -> [TcpSettings; 2] {
    [true, false].map(|splice| TcpSettings { splice, ..TcpSettings::default() })
}

#[tokio::test]
async fn the_end_of_one_side_leaves_the_other_way_open() {
    for (settings, client_first) in both().into_iter().flat_map(|one| [(one.clone(), true), (one, false)]) {
        let origin = Origin::bind().await;
        let mut front = Front::to(&origin, settings);
        let (mut client, mut server) = pair(&front, &origin).await;
        let (first, second) = if client_first { (&mut client, &mut server) } else { (&mut server, &mut client) };
        first.write_all(b"last words").await.unwrap();
        first.shutdown().await.unwrap();
        let mut heard = Vec::new();
        soon(second.read_to_end(&mut heard)).await.unwrap();
        assert_eq!(heard, b"last words");
        second.write_all(b"answer").await.unwrap();
        second.shutdown().await.unwrap();
        heard.clear();
        soon(first.read_to_end(&mut heard)).await.unwrap();
        assert_eq!(heard, b"answer");
        let outcome = front.ended().await;
        let (up, down) = if client_first { (11, 6) } else { (7, 10) };
        assert_eq!((outcome.error, outcome.status, outcome.attempts), (None, None, 1));
        assert_eq!((outcome.bytes_received, outcome.bytes_sent), (up, down));
        assert_eq!(*front.attempts.lock().unwrap(), [AttemptResult::Relayed]);
    }
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    for (settings, of_client) in both().into_iter().flat_map(|one| [(one.clone(), true), (one, false)]) {
        let origin = Origin::bind().await;
        let mut front = Front::to(&origin, settings);
        let (client, server) = pair(&front, &origin).await;
        let (gone, mut stays) = if of_client { (client, server) } else { (server, client) };
        gone.set_zero_linger().unwrap();
        drop(gone);
        assert_eq!(soon(stays.read_u8()).await.unwrap_err().kind(), ConnectionReset);
        let (kind, attempt) = match of_client {
            true => (ErrorKind::ClientGone, AttemptResult::Relayed),
            false => (ErrorKind::UpstreamIo, AttemptResult::Failed(ErrorKind::UpstreamIo)),
        };
        let outcome = front.ended().await;
        assert_eq!((outcome.error, outcome.phase, outcome.bytes_received), (Some(kind), Phase::Tunnel, 1));
        assert_eq!(*front.attempts.lock().unwrap(), [attempt]);
    }
}

/// Neither end says or takes anything more, as if it were stopped: both learn of it by a reset.
#[tokio::test]
async fn silence_ends_at_the_deadlines() {
    for settings in both() {
        for clogged in [false, true] {
            let origin = Origin::bind().await;
            let mut front = Front::to(&origin, TcpSettings { idle: 100 * MS, ..settings.clone() });
            let (mut client, mut server) = pair(&front, &origin).await;
            if clogged {
                // Until the server's and every buffer between are full.
                let fill = async { while client.write_all(&[0; 65_536]).await.is_ok() {} };
                soon(fill).await;
            }
            assert_eq!(front.ended().await.error, Some(ErrorKind::TunnelIdle));
            let mut rest = Vec::new();
            assert_eq!(soon(server.read_to_end(&mut rest)).await.unwrap_err().kind(), ConnectionReset);
            assert!(soon(client.read_u8()).await.is_err());
        }
        let origin = Origin::bind().await;
        let mut front = Front::to(&origin, TcpSettings { lifetime: Some(50 * MS), ..settings });
        let (mut client, mut server) = pair(&front, &origin).await;
        assert_eq!(front.ended().await.error, Some(ErrorKind::LifetimeOver));
        assert_eq!(soon(server.read_u8()).await.unwrap_err().kind(), ConnectionReset);
        assert_eq!(soon(client.read_u8()).await.unwrap_err().kind(), ConnectionReset);
    }
}

#[tokio::test]
async fn a_drain_waits_for_connections_and_then_resets_them() {
    let origin = Origin::bind().await;
    let mut front = Front::to(&origin, TcpSettings::default());
    let (mut client, mut server) = pair(&front, &origin).await;
    drop(front.stop.take());
    // It goes on until the deadline.
    client.write_all(b"!").await.unwrap();
    assert_eq!(soon(server.read_u8()).await.unwrap(), b'!');
    soon(&mut front.server).await.unwrap();
    assert!(TcpStream::connect(front.address).await.is_err());
    assert_eq!(soon(client.read_u8()).await.unwrap_err().kind(), ConnectionReset);
    assert_eq!(soon(server.read_u8()).await.unwrap_err().kind(), ConnectionReset);
    assert_eq!(front.ended().await.error, Some(ErrorKind::ShuttingDown));
}

/// A backend that is killed costs nobody a connection, and is left alone until it is back.
#[tokio::test]
async fn a_failed_connect_goes_elsewhere() {
    let (alive, dead) = (Origin::bind().await, Origin::bind().await);
    let cluster = Cluster::builder(RoundRobin::new()).with(dead.backend()).with(alive.backend());
    let mut front = Front::over(cluster, |builder| builder, None);
    drop(dead);
    for _ in 0..6 {
        let (client, server) = pair(&front, &alive).await;
        drop((client, server));
        assert_eq!(front.ended().await.error, None);
    }
    let attempts = front.attempts.lock().unwrap().clone();
    let refused = attempts.iter().filter(|result| **result == AttemptResult::Failed(ErrorKind::ConnectRefused));
    assert_eq!((attempts.len(), refused.count()), (7, 1));
}

#[tokio::test]
async fn without_a_backend_the_client_is_reset() {
    let dead = Origin::bind().await.backend();
    let mut front = Front::over(Cluster::builder(RoundRobin::new()).with(dead), |builder| builder, None);
    let mut client = front.connect().await;
    assert_eq!(soon(client.read_u8()).await.unwrap_err().kind(), ConnectionReset);
    let outcome = front.ended().await;
    assert_eq!((outcome.error, outcome.phase), (Some(ErrorKind::ConnectRefused), Phase::Connect));
}

/// The backend that each of `count` clients gets, all of them staying.
async fn chosen(cluster: ClusterBuilder<impl Selector>, origins: &[Origin], count: usize) -> Vec<usize> {
    let front = Front::over(cluster, |builder| builder, None);
    let (mut chosen, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..count {
        kept.push(front.connect().await);
        let (server, _, index) = {
            let accepted = origins
                .iter()
                .enumerate()
                .map(|(index, origin)| Box::pin(async move { (origin.accept().await, (), index) }));
            soon(first(accepted.collect())).await
        };
        kept.push(server);
        chosen.push(index);
    }
    chosen
}

async fn first<T>(mut futures: Vec<std::pin::Pin<Box<impl Future<Output = T>>>>) -> T {
    std::future::poll_fn(|cx| {
        let mut polled = futures.iter_mut().map(|future| future.as_mut().poll(cx));
        polled.find(std::task::Poll::is_ready).unwrap_or(std::task::Poll::Pending)
    })
    .await
}

#[tokio::test]
async fn selectors_choose_for_connections_as_they_do_for_requests() {
    let origins = [Origin::bind().await, Origin::bind().await, Origin::bind().await];
    let add =
        |cluster: ClusterBuilder<_>| origins.iter().fold(cluster, |cluster, origin| cluster.with(origin.backend()));
    let mut spread = chosen(add(Cluster::builder(Box::new(RoundRobin::new()) as Box<dyn Selector>)), &origins, 6).await;
    spread.sort_unstable();
    assert_eq!(spread, [0, 0, 1, 1, 2, 2]);
    // Connections that stay are in flight.
    let mut least = chosen(add(Cluster::builder(Box::new(LeastConnections::new()))), &origins, 6).await;
    least.sort_unstable();
    assert_eq!(least, [0, 0, 1, 1, 2, 2]);
    let sticky = chosen(add(Cluster::builder(Box::new(SourceIpHash::new()))), &origins, 4).await;
    assert!(sticky.iter().all(|index| *index == sticky[0]), "{sticky:?}");
}

#[tokio::test]
async fn who_is_unhealthy_gets_no_connection() {
    let (alive, sick) = (Origin::bind().await, Origin::bind().await);
    let cluster = Cluster::builder(RoundRobin::new()).with(sick.backend()).with(alive.backend());
    let cluster = cluster.build();
    cluster.backends().set_state(&sick.address.to_string(), BackendState::Unhealthy);
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_tcp(listener, cluster).into_future());
    for _ in 0..4 {
        let _client = TcpStream::connect(address).await.unwrap();
        alive.accept().await;
    }
}

/// A place at a backend is taken for as long as the connection stands, not only while it is made.
#[tokio::test]
async fn connections_of_a_backend_are_limited() {
    let origin = Origin::bind().await;
    let pool = SharedPool::builder().max_open_per_backend(1).build();
    let timeouts = UpstreamTimeouts { connect: 100 * MS, ..UpstreamTimeouts::default() };
    let cluster = Cluster::builder(RoundRobin::new()).with(origin.backend()).timeouts(timeouts);
    let mut front = Front::over(cluster, |builder| builder, Some(pool));
    let (first_client, first_server) = pair(&front, &origin).await;
    let mut second = front.connect().await;
    assert_eq!(soon(second.read_u8()).await.unwrap_err().kind(), ConnectionReset);
    assert_eq!(front.ended().await.error, Some(ErrorKind::PoolTimeout));
    drop((first_client, first_server));
    assert_eq!(front.ended().await.error, None);
    let _third = pair(&front, &origin).await;
}

#[tokio::test]
async fn connections_of_clients_are_limited() {
    let origin = Origin::bind().await;
    let settings = TcpSettings { max_connections_per_client: Some(1), ..TcpSettings::default() };
    let mut front = Front::to(&origin, settings);
    let (client, server) = pair(&front, &origin).await;
    let mut refused = front.connect().await;
    assert_eq!(soon(refused.read_u8()).await.unwrap_err().kind(), UnexpectedEof);
    drop((client, server));
    front.ended().await;
    // The place is free just after the end was told.
    loop {
        let mut next = front.connect().await;
        next.write_all(b"?").await.unwrap();
        tokio::select! {
            accepted = origin.listener.accept() => { accepted.unwrap(); break }
            read = next.read_u8() => assert!(read.is_err()),
        }
    }
}

/// Filters are asked before anything is done for a connection.
#[tokio::test]
async fn a_refused_connection_reaches_no_backend() {
    struct Nobody;

    impl Filter for Nobody {
        fn on_connection(&self, _: &Peer) -> proxy_core::Admission {
            proxy_core::Admission::Refuse
        }
    }

    let origin = Origin::bind().await;
    let cluster = Cluster::builder(RoundRobin::new()).with(origin.backend());
    let front = Front::over(cluster, |builder| builder.filter(Nobody), None);
    let mut client = front.connect().await;
    assert_eq!(soon(client.read_u8()).await.unwrap_err().kind(), UnexpectedEof);
    assert!(front.attempts.lock().unwrap().is_empty());
}

/// Long streams both ways at once, whole and in order.
#[tokio::test]
async fn long_streams_arrive_whole() {
    let pattern: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
    for settings in both() {
        let origin = Origin::bind().await;
        let mut front = Front::to(&origin, settings);
        let (client, server) = pair(&front, &origin).await;
        let ends = [client, server].map(|stream| {
            let (mut read, mut write) = stream.into_split();
            let (sent, expected) = (pattern.clone(), pattern.clone());
            let writing = tokio::spawn(async move {
                write.write_all(&sent).await.unwrap();
                write.shutdown().await.unwrap();
            });
            let reading = tokio::spawn(async move {
                let mut got = Vec::new();
                read.read_to_end(&mut got).await.unwrap();
                assert!(got == expected);
            });
            [writing, reading]
        });
        for end in ends.into_iter().flatten() {
            soon(end).await.unwrap();
        }
        let outcome = front.ended().await;
        assert_eq!((outcome.bytes_received, outcome.bytes_sent), (3_000_001, 3_000_000));
    }
}

/// What an end does once it has sent its part.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Last {
    Closes,
    Resets,
}

/// What an end saw: how much came, and how that ended.
type Seen = (u64, Option<std::io::ErrorKind>);

/// Sends so many bytes in pieces, and reads pieces of such a size meanwhile.
async fn talk(stream: TcpStream, sends: usize, piece: usize, last: Last) -> Seen {
    let (mut read, mut write) = stream.into_split();
    let reading = async move {
        let (mut room, mut count) = (vec![0; piece], 0);
        loop {
            match read.read(&mut room).await {
                Ok(0) => return (count, None),
                Ok(more) => count += more as u64,
                Err(error) => return (count, Some(error.kind())),
            }
            tokio::task::yield_now().await;
        }
    };
    let writing = async move {
        for length in (0..sends).step_by(piece).map(|at| piece.min(sends - at)) {
            // The other side may be gone: that is seen where it is read from.
            let _ = write.write_all(&vec![7; length]).await;
        }
        match last {
            Last::Closes => drop(write.shutdown().await),
            Last::Resets => {
                let _ = write.as_ref().set_zero_linger();
                // Dropped, it would say that its side ends, before it resets both.
                write.forget();
            }
        }
    };
    match last {
        Last::Closes => tokio::join!(reading, writing).0,
        // Once both halves are dropped, the reset leaves.
        Last::Resets => tokio::select! {
            () = writing => (0, None),
            never = async { (reading.await, std::future::pending().await).1 } => never,
        },
    }
}

/// Either end stops anywhere: whole streams are counted exactly, a reset is a reset on the other side, and nothing
/// that was cut looks whole.
#[tokio::test]
async fn random_ends_are_told_and_counted() {
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(state) * u128::from(below)) >> 64) as usize
    };
    for settings in both() {
        for case in 0..60 {
            let ends = [random(6), random(6)].map(|dice| if dice == 0 { Last::Resets } else { Last::Closes });
            let sends = [random(400_000), random(400_000)];
            let pieces = [100 + random(60_000), 100 + random(60_000)];
            let said = format!("case {case}: {ends:?} {sends:?} {pieces:?} {settings:?}");
            let origin = Origin::bind().await;
            let mut front = Front::to(&origin, settings.clone());
            let (client, server) = pair(&front, &origin).await;
            let client = talk(client, sends[0], pieces[0], ends[0]);
            let server = talk(server, sends[1], pieces[1], ends[1]);
            let (client, server) = soon(async { tokio::join!(client, server) }).await;
            let outcome = front.ended().await;
            let moved = (outcome.bytes_received, outcome.bytes_sent);
            let sent = (sends[0] as u64 + 1, sends[1] as u64);
            assert!(client.0 <= moved.1 && moved.1 <= sent.1, "{said}: {client:?} of {moved:?}");
            assert!(server.0 < moved.0 && moved.0 <= sent.0, "{said}: {server:?} of {moved:?}");
            match ends {
                [Last::Closes, Last::Closes] => {
                    assert_eq!((client, server), ((sent.1, None), (sent.0 - 1, None)), "{said}");
                    assert_eq!((outcome.error, moved), (None, sent), "{said}");
                }
                [Last::Resets, Last::Closes] => {
                    assert_eq!(
                        (server.1, outcome.error),
                        (Some(ConnectionReset), Some(ErrorKind::ClientGone)),
                        "{said}"
                    );
                }
                [Last::Closes, Last::Resets] => {
                    assert_eq!(
                        (client.1, outcome.error),
                        (Some(ConnectionReset), Some(ErrorKind::UpstreamIo)),
                        "{said}"
                    );
                }
                [Last::Resets, Last::Resets] => assert!(outcome.error.is_some(), "{said}"),
            }
        }
    }
}

/// Reads to the end, and says how much there was and what the end was.
const READER: &str = "
import socket, sys
if sys.argv[1] == 'listen':
    listener = socket.create_server(('127.0.0.1', 0))
    print(listener.getsockname()[1], flush=True)
    stream = listener.accept()[0]
else:
    stream = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
    stream.sendall(b'?')
count, end = 0, 'end'
try:
    while piece := stream.recv(4096):
        if count == 0:
            print('reads', flush=True)
        count += len(piece)
except ConnectionResetError:
    end = 'reset'
print(count, end, flush=True)
";

/// A process on either side that is stopped (SIGSTOP) with everything before it full: the other side is reset at the
/// deadline, and the process learns of it when it goes on.
#[tokio::test]
async fn a_stopped_process_is_given_up_at_the_deadline() {
    use rustix::process::{Pid, Signal, kill_process};
    if !tests::have(&[tests::PYTHON]) {
        return;
    }
    for (settings, stopped_server) in both().into_iter().flat_map(|one| [(one.clone(), true), (one, false)]) {
        let settings = TcpSettings { idle: 300 * MS, ..settings };
        let run = |argument: &str| {
            let mut command = tokio::process::Command::new(tests::PYTHON);
            command.args(["-c", READER, argument]).stdout(std::process::Stdio::piped()).kill_on_drop(true);
            command.spawn().expect("it starts")
        };
        let (mut front, mut child, mut stays, mut lines);
        if stopped_server {
            child = run("listen");
            lines = tokio::io::BufReader::new(child.stdout.take().expect("it is piped")).lines();
            let port: u16 = soon(lines.next_line()).await.unwrap().expect("its port").parse().expect("a number");
            let backend = Backend::new(SocketAddr::from(([127, 0, 0, 1], port)).into());
            let cluster = Cluster::builder(RoundRobin::new()).with(backend);
            front = Front::over(cluster, |builder| builder.settings(settings), None);
            stays = front.connect().await;
        } else {
            let origin = Origin::bind().await;
            front = Front::to(&origin, settings);
            child = run(&front.address.port().to_string());
            lines = tokio::io::BufReader::new(child.stdout.take().expect("it is piped")).lines();
            stays = origin.accept().await;
            assert_eq!(soon(stays.read_u8()).await.unwrap(), b'?');
        }
        stays.write_all(&[7; 1000]).await.unwrap();
        assert_eq!(soon(lines.next_line()).await.unwrap().as_deref(), Some("reads"));
        let id = child.id().and_then(|id| Pid::from_raw(id as i32)).expect("it runs");
        kill_process(id, Signal::STOP).expect("a process of ours");
        let mut taken = 1000_u64;
        soon(async {
            while let Ok(count) = stays.write(&[7; 65_536]).await {
                taken += count as u64;
            }
        })
        .await;
        let outcome = front.ended().await;
        assert_eq!(outcome.error, Some(ErrorKind::TunnelIdle));
        kill_process(id, Signal::CONT).expect("a process of ours");
        let last = soon(lines.next_line()).await.unwrap().expect("what it saw");
        let (count, end) = last.split_once(' ').expect("two words");
        let moved = if stopped_server { outcome.bytes_received } else { outcome.bytes_sent };
        let count: u64 = count.parse().expect("a number");
        assert!(end == "reset" && count <= moved && moved <= taken, "{last}, {moved} moved, {taken} taken");
        soon(child.wait()).await.unwrap();
    }
}
