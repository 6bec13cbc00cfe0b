//! Owns how a node ends when it is told to leave: it takes no more tasks, finishes those that it has, and says so.

use crossbeam_channel::{Receiver, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long nobody must have asked for anything before a node that worked is done: outputs are fetched after their task.
const QUIET: Duration = Duration::from_secs(1);
/// How often it is looked whether that is so.
const LOOK: Duration = Duration::from_millis(10);

/// What a leaving node says to whoever brings it a task.
pub(super) const REASON: &str = "leaving";

/// Counts the tasks at work, and lets no more in once the node leaves.
pub(super) struct Drain {
    state: Mutex<State>,
    done: Sender<()>,
    is_done: Receiver<()>,
}

#[derive(Default)]
struct State {
    leaving: bool,
    tasks: usize,
    /// When a task ended or an output was fetched last.
    last_use: Option<Instant>,
}

/// A task at work, until it is dropped.
pub(super) struct Working<'a>(&'a Drain);

impl Drain {
    pub(super) fn new() -> Self {
        let (done, is_done) = crossbeam_channel::bounded(1);
        Self { state: Mutex::default(), done, is_done }
    }

    /// Lets a task in; `None` if the node leaves.
    pub(super) fn enter(&self) -> Option<Working<'_>> {
        let mut state = self.lock();
        if state.leaving {
            return None;
        }
        state.tasks += 1;
        Some(Working(self))
    }

    /// An output was asked for.
    pub(super) fn touch(&self) {
        self.lock().last_use = Some(Instant::now());
    }

    /// From now on nothing is let in; false if that was so before.
    pub(super) fn begin(&self) -> bool {
        !std::mem::replace(&mut self.lock().leaving, true)
    }

    /// Waits until all is done and fetched, for this long at most; whether it is.
    pub(super) fn wait(&self, longest: Duration) -> bool {
        let start = Instant::now();
        loop {
            let (tasks, last_use) = {
                let state = self.lock();
                (state.tasks, state.last_use)
            };
            if tasks == 0 && last_use.is_none_or(|last| last.elapsed() >= QUIET) {
                return true;
            }
            if start.elapsed() >= longest {
                return tasks == 0;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The node may end now.
    pub(super) fn finish(&self) {
        // Once is enough.
        let _ = self.done.try_send(());
    }

    /// Told once the node may end.
    pub(super) fn is_done(&self) -> &Receiver<()> {
        &self.is_done
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.tasks -= 1;
        state.last_use = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_work_is_finished_and_nothing_more_is_let_in() {
        let drain = Drain::new();
        let working = drain.enter().expect("it does not leave yet");
        assert!(drain.begin());
        assert!(!drain.begin(), "it leaves already");
        assert!(drain.enter().is_none());
        assert!(!drain.wait(Duration::from_millis(30)), "a task is at work");
        drop(working);
        let start = Instant::now();
        assert!(drain.wait(Duration::from_secs(60)));
        assert!(start.elapsed() >= QUIET / 2, "its output may still be fetched");
        drain.finish();
        drain.finish();
        assert!(drain.is_done().try_recv().is_ok());
    }

    #[test]
    fn an_idle_node_leaves_at_once() {
        let drain = Drain::new();
        assert!(drain.begin() && drain.wait(Duration::ZERO));
    }
}
