//! Owns a file that is being fetched: what has come, beside the target, until it is whole and right.

use super::digester::Digester;
use crate::rpc::{Sink, SinkError};
use crate::types::Digest;
use crate::wire::CHUNK;
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
    digester: Digester,
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
        let mut part =
            Self { file, base, digest, size, position: 0, digester: Digester::new(), received: 0, watcher };
        if there > size {
            part.clear()?;
        }
        part.file.seek(SeekFrom::Start(base))?;
        loop {
            let mut bytes = Vec::with_capacity(CHUNK);
            match Read::by_ref(part.file).take(CHUNK as u64).read_to_end(&mut bytes)? {
                0 => return Ok(part),
                count => {
                    part.digester.add(bytes);
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
        self.digester = Digester::new();
        self.position = 0;
        Ok(())
    }
}

impl Sink for Part<'_> {
    fn position(&self) -> u64 {
        self.position
    }

    fn take(&mut self, bytes: Vec<u8>) -> Result<(), SinkError> {
        self.file.write_all(&bytes).map_err(broken)?;
        if self.position + (bytes.len() as u64) < self.size {
            self.digester.overlap().map_err(broken)?;
        }
        self.position += bytes.len() as u64;
        self.received += bytes.len() as u64;
        self.digester.add(bytes);
        (self.watcher)(self.position);
        if self.position < self.size {
            return Ok(());
        }
        let actual = self.digester.finish().map_err(broken)?;
        if actual == self.digest { Ok(()) } else { Err(SinkError::Wrong { digest: self.digest, actual }) }
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        self.clear().map_err(broken)
    }
}

fn broken(error: io::Error) -> SinkError {
    SinkError::Broken(format!("cannot write what comes: {error}"))
}
