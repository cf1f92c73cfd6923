//! What moving a message costs, by its size: `cargo bench -p proxy-zerocopy`.
//!
//! A relay runs on a thread of its own between a sender and a receiver. Each message is sent once the one before has
//! arrived. Printed is the processor time of the relay's thread for one message, in microseconds: the median of
//! the rounds, in which the ways take turns. An argument is the number of rounds, 5 without one.
#![cfg(target_os = "linux")]

use std::{
    fs::File,
    future::poll_fn,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use proxy_zerocopy::{FileRange, Options, copy_bidirectional, copy_tcp_bidirectional};
use rustix::time::{ClockId, clock_gettime};
use tokio::{io::AsyncWriteExt, net::TcpStream as Socket, runtime::Builder};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes that each way moves per size and round, within the bounds of messages.
const VOLUME: usize = 64 * MIB;

/// How bytes get from one socket to the other.
#[derive(Clone, Copy, Debug)]
enum Way {
    Splice,
    Buffers,
    Tokio,
}

/// How a file gets to a socket.
#[derive(Clone, Copy, Debug)]
enum FileWay {
    Sendfile,
    ReadAndWrite,
}

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(5);
    println!("CPU µs per message of a relay between two sockets\n");
    println!("| size | splice | buffers of 64 KiB | tokio's copy_bidirectional |\n|--:|--:|--:|--:|");
    for size in sizes() {
        let ways = [Way::Splice, Way::Buffers, Way::Tokio];
        let [splice, buffers, tokio] = medians(rounds, ways, |way| relayed(way, size));
        println!("| {} | {splice:.1} | {buffers:.1} | {tokio:.1} |", shown(size));
    }
    println!("\nCPU µs per part of a file, in memory, to a socket\n");
    println!("| size | sendfile | read and write |\n|--:|--:|--:|");
    let file = Arc::new(temporary(64 * MIB));
    for size in sizes() {
        let ways = [FileWay::Sendfile, FileWay::ReadAndWrite];
        let [sendfile, copied] = medians(rounds, ways, |way| sent(way, &file, size));
        println!("| {} | {sendfile:.1} | {copied:.1} |", shown(size));
    }
}

/// 1 KiB to 64 MiB.
fn sizes() -> impl Iterator<Item = usize> {
    (0..=16).map(|power| KIB << power)
}

fn shown(size: usize) -> String {
    if size < MIB { format!("{} KiB", size / KIB) } else { format!("{} MiB", size / MIB) }
}

fn medians<W: Copy, const N: usize>(rounds: usize, ways: [W; N], measure: impl Fn(W) -> f64) -> [f64; N] {
    let rounds: Vec<[f64; N]> = (0..rounds.max(1)).map(|_| ways.map(&measure)).collect();
    std::array::from_fn(|way| {
        let mut costs: Vec<_> = rounds.iter().map(|round| round[way]).collect();
        costs.sort_by(f64::total_cmp);
        costs[costs.len() / 2]
    })
}

fn messages(size: usize) -> usize {
    (VOLUME / size).clamp(4, 2000)
}

/// Two ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let ours = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    let (theirs, _) = listener.accept().expect("a connection");
    for end in [&ours, &theirs] {
        end.set_nodelay(true).expect("a socket");
    }
    (ours, theirs)
}

fn socket(stream: TcpStream) -> Socket {
    stream.set_nonblocking(true).expect("a socket");
    Socket::from_std(stream).expect("a runtime")
}

/// Runs something on a thread and a runtime of its own, and returns its processor time.
fn alone<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) -> thread::JoinHandle<Duration> {
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let before = processor_time();
        runtime.block_on(async { work().await });
        processor_time() - before
    })
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn relayed(way: Way, size: usize) -> f64 {
    let ((mut sender, front), (back, receiver)) = (pair(), pair());
    let relay = alone(move || async move {
        let (mut front, mut back) = (socket(front), socket(back));
        let options = Options::new();
        match way {
            Way::Splice => drop(copy_tcp_bidirectional(&front, &back, &options).await.expect("a relay")),
            Way::Buffers => drop(copy_bidirectional(&mut front, &mut back, &options).await.expect("a relay")),
            Way::Tokio => drop(tokio::io::copy_bidirectional(&mut front, &mut back).await.expect("a relay")),
        }
    });
    let arrived = receive(receiver, size);
    let message = vec![7; size];
    for _ in 0..messages(size) {
        sender.write_all(&message).expect("it is taken");
        arrived.recv().expect("it arrives");
    }
    drop(sender);
    per_message(relay, size)
}

fn sent(way: FileWay, file: &Arc<File>, size: usize) -> f64 {
    let (from, receiver) = pair();
    let (go, gone) = mpsc::channel();
    let file = Arc::clone(file);
    let sender = alone(move || async move {
        let mut socket = socket(from);
        while gone.recv().is_ok() {
            let mut part = FileRange::new(Arc::clone(&file), 0..size as u64);
            match way {
                FileWay::Sendfile => poll_fn(|cx| part.poll_send(cx, &socket)).await.expect("it is sent"),
                FileWay::ReadAndWrite => {
                    while poll_fn(|cx| part.poll_read(cx)).await.expect("it is read") > 0 {
                        socket.write_all(part.data()).await.expect("it is sent");
                        part.consume(part.data().len());
                    }
                }
            }
        }
    });
    let arrived = receive(receiver, size);
    for _ in 0..messages(size) {
        go.send(()).expect("it waits");
        arrived.recv().expect("it arrives");
    }
    drop(go);
    per_message(sender, size)
}

fn per_message(thread: thread::JoinHandle<Duration>, size: usize) -> f64 {
    let spent = thread.join().expect("it ends well");
    spent.as_secs_f64() * 1e6 / messages(size) as f64
}

/// Takes messages of this size, and says when each is there.
fn receive(mut from: TcpStream, size: usize) -> mpsc::Receiver<()> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; size];
        while from.read_exact(&mut buffer).is_ok() {
            if tell.send(()).is_err() {
                return;
            }
        }
    });
    told
}

/// A file that is gone once it is closed, and in memory.
fn temporary(size: usize) -> File {
    let path = std::env::temp_dir().join(format!("proxy-zerocopy-bench-{}", std::process::id()));
    let mut file = File::options().create_new(true).read(true).write(true).open(&path).expect("a file");
    std::fs::remove_file(&path).expect("a file");
    file.write_all(&vec![7; size]).expect("room for it");
    file
}
