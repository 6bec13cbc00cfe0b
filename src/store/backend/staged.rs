//! Owns a file on its way into a directory: written beside its place, brought to the disk while more comes, then moved.

use super::{BackendError, Uploading};
use crossbeam_channel::{Sender, bounded};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// After so many bytes the disk is set to work, so that not all of it is left for the end.
const FLUSH: usize = 16 << 20;

/// Dropping it leaves nothing behind.
pub(super) struct Staged {
    file: File,
    /// Where it is until it is whole, and whether it still is there.
    path: PathBuf,
    is_there: bool,
    place: PathBuf,
    unflushed: usize,
    cached: bool,
    flusher: Option<Flusher>,
    failed: Box<dyn Fn(io::Error) -> BackendError + Send>,
}

/// A thread that brings to the disk what has been written.
struct Flusher {
    go_on: Sender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Flusher {
    fn start(file: &File, cached: bool) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (go_on, wanted) = bounded(1);
        let flush = move || wanted.iter().try_for_each(|()| bring_to_disk(&file, cached));
        let thread = std::thread::Builder::new().name("flush".to_owned()).spawn(flush)?;
        Ok(Self { go_on, thread })
    }

    /// What could not be brought to the disk is told once, to whoever asked for it first: so it must be asked here.
    fn finish(self) -> io::Result<()> {
        drop(self.go_on);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that flushes has panicked")))
    }
}

/// What has been written then leaves the memory again, unless it is to be `cached`: memory that was used just now is much
/// cheaper to fill than more of it, above all in a virtual machine.
fn bring_to_disk(file: &File, cached: bool) -> io::Result<()> {
    file.sync_data()?;
    #[cfg(target_os = "linux")]
    if !cached {
        use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
        // It is advice only.
        let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
    Ok(())
}

impl Staged {
    /// Begins a file that is to come to `place`; the directory must be there. What is `cached` will be read soon.
    /// `failed` explains what goes wrong.
    pub(super) fn start(
        place: PathBuf,
        cached: bool,
        failed: impl Fn(io::Error) -> BackendError + Send + 'static,
    ) -> Result<Self, BackendError> {
        let failed = Box::new(failed);
        let (path, file) = create_beside(&place).map_err(&failed)?;
        Ok(Self { file, path, is_there: true, place, unflushed: 0, cached, flusher: None, failed })
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.unflushed += bytes.len();
        if self.unflushed >= FLUSH {
            let flusher = match &mut self.flusher {
                Some(flusher) => flusher,
                none => none.insert(Flusher::start(&self.file, self.cached)?),
            };
            // If it is still at it, it is asked again after the next bytes; why it may have ended is told at the end.
            if flusher.go_on.try_send(()).is_ok() {
                self.unflushed = 0;
            }
        }
        Ok(())
    }

    fn move_in(&mut self) -> io::Result<()> {
        self.flusher.take().map_or(Ok(()), Flusher::finish)?;
        bring_to_disk(&self.file, self.cached)?;
        std::fs::rename(&self.path, &self.place)?;
        self.is_there = false;
        match self.place.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// Creates `PLACE#1`, or with the first number that nobody else is using.
fn create_beside(place: &Path) -> io::Result<(PathBuf, File)> {
    for number in 1_u64.. {
        let mut path = place.to_path_buf().into_os_string();
        path.push(format!("#{number}"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path.into(), file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

impl Uploading for Staged {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BackendError> {
        self.take(bytes).map_err(&self.failed)
    }

    fn finish(mut self: Box<Self>) -> Result<(), BackendError> {
        self.move_in().map_err(&self.failed)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(flusher) = self.flusher.take() {
            let _ = flusher.finish();
        }
        if self.is_there {
            // What is left is swept later.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(place: &Path, cached: bool) -> Staged {
        let failed = |e: io::Error| BackendError::Failed {
            doing: "writing",
            key: "x".to_owned(),
            place: "here".to_owned(),
            reason: e.to_string(),
        };
        Staged::start(place.to_path_buf(), cached, failed).unwrap()
    }

    #[test]
    fn it_is_seen_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("x");
        let (mut first, mut second) = (staged(&place, true), Box::new(staged(&place, false)));
        let chunk: Vec<u8> = (0..FLUSH / 2 + 1).map(|place| place as u8).collect();
        for _ in 0..5 {
            first.write(&chunk).unwrap();
            second.write(&chunk).unwrap();
        }
        assert!(!place.exists() && second.flusher.is_some());
        drop(first);
        second.finish().unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), chunk.repeat(5));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
