use proptest::{
    collection::vec,
    prelude::{Just, Strategy, prop_oneof},
    test_runner::{Config, RngSeed},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::yield_now,
};

/// What one peer sends, in which pieces, and in which pieces it reads.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) segments: Vec<usize>,
    pub(crate) read_size: usize,
}

impl Script {
    pub(crate) fn len(&self) -> usize {
        self.segments.iter().sum()
    }
}

/// Scripts whose segments are mostly short and sometimes as long as `longest`.
pub(crate) fn script(longest: usize) -> impl Strategy<Value = Script> {
    let segment = prop_oneof![Just(0), 1..4usize, 1..200usize, 1..longest];
    (vec(segment, 0..12), longest / 100..longest).prop_map(|(segments, read_size)| Script { segments, read_size })
}

/// The same cases in each run.
pub(crate) fn config(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() }
}

/// `len` bytes in which any loss, swap or repetition of a piece shows.
pub(crate) fn pattern(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32).map(|i| ((i ^ seed).wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

/// Runs one case on a runtime of its own.
pub(crate) fn block_on(case: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(case);
}

pub(crate) async fn send<W>(to: &mut W, bytes: &[u8], segments: &[usize])
where
    W: AsyncWrite + Unpin,
{
    let mut rest = bytes;
    for &segment in segments {
        let (now, later) = rest.split_at(segment);
        to.write_all(now).await.unwrap();
        yield_now().await;
        rest = later;
    }
}

/// Reads until the end, `size` bytes at a time, with a pause after each.
pub(crate) async fn receive<R>(from: &mut R, size: usize) -> Vec<u8>
where
    R: AsyncRead + Unpin,
{
    let mut all = Vec::new();
    let mut piece = vec![0; size];
    loop {
        let read = from.read(&mut piece).await.unwrap();
        if read == 0 {
            return all;
        }
        all.extend_from_slice(&piece[..read]);
        yield_now().await;
    }
}
