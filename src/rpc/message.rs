//! Owns a message in memory: kept in pieces, given to Thrift's decoder, given back on the way.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use super::FREE_WEIGHT;

/// Bytes of a message that come before its first piece of full size: most messages have no more.
const SMALL: usize = 4096;

/// Pieces not in use. Handing them round keeps an allocator with a reserve for each thread from piling them up.
#[derive(Debug, Default)]
pub(super) struct Pool {
    free: Mutex<Vec<Vec<u8>>>,
    keep: usize,
}

impl Pool {
    /// A pool that keeps this many pieces of 64 KiB.
    pub(super) fn new(keep: usize) -> Pool {
        Pool { free: Mutex::default(), keep }
    }

    fn take(&self) -> Vec<u8> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| Vec::with_capacity(FREE_WEIGHT))
    }

    fn give(&self, mut piece: Vec<u8>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if piece.capacity() >= FREE_WEIGHT && free.len() < self.keep {
            piece.clear();
            free.push(piece);
        }
    }
}

/// The bytes of a message in pieces: a message never moves as it grows, and is freed as it is read.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pool: Arc<Pool>,
    queue: VecDeque<Vec<u8>>,
    /// What has been read of the first piece.
    read: usize,
}

impl Pieces {
    pub(super) fn new(pool: &Arc<Pool>) -> Pieces {
        Pieces { pool: Arc::clone(pool), queue: VecDeque::new(), read: 0 }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let size = if self.queue.len() == 1 { SMALL } else { FREE_WEIGHT };
            match self.queue.back_mut() {
                Some(last) if last.len() < size => {
                    let (now, later) = bytes.split_at(bytes.len().min(size - last.len()));
                    last.extend_from_slice(now);
                    bytes = later;
                }
                Some(_) => self.queue.push_back(self.pool.take()),
                None => self.queue.push_back(Vec::new()),
            }
        }
    }

    /// Fills `out` as far as there are bytes, and says how far.
    fn pull(&mut self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(first) = self.queue.front() {
            let left = &first[self.read..];
            let taken = left.len().min(out.len() - filled);
            out[filled..filled + taken].copy_from_slice(&left[..taken]);
            filled += taken;
            self.read += taken;
            if self.read < first.len() {
                break;
            }
            if let Some(done) = self.queue.pop_front() {
                self.pool.give(done);
            }
            self.read = 0;
        }
        filled
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.queue.drain(..).for_each(|piece| self.pool.give(piece));
    }
}

/// A message in memory, and how far it has been decoded.
#[derive(Debug, Default)]
pub(super) struct Message {
    pieces: Pieces,
    position: usize,
    length: usize,
    header: usize,
    /// Four-byte reads left: as many as were weighed. Decoding a value as another type could take more.
    words: usize,
    overread: bool,
}

/// What an answer must repeat.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) sequence: i32,
}

/// How much of a message its decoder has read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of it, and no more.
    Whole,
    /// The name of the method, and no arguments: the method is unknown.
    Header,
    /// Anything else: the arguments are not what the method takes.
    Misread,
}

impl Message {
    /// A message of `length` bytes, the first `header` of which name its method, and which takes `words` reads
    /// of four bytes to decode.
    pub(super) fn new(pieces: Pieces, length: usize, header: usize, words: usize) -> Message {
        Message { pieces, position: 0, length, header, words, overread: false }
    }

    pub(super) fn progress(&self) -> Progress {
        match () {
            () if self.overread => Progress::Misread,
            () if self.position == self.length => Progress::Whole,
            () if self.position == self.header => Progress::Header,
            () => Progress::Misread,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Whether every byte has been read (as in a message that never was).
    pub(super) fn is_spent(&self) -> bool {
        self.position == self.length
    }
}

impl Read for Message {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.len() == 4 {
            self.overread |= self.words == 0;
            self.words = self.words.saturating_sub(1);
        }
        let left = self.length - self.position;
        self.overread |= left < out.len();
        if self.overread {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the arguments are not those of the method"));
        }
        let taken = self.pieces.pull(out);
        self.position += taken;
        Ok(taken)
    }
}
