//! Descriptors are counted per process, so this file is a process of its own with a single test.
#![cfg(target_os = "linux")]

use std::{
    fs,
    task::{Context, Waker},
};

use proxy_zerocopy::splice::{Pump, copy_exact};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// More than a thread's pool of pipes holds.
const MANY: usize = 100;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    (ours.unwrap(), theirs.unwrap().0)
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn poll_once(pump: &mut Pump, from: &TcpStream, to: &TcpStream) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pump.poll_pump(&mut cx, from, to).is_pending());
}

async fn transfer(source: &mut TcpStream, from: &TcpStream, to: &TcpStream, sink: &mut TcpStream) {
    let mut got = [0; 5];
    source.write_all(b"hello").await.unwrap();
    copy_exact(from, to, 5).await.unwrap();
    sink.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello");
}

#[tokio::test]
async fn pumps_leak_no_descriptors_and_work_without_new_ones() {
    let (mut source, from) = pair().await;
    let (to, mut sink) = pair().await;
    without_new_descriptors(transfer(&mut source, &from, &to, &mut sink)).await;

    transfer(&mut source, &from, &to, &mut sink).await;
    let before = open_descriptors();
    for _ in 0..MANY {
        transfer(&mut source, &from, &to, &mut sink).await;
    }
    assert_eq!(open_descriptors(), before, "finished pumps");

    let mut idle: Vec<_> = (0..MANY).map(|_| Pump::new(None)).collect();
    idle.iter_mut().for_each(|pump| poll_once(pump, &from, &to));
    assert_eq!(open_descriptors(), before, "idle pumps");

    abandon_in_flight(&mut source, &from).await;
    transfer(&mut source, &from, &to, &mut sink).await;
    assert!(open_descriptors() <= before, "abandoned pumps");
}

/// Drops a pump with bytes in its pipe: they must not turn up in the next transfer.
async fn abandon_in_flight(source: &mut TcpStream, from: &TcpStream) {
    let (clogged, _unread) = pair().await;
    clogged.writable().await.unwrap();
    while clogged.try_write(&[0; 65536]).is_ok() {}
    source.write_all(b"gone").await.unwrap();
    from.readable().await.unwrap();
    let mut pump = Pump::new(None);
    poll_once(&mut pump, from, &clogged);
    assert_eq!(pump.in_flight(), 4);
}

async fn without_new_descriptors(case: impl Future<Output = ()>) {
    let usual = getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(1), maximum: usual.maximum };
    setrlimit(Resource::Nofile, none).unwrap();
    fs::File::open("/dev/null").expect_err("a descriptor beyond the limit");
    case.await;
    setrlimit(Resource::Nofile, usual).unwrap();
}
