use std::time::Duration;

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{Body, Cluster, Context, Request, RequestHead, RetryPolicy, SharedPool, Upstream};
use tokio::task::JoinHandle;

use super::*;
use crate::RoundRobin;

const S: Duration = Duration::from_secs(1);

struct Lab {
    cluster: Cluster<Watched<RoundRobin>, SharedPool>,
    running: JoinHandle<()>,
}

impl Lab {
    /// Over backends `a:1`, `b:1`, … that answer with these statuses; 0 is a broken answer.
    async fn new(statuses: &[u16], settings: OutlierSettings) -> Self {
        let mut origin = ScriptedConnector::default();
        let detector = OutlierDetector::new(settings);
        let mut builder = Cluster::builder(detector.around(RoundRobin::new()));
        for (status, name) in statuses.iter().zip('a'..) {
            let answer = match status {
                0 => "garbage\r\n\r\n".to_owned(),
                status => format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"),
            };
            let address = format!("{name}:1");
            origin = origin.backend_always(&address, Script::new().read_request().answer(answer).repeat());
            builder = builder.backend(address.parse().unwrap());
        }
        let once = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
        let cluster = builder.retry(once).build_with(origin.pool());
        let running = tokio::spawn(detector.run(cluster.backends().clone()));
        tokio::task::yield_now().await;
        Lab { cluster, running }
    }

    async fn ask(&self, count: usize) {
        for _ in 0..count {
            let head = RequestHead::new(::http::Method::GET, "/").unwrap();
            let _ = self.cluster.send(Request::new(head, Body::empty()), &mut Context::internal()).await;
            tokio::task::yield_now().await;
        }
    }

    /// The states that are not plainly healthy.
    fn out(&self) -> Vec<String> {
        let statuses = self.cluster.backends().statuses().into_iter();
        let out = statuses.filter(|(_, status)| status.state() != BackendState::Healthy);
        out.map(|(backend, status)| format!("{} {status}", backend.id())).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_eject_for_longer_each_time() {
    for (status, expected) in [(500, 5), (503, 5), (0, 5), (404, 0), (200, 0)] {
        let lab = Lab::new(&[200, status], OutlierSettings::default()).await;
        lab.ask(8).await;
        assert_eq!(lab.out(), [""; 0], "{status}");
        lab.ask(2).await;
        let row = format!("b:1 unhealthy (outlier: {expected} failures in a row; for 30s)");
        assert_eq!(lab.out(), if expected > 0 { vec![row] } else { vec![] }, "{status}");
    }
    let lab = Lab::new(&[200, 500], OutlierSettings::default()).await;
    lab.ask(20).await;
    tokio::time::sleep(30 * S + S / 100).await;
    assert_eq!(lab.out(), [""; 0]);
    lab.ask(10).await;
    assert_eq!(lab.out(), ["b:1 unhealthy (outlier: 5 failures in a row; for 60s)"]);
    lab.running.abort();
    let _ = lab.running.await;
    assert_eq!(lab.cluster.backends().get("b:1").unwrap().state(), BackendState::Healthy, "nobody would let it return");
}

#[tokio::test(start_paused = true)]
async fn not_more_than_the_allowed_share_is_out() {
    let lab = Lab::new(&[500, 500, 500, 200], OutlierSettings::default()).await;
    lab.ask(200).await;
    assert_eq!(lab.out().len(), 2);
    let lab = Lab::new(&[500], OutlierSettings::default()).await;
    lab.ask(200).await;
    assert_eq!(lab.out().len(), 0, "the only one stays");
}

#[tokio::test(start_paused = true)]
async fn backends_are_compared_with_each_other() {
    // Failures in a row are off: half of what `e` answers is good, by turns.
    let settings = OutlierSettings { consecutive_failures: None, ..OutlierSettings::default() };
    let lab = Lab::new(&[200, 200, 200, 200, 500], settings).await;
    lab.ask(600).await;
    assert_eq!(lab.out(), [""; 0]);
    tokio::time::sleep(10 * S + S / 100).await;
    assert_eq!(lab.out(), ["e:1 unhealthy (outlier: success rate 0.0 %, below 4.0 %; for 30s)"]);
}

#[tokio::test(start_paused = true)]
async fn who_left_is_no_suspect() {
    let lab = Lab::new(&[200, 500], OutlierSettings::default()).await;
    lab.ask(9).await;
    let gone = lab.cluster.backends().remove("b:1").unwrap();
    lab.ask(9).await;
    let back = lab.cluster.backends().insert(Backend::new("b:1".parse().unwrap()));
    assert_ne!(gone, back);
    lab.ask(8).await;
    assert_eq!(lab.out(), [""; 0], "it begins anew");
}
