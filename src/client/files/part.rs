//! Owns a file that is being fetched: what has come, beside the target, until it is whole and right.

use crate::rpc::{Sink, SinkError};
use crate::types::Digest;
use crate::wire::CHUNK;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// The bytes of one blob in a file, from some place on.
pub(super) struct Part<'w> {
    file: &'w mut File,
    /// Where the blob starts in the file.
    base: u64,
    digest: Digest,
    size: u64,
    position: u64,
    hasher: Sha256,
    /// Bytes that were taken.
    received: u64,
    watcher: &'w mut dyn FnMut(u64),
}

impl<'w> Part<'w> {
    /// A blob in a file from `base` on, where all that is there already belongs to it. `watcher` is told how many
    /// bytes there are.
    pub(super) fn new(
        file: &'w mut File,
        base: u64,
        digest: Digest,
        size: u64,
        watcher: &'w mut dyn FnMut(u64),
    ) -> io::Result<Self> {
        let there = file.metadata()?.len().saturating_sub(base);
        let mut part = Self { file, base, digest, size, position: 0, hasher: Sha256::new(), received: 0, watcher };
        if there > size {
            part.clear()?;
        }
        part.file.seek(SeekFrom::Start(base))?;
        let mut bytes = vec![0; CHUNK];
        loop {
            match part.file.read(&mut bytes)? {
                0 => return Ok(part),
                count => {
                    part.hasher.update(&bytes[..count]);
                    part.position += count as u64;
                }
            }
        }
    }

    /// Bytes that came.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(self.base)?;
        self.file.seek(SeekFrom::Start(self.base))?;
        self.hasher = Sha256::new();
        self.position = 0;
        Ok(())
    }
}

impl Sink for Part<'_> {
    fn position(&self) -> u64 {
        self.position
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.file.write_all(bytes).map_err(broken)?;
        self.hasher.update(bytes);
        self.position += bytes.len() as u64;
        self.received += bytes.len() as u64;
        (self.watcher)(self.position);
        if self.position < self.size {
            return Ok(());
        }
        let actual = Digest(self.hasher.clone().finalize().into());
        if actual == self.digest { Ok(()) } else { Err(SinkError::Wrong { digest: self.digest, actual }) }
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        self.clear().map_err(broken)
    }
}

fn broken(error: io::Error) -> SinkError {
    SinkError::Broken(format!("cannot write what comes: {error}"))
}
