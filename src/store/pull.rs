//! Owns bringing a blob from other servers into an archive.

use super::{Archive, ArchiveUpload, StoreError};
use crate::rpc::{Address, Dialer, FetchError, Sink, SinkError, fetch_blob};
use crate::types::Digest;
use std::sync::Arc;

/// Fetches a blob from the first of `sources` that has it, and keeps it; where one stops the next goes on. It takes a
/// few MiB of memory, however large the blob. `wanted` is asked often: once it says no it ends.
///
/// # Errors
/// No source has it, or not the right bytes; it cannot be kept; it is not wanted any more.
pub fn pull(
    archive: &Arc<Archive>,
    dialer: &Dialer,
    sources: &[Address],
    digest: Digest,
    size: u64,
    wanted: &dyn Fn() -> bool,
) -> Result<(), FetchError> {
    let mut sink = Pull { archive, digest, size, upload: None, wanted };
    fetch_blob(dialer, sources, &digest, size, &mut sink)
}

struct Pull<'a> {
    archive: &'a Arc<Archive>,
    digest: Digest,
    size: u64,
    upload: Option<ArchiveUpload>,
    wanted: &'a dyn Fn() -> bool,
}

impl Sink for Pull<'_> {
    fn position(&self) -> u64 {
        self.upload.as_ref().map_or(0, ArchiveUpload::progress)
    }

    fn take(&mut self, bytes: Vec<u8>) -> Result<(), SinkError> {
        if !(self.wanted)() {
            return Err(SinkError::Unwanted);
        }
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(self.archive.upload(self.digest, self.size).map_err(broken)?),
        };
        match upload.add(upload.progress(), &bytes) {
            Ok(_) => Ok(()),
            Err(StoreError::Digest { claimed, actual }) => Err(SinkError::Wrong { digest: claimed, actual }),
            Err(e) => Err(broken(e)),
        }
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        self.upload = None;
        Ok(())
    }
}

fn broken(error: StoreError) -> SinkError {
    SinkError::Broken(error.to_string())
}
