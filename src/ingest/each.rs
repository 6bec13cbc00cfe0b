//! Owns reading several files at once: on as many threads as there are cores, with the result of one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::IngestError;

/// With fewer bytes in all, threads cost more than they save.
const WORTH_IT: u64 = 1 << 20;

/// What `read` makes of each file, in their order; of errors, that of the first file that has one.
pub(super) fn read_each<T: Send>(
    paths: &[PathBuf],
    read: impl Fn(&Path) -> Result<T, IngestError> + Sync,
) -> Result<Vec<T>, IngestError> {
    let bytes: u64 = paths.iter().filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let helpers = if bytes < WORTH_IT { 0 } else { cores.min(paths.len()).saturating_sub(1) };
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some(path) = paths.get(index)
        {
            done.push((index, read(path)));
        }
        done
    };
    let mut all = thread::scope(|scope| {
        // A thread that the system refuses is done without.
        let started: Vec<_> =
            (0..helpers).filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        let mut all = work();
        for helper in started {
            all.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    });
    all.sort_unstable_by_key(|&(index, _)| index);
    all.into_iter().map(|(_, result)| result).collect()
}
