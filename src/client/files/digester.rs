//! Owns finding out the digest of what comes, on a thread of its own if it is much: so that it is written meanwhile.

use crate::types::Digest;
use crossbeam_channel::{Sender, bounded};
use sha2::{Digest as _, Sha256};
use std::io;
use std::thread::JoinHandle;

/// Chunks that may wait for the thread.
const WAITING: usize = 4;

/// The digest of bytes that come in chunks.
pub(super) struct Digester {
    /// Before the first chunk that is handed to the thread, and without one for all of them.
    here: Sha256,
    thread: Option<(Sender<Vec<u8>>, JoinHandle<Sha256>)>,
}

impl Digester {
    pub(super) fn new() -> Self {
        Self { here: Sha256::new(), thread: None }
    }

    /// From now on chunks are dealt with on a thread.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn overlap(&mut self) -> io::Result<()> {
        if self.thread.is_none() {
            let mut hasher = std::mem::take(&mut self.here);
            let (give, chunks) = bounded::<Vec<u8>>(WAITING);
            let hash = move || {
                chunks.iter().for_each(|chunk| hasher.update(&chunk));
                hasher
            };
            let thread = std::thread::Builder::new().name("digest".to_owned()).spawn(hash)?;
            self.thread = Some((give, thread));
        }
        Ok(())
    }

    /// The next bytes.
    pub(super) fn add(&mut self, bytes: Vec<u8>) {
        match &self.thread {
            // The thread lives as long as the sender.
            Some((give, _)) => drop(give.send(bytes)),
            None => self.here.update(&bytes),
        }
    }

    /// The digest of all bytes; it then starts again.
    ///
    /// # Errors
    /// The thread has panicked.
    pub(super) fn finish(&mut self) -> io::Result<Digest> {
        let hasher = match self.thread.take() {
            Some((give, thread)) => {
                drop(give);
                thread.join().map_err(|_| io::Error::other("the thread that computes a digest has panicked"))?
            }
            None => std::mem::take(&mut self.here),
        };
        Ok(Digest(hasher.finalize().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn here_and_on_a_thread_it_is_the_same() {
        let mut digester = Digester::new();
        digester.add(b"ab".to_vec());
        digester.overlap().unwrap();
        (0..20).for_each(|_| digester.add(b"c".to_vec()));
        let expected = Digest::of(format!("ab{}", "c".repeat(20)).as_bytes());
        assert_eq!(digester.finish().unwrap(), expected);
        assert_eq!(digester.finish().unwrap(), Digest::of(b""), "it starts again");
        digester.add(b"x".to_vec());
        assert_eq!(digester.finish().unwrap(), Digest::of(b"x"));
    }
}
