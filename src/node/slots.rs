//! Owns a node's slots: how many tasks run at once, whoever sends them, and the thread of each.
//!
//! Tasks are not done where they come in: one thread after the other would begin with cold caches, on whichever core is
//! free, and memory of its own.

use crossbeam_channel::{Receiver, Sender};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often a waiting task looks whether its sender is still there.
const LOOK: Duration = Duration::from_millis(20);

type Work = Box<dyn FnOnce() + Send>;

/// A counting semaphore whose waiters can give up, and whose holders have a thread each.
pub struct Slots {
    /// The threads that are idle; the last to have become so is the first to get work.
    free: Mutex<Vec<usize>>,
    freed: Condvar,
    threads: Vec<Sender<Work>>,
}

/// A taken slot; dropping it frees it.
pub struct Slot<'a> {
    slots: &'a Slots,
    thread: usize,
}

impl Slots {
    /// This many slots, all free.
    ///
    /// # Errors
    /// There cannot be so many threads.
    pub fn new(slots: usize) -> std::io::Result<Self> {
        let start = |number: usize| {
            let (work, queue) = crossbeam_channel::bounded(1);
            let thread = std::thread::Builder::new().name(format!("slot {number}"));
            thread.spawn(move || queue.into_iter().for_each(|work: Work| work()))?;
            Ok(work)
        };
        let threads = (0..slots).map(start).collect::<std::io::Result<Vec<_>>>()?;
        Ok(Self { free: Mutex::new((0..slots).rev().collect()), freed: Condvar::new(), threads })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.threads.len() - self.free.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits for a slot as long as `keep_waiting` says so.
    pub fn take(&self, keep_waiting: &dyn Fn() -> bool) -> Option<Slot<'_>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(thread) = free.pop() {
                return Some(Slot { slots: self, thread });
            }
            if !keep_waiting() {
                return None;
            }
            free = self.freed.wait_timeout(free, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Slot<'_> {
    /// Has the slot's thread do this, and waits for what comes of it; a panic goes on here. `None` if the thread is gone.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (tell, heard): (Sender<std::thread::Result<T>>, Receiver<_>) = crossbeam_channel::bounded(1);
        let work: Work = Box::new(move || drop(tell.send(catch_unwind(AssertUnwindSafe(work)))));
        self.slots.threads.get(self.thread)?.send(work).ok()?;
        match heard.recv().ok()? {
            Ok(result) => Some(result),
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.slots.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.thread);
        self.slots.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_dropped_and_waiters_can_give_up() {
        let slots = Slots::new(1).expect("a thread");
        let taken = slots.take(&|| false).expect("the only slot");
        assert!(slots.take(&|| false).is_none());
        assert_eq!(slots.taken(), 1);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| slots.take(&|| true).is_some());
            drop(taken);
            assert!(waiter.join().expect("no panic"));
        });
        assert!(slots.take(&|| false).is_some());
    }

    #[test]
    fn work_is_done_by_the_thread_of_the_slot_and_a_panic_does_not_end_it() {
        let slots = Slots::new(2).expect("threads");
        let name = || std::thread::current().name().map(str::to_owned);
        let slot = slots.take(&|| false).expect("a slot");
        let first = slot.run(name).flatten().expect("a name");
        let panicked = catch_unwind(AssertUnwindSafe(|| slot.run(|| panic!("as it is meant to"))));
        assert!(panicked.is_err());
        assert_eq!(slot.run(name).flatten(), Some(first.clone()));
        let other = slots.take(&|| false).expect("another");
        assert!(other.run(name).flatten().is_some_and(|other| other != first));
        drop(slot);
        let again = slots.take(&|| false).expect("the first");
        assert_eq!((again.run(name).flatten(), slots.taken()), (Some(first), 2));
    }
}
