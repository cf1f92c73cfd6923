//! Inputs out of seeds and grammars.

use crate::generate::Generate;

/// What protocols stumble over.
const PIECES: [&[u8]; 44] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b":",
    b": ",
    b",",
    b";",
    b"=",
    b"#",
    b"\x7f",
    b"\xff",
    b"\x0b",
    b"Content-Length: 5\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length:5 \r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Host: a\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\n",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"0;x=y\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"http://b/",
    b"*",
    b"\r\n folded",
    b"99999999999999999999",
    b"1000000000000000",
    b"X_Forwarded_For: 9\r\n",
    b"Connection: x-a\r\nX-A: 1\r\n",
    b"Cookie: a=b\r\n",
];

/// Inputs kept because they made a target behave as nothing did before.
const MAX_KEPT: usize = 4096;

/// Mutates and splices seeds and what a grammar makes, repeatably.
pub(crate) struct Mutator {
    seeds: Vec<Vec<u8>>,
    /// The seeds that were tried as they are.
    tried: usize,
    kept: usize,
    generate: Generate,
    state: u64,
}

impl Mutator {
    pub(crate) fn new(seeds: Vec<Vec<u8>>, generate: Generate, seed: u64) -> Self {
        assert!(!seeds.is_empty(), "a target has at least one seed");
        Mutator { seeds, tried: 0, kept: 0, generate, state: seed }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.random() % bound.max(1) as u64) as usize
    }

    pub(crate) fn pick(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.below(choices.len())]
    }

    /// First every seed as it is. Then one in three is grown from the grammar, and some of these stay
    /// as they are; the others are changed seeds.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        if let Some(seed) = self.seeds.get(self.tried) {
            self.tried += 1;
            return seed.clone();
        }
        let grown = self.below(3) == 0;
        let mut bytes = if grown { (self.generate)(self) } else { self.seed() };
        let changes = if grown { self.below(3) } else { 1 + self.below(6) };
        for _ in 0..changes {
            self.change(&mut bytes);
        }
        bytes.truncate(64 * 1024);
        bytes
    }

    /// Makes this input a seed.
    pub(crate) fn keep(&mut self, input: Vec<u8>) {
        if self.kept < MAX_KEPT && input.len() <= 4096 && self.tried == self.seeds.len() {
            self.kept += 1;
            self.tried += 1;
            self.seeds.push(input);
        }
    }

    pub(crate) fn seed(&mut self) -> Vec<u8> {
        let index = self.below(self.seeds.len());
        self.seeds[index].clone()
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = (at + 1 + self.below(8)).min(bytes.len());
        match self.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.random() as u8,
            2 if at < end => drop(bytes.drain(at..end)),
            3 if at < end => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let other = self.seed();
                let from = self.below(other.len() + 1);
                bytes.splice(at.., other[from..].iter().copied());
            }
            5 => bytes.truncate(at),
            // Rarely: what is large passes few first checks, and takes its time.
            6 if at < end && self.below(16) == 0 => {
                let copies = bytes[at..end].repeat(1 << self.below(14));
                bytes.splice(at..at, copies);
            }
            _ => {
                let piece = PIECES[self.below(PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
}
